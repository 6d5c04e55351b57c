"""Locks, through which processes share files.

A lock is the operating system's and dies with its owner. Where a file system has none, a lock is a marker
file which its owner touches again and again; others take it over where it did not for `patience` seconds.
All who share a file must lock it by `hold`: the two kinds do not exclude each other, nor other markers.
"""

import errno
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filelock import BaseFileLock, SoftFileLease

PATIENCE = "HIDDENMIX_LOCK_SECONDS"
"""Environment variable: the seconds without a sign of life after which a marker file is taken over; the
same for all processes of a study."""

_PATIENCE = 300.0

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)

# Disks without locks, and the marker files there that were seen to be held: each of these objects knows
# since when its file has not changed.
_without: set[int] = set()
_leases: dict[Path, "SoftFileLease"] = {}


class LockError(Exception):
    """A lock cannot be had, whoever holds it. Its text has two lines: what is wrong, and what to do."""


class PatienceError(LockError):
    """`PATIENCE` has a value that is not allowed, or not that of the lock's holder."""


@contextmanager
def hold(path: Path, timeout: float = -1) -> Iterator[bool]:
    """Hold the lock `path`; yields False where another process holds it after `timeout` seconds.

    A negative `timeout` waits for it. Warns, once, where locks are marker files. Raises `LockError` where
    the file system has no locks at all, where `path` is a link, or as `PatienceError`, and `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _acquired(path, timeout)
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _acquired(path: Path, timeout: float) -> "BaseFileLock | None":
    """The lock `path`, held; None where another process holds it after `timeout` seconds."""
    # Imported here: a command that locks nothing does not wait for it.
    from filelock import FileLock, LeaseSettingsMismatch, Timeout

    disk = path.parent.stat().st_dev
    lease_path = path.with_suffix(".lease").absolute()
    for each in (path, lease_path):
        if each.is_symlink():  # what is locked must not be what a link leads to
            raise LockError(f"{_printable(each)} is a link\n  remove it")
    try:
        if disk not in _without:
            try:
                lock = FileLock(path, fallback_to_soft=False)
                lock.acquire(timeout=timeout)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                _warn(path.parent)
                _without.add(disk)
            else:
                return lock
        lease = _lease(lease_path)
        lease.acquire(timeout=timeout)
        _leases.pop(lease_path, None)
    except Timeout:
        return None
    except LeaseSettingsMismatch as error:
        raise PatienceError(
            f"{PATIENCE}={patience():g} here, but {_owner(lease)} set another value\n"
            "  set the same in all processes of a study"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise LockError(
            f"{_printable(path)} cannot be locked: its file system has no locks ({error.strerror})\n"
            "  mount it with them (NFS: with lockd, or -o local_lock=flock for one machine; Lustre: -o "
            "flock), or work on another disk"
        ) from error
    return lease


def patience() -> float:
    """Seconds without a sign of life after which a marker file is taken over. Raises `PatienceError`."""
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text or _PATIENCE)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 1e6:
        raise PatienceError(
            f"{PATIENCE}={_printable(text)} is not allowed\n  allowed: seconds, above 0, up to 1e6"
        )
    return seconds


def _lease(path: Path) -> "SoftFileLease":
    from filelock import SoftFileLease

    if path not in _leases or _leases[path].lease_duration != patience():
        _leases[path] = SoftFileLease(path, lease_duration=patience(), on_compromise=_lost)
    return _leases[path]


def _owner(lease: "SoftFileLease") -> str:
    owner = lease.owner
    if owner is None:  # it was released in this moment
        return "its holder"
    return f"host {_printable(owner.hostname)}, process {owner.pid}"


def _printable(text: object) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))


def _lost(what: Any) -> None:
    """This process stood still for too long, and another one goes on: end as at a signal."""
    sys.stderr.write(
        f"another process took over {what.lock_file}, "
        f"which this one has not touched for {patience():g} s\n"
    )
    if callable(signal.getsignal(signal.SIGTERM)):
        os.kill(os.getpid(), signal.SIGTERM)


def _warn(folder: Path) -> None:
    warnings.warn(
        f"the file system of {folder} has no locks: marker files are used instead; one that a crashed "
        f"machine leaves there is taken over when it was not touched for {patience():g} s ({PATIENCE})",
        RuntimeWarning,
        stacklevel=5,
    )
