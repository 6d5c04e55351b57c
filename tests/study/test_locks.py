"""Who holds a lock is said, and a file system without locks is named."""

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.config import UserError
from hiddenmix.study import locks
from hiddenmix.study.store import Cell
from hiddenmix.study.workers import Here
from tests.support.commands import ALONE, Command, cells, command


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """`flock` as a file system answers that has none."""

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_the_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "locks/a.lock"
    with locks.locked(path) as mine, locks.named(path):
        assert mine
        said = locks.holder(path)
        assert f"host {socket.gethostname()}, process {os.getpid()}, since 20" in said
        with locks.locked(path, 0) as second:
            assert not second
    assert locks.holder(path) == "host and process unknown"


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, errno.ENOLCK)
    with (
        pytest.raises(UserError, match="cannot be locked") as refused,
        locks.locked(tmp_path / "a"),
    ):
        pass
    assert str(tmp_path / "a") in str(refused.value)
    assert "mount it" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


def test_marker_files_in_place_of_locks_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, errno.ENOSYS)
    with (
        pytest.warns(RuntimeWarning, match="marker files are used instead"),
        locks.locked(tmp_path / "a.lock") as mine,
    ):
        assert mine


def test_those_who_wait_are_told_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run: Command = command(tmp_path, monkeypatch, capsys)
    attempts = Here.attempts
    looks = 0

    def held(self: Here, waiting: list[Cell], elsewhere: set[str], patience: float) -> Any:
        nonlocal looks
        looks += 1
        if looks > 1:
            return attempts(self, waiting, elsewhere, patience)
        path = waiting[0]._lock_file
        with locks.locked(path), locks.named(path):
            found = list(attempts(self, waiting, elsewhere, 0))
        path.with_suffix(".json").write_text(
            '{"host": "node3", "process": 77, "since": "2026-11-25T21:09:00+00:00"}'
        )
        return iter(found)

    monkeypatch.setattr(Here, "attempts", held)
    ended = run(*ALONE)
    assert ended.code == 0
    [cell] = cells(tmp_path)
    line = f"{cell.name} (host node3, process 77, since 2026-11-25 21:09)"
    assert f"waiting for 1 networks that another process trains: {line}" in ended.output
