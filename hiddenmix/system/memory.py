"""How much memory there is, and how the process keeps it: what a step frees, the next step reuses.

glibc hands large freed blocks, and the free end of its heap, back to the system, so a training step
on the CPU asks anew for the memory of its feature maps, which the system clears page by page.
Raising the two thresholds keeps that memory in the process; docs/performance.md has the gain.
"""

import ctypes
import os
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h

_OWN_CHOICE = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables through which a user makes this choice for themselves."""


def physical_memory() -> int | None:
    """Bytes of this machine's memory, or None where the system does not say."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_memory() -> int:
    """Bytes that new processes can take: what the machine has left, or a container's limit leaves."""
    import psutil

    left = int(psutil.virtual_memory().available)
    for limit, used in _CONTAINER:
        try:
            left = min(left, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    return max(left, 0)


# As a container sees its own control group, in version 2 and 1 of Linux's interface.
_GROUPS = Path("/sys/fs/cgroup")
_CONTAINER = (
    (_GROUPS / "memory.max", _GROUPS / "memory.current"),
    (_GROUPS / "memory/memory.limit_in_bytes", _GROUPS / "memory/memory.usage_in_bytes"),
)


def own_memory() -> int:
    """Bytes that this process had for itself at its peak, where the system says so, or else has now."""
    import psutil

    process = psutil.Process()
    now = int(process.memory_info().rss)
    freed = max(0, _peak() - now)
    try:
        return int(process.memory_full_info().uss) + freed
    except psutil.AccessDenied:
        return now + freed


def _peak() -> int:
    """The most bytes that this process ever had, or 0 where the system is not Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(each.split()[1]) * 1024 for each in lines if each.startswith("VmHWM:"))


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, up to 2 GiB at the heap's end; returns whether it does.

    Only on Linux with glibc, for the whole process, and not where the user's environment already
    chooses. Results do not change; memory at its peak does not grow by more than fragmentation.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _OWN_CHOICE):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # Older versions of glibc refuse more than 32 MiB, which still covers most feature maps.
    kept = any(library.mallopt(_MMAP_THRESHOLD, size) for size in (1 << 30, 1 << 25))
    return bool(kept and library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
