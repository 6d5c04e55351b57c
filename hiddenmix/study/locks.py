"""The locks through which processes share a study, and who holds them.

Who holds a lock stands in a file beside it, for those who wait.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hiddenmix.config import UserError
from hiddenmix.system import LockError, hold
from hiddenmix.terminal import clean


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[bool]:
    """`hold` the lock `path`, with its `LockError` as a `UserError`."""
    try:
        with hold(path, timeout) as mine:
            yield mine
    except LockError as error:
        raise UserError(str(error)) from error


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
