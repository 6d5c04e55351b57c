"""The locks through which processes share a study, and who holds them.

A lock is the operating system's and dies with its owner, but where a file system has none and filelock
leaves a marker file instead. Who holds it stands in a file beside it, for those who wait.
"""

import errno
import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hiddenmix.config import UserError, show
from hiddenmix.terminal import clean

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[bool]:
    """Hold the lock `path`; yields False where another process holds it after `timeout` seconds.

    A negative `timeout` waits for it. Warns where the lock is a marker file, which a crash leaves behind.
    Raises `UserError` where the file system has no locks, and `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{show(path)} cannot be locked: its file system has no locks ({error.strerror})\n"
            "  mount it with them (NFS: with lockd, or -o local_lock=flock for one machine; Lustre: -o "
            "flock), or run where outputs/ is on another disk"
        ) from error
    for each in said:
        if "SoftFileLock" not in str(each.message):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
            continue
        warnings.warn(
            f"the file system of {path.parent} has no locks: marker files are used instead; one that a "
            f"crashed machine leaves there has to be removed by hand, once nothing runs: {path}",
            RuntimeWarning,
            stacklevel=3,
        )
    try:
        yield True
    finally:
        lock.release()


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
