"""Who holds a lock is said, and a file system without locks is named."""

import errno
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from filelock._identity import host_name

from hiddenmix.config import UserError
from hiddenmix.study import locks
from hiddenmix.study.store import Cell
from hiddenmix.study.workers import Here
from hiddenmix.system import Interrupted, Interrupts
from tests.support.commands import ALONE, Command, cells, command, wait_for


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


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without `flock`."""
    refuse(monkeypatch, errno.ENOSYS)
    monkeypatch.setattr(locks, "_without", set())
    monkeypatch.setattr(locks, "_leases", {})


@pytest.mark.usefixtures("without")
def test_marker_files_in_place_of_locks_are_said_once(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    said = "marker files are used instead.*HIDDENMIX_LOCK_SECONDS"
    with pytest.warns(RuntimeWarning, match=said), locks.locked(path) as mine:
        assert mine
    with locks.locked(path), locks.locked(path, 0) as second:
        assert not second
    with locks.locked(path) as again:
        assert again
    assert not path.with_suffix(".lease").exists()


def left_by_another_machine(path: Path) -> Path:
    """The marker file of the lock `path`, held on a host of which nothing can be known."""
    marker = path.with_suffix(".lease")
    with pytest.warns(RuntimeWarning, match="marker files"), locks.locked(path):
        text = marker.read_text()
    assert host_name() in text
    marker.write_text(text.replace(host_name(), "node7"))
    return marker


@pytest.mark.usefixtures("without")
def test_a_crashed_machines_lock_is_taken_over_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(locks.PATIENCE, "100")
    path = tmp_path / "a.lock"
    marker = left_by_another_machine(path)
    clock, later = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later)

    def mine() -> bool:
        with locks.locked(path, 0) as taken:
            return taken

    assert not mine()
    later = 90
    assert not mine()
    os.utime(marker)  # its owner lives
    later = 110
    assert not mine()
    later = 200
    assert not mine()
    later = 220
    assert mine()
    assert not marker.exists()


@pytest.mark.usefixtures("without")
@pytest.mark.filterwarnings("ignore:.*marker files")
def test_a_living_owner_touches_its_marker_and_is_told_of_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(locks.PATIENCE, "0.06")
    path = tmp_path / "a.lock"
    marker = path.with_suffix(".lease")
    with (
        Interrupts().installed() as interrupts,
        interrupts.deferred(),
        locks.locked(path),
    ):
        first = marker.stat().st_mtime_ns
        wait_for(lambda: marker.stat().st_mtime_ns > first)
        interrupts.check()
        marker.unlink()
        marker.write_text("another's")
        wait_for(lambda: interrupts._received)
        with pytest.raises(Interrupted, match="SIGTERM"):
            interrupts.check()
        interrupts._received = None  # seen
    assert "another process took over" in capsys.readouterr().err


@pytest.mark.usefixtures("without")
def test_processes_that_wait_for_different_times_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lock"
    left_by_another_machine(path)
    monkeypatch.setenv(locks.PATIENCE, "20")
    with pytest.raises(UserError, match="HIDDENMIX_LOCK_SECONDS=20 here"), locks.locked(path, 0):
        pass
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(locks.PATIENCE, wrong)
        with pytest.raises(UserError, match=f"HIDDENMIX_LOCK_SECONDS={wrong} is not allowed"):
            locks.patience()


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
    assert f"waiting for 1 network that another process trains: {line}" in ended.output
