"""Disks without locks, played on one that has them."""

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.system import locks

SAID = "ignore:.*marker files are used instead:RuntimeWarning"
"""A filter for what is said there once."""


def refuse_flock(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    """`flock` as a disk answers that has none; ENOSYS: where markers are used instead."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_without", set())
    monkeypatch.setattr(locks, "_leases", {})


def leave_markers(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Such a disk, with files at `paths` that a machine held which crashed, as other kinds of locks leave
    them. Who waits for one fails."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("77\nnode7\n")
    refuse_flock(monkeypatch)

    def waits(_: float) -> None:
        raise AssertionError("it waits for a lock that nobody holds")

    monkeypatch.setattr(time, "sleep", waits)
