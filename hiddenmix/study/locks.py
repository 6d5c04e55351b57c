"""The locks through which processes share a study, and who holds them.

A lock is the operating system's and dies with its owner. Where a file system has none, a lock is a marker
file which its owner touches again and again; others take it over where it did not for `patience` seconds.
Who holds a lock stands in a file beside it, for those who wait.
"""

import errno
import json
import math
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, LeaseSettingsMismatch, SoftFileLease, Timeout

from hiddenmix.config import UserError, show
from hiddenmix.terminal import clean

PATIENCE = "HIDDENMIX_LOCK_SECONDS"
"""Environment variable: the seconds without a sign of life after which a marker file is taken over; the
same for all processes of a study."""

_PATIENCE = 300.0

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)

# Disks without locks, and the marker files there that were seen to be held: each of these objects knows
# since when its file has not changed.
_without: set[int] = set()
_leases: dict[Path, SoftFileLease] = {}


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[bool]:
    """Hold the lock `path`; yields False where another process holds it after `timeout` seconds.

    A negative `timeout` waits for it. Warns, once, where locks are marker files. Raises `UserError` where
    the file system has no locks at all, and `OSError`.
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


def _acquired(path: Path, timeout: float) -> BaseFileLock | None:
    """The lock `path`, held; None where another process holds it after `timeout` seconds."""
    disk = path.parent.stat().st_dev
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
        lease_path = path.with_suffix(".lease").absolute()
        lease = _lease(lease_path)
        lease.acquire(timeout=timeout)
        del _leases[lease_path]
    except Timeout:
        return None
    except LeaseSettingsMismatch as error:
        raise UserError(
            f"{PATIENCE}={patience():g} here, but {holder(path)} set another value\n"
            "  set the same in all processes of a study"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{show(path)} cannot be locked: its file system has no locks ({error.strerror})\n"
            "  mount it with them (NFS: with lockd, or -o local_lock=flock for one machine; Lustre: -o "
            "flock), or run where outputs/ is on another disk"
        ) from error
    return lease


def patience() -> float:
    """Seconds without a sign of life after which a marker file is taken over. Raises `UserError`."""
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text or _PATIENCE)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 1e6:
        raise UserError(
            f"{PATIENCE}={show(text)} is not allowed\n  allowed: seconds, above 0, up to 1e6"
        )
    return seconds


def _lease(path: Path) -> SoftFileLease:
    if path not in _leases or _leases[path].lease_duration != patience():
        _leases[path] = SoftFileLease(path, lease_duration=patience(), on_compromise=_lost)
    return _leases[path]


def _lost(what: Any) -> None:
    """This process stood still for too long, and another one trains on: end as at a signal."""
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


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Within the block the file beside the held lock `path` says who holds it."""
    about = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    place = _beside(path)
    place.write_text(json.dumps(about), encoding="utf-8")
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


def holder(path: Path) -> str:
    """Who holds the lock `path`, in words; only to be asked while somebody does."""
    try:
        about: dict[str, Any] = json.loads(_beside(path).read_bytes())
        since = datetime.fromisoformat(about["since"]).strftime("%Y-%m-%d %H:%M")
        return clean(f"host {about['host']}, process {about['process']}, since {since}")
    except (OSError, ValueError, KeyError, TypeError):
        return "host and process unknown"


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")
