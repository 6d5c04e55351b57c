"""Locks of the system, and what is used where a file system has none."""

import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.system import (
    PATIENCE,
    Interrupted,
    Interrupts,
    LockError,
    PatienceError,
    hold,
)
from hiddenmix.system.locks import patience
from tests.support.commands import wait_for
from tests.support.without_locks import SAID, refuse_flock


def test_one_holds_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "locks/a.lock"
    with hold(path) as mine, hold(path, 0) as second:
        assert mine
        assert not second
    with hold(path, 0) as again:
        assert again


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOLCK)
    with pytest.raises(LockError, match="cannot be locked") as refused, hold(tmp_path / "a\nb"):
        pass
    assert str(tmp_path / r"a\nb") in str(refused.value)
    assert "mount it" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.filterwarnings(SAID)
@pytest.mark.parametrize("name", ["a.lock", "a.lease"])
def test_links_are_refused_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    refuse_flock(monkeypatch)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(LockError, match=rf"{name} is a link\n  remove it"),
        hold(tmp_path / "a.lock"),
    ):
        pass
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without `flock`."""
    refuse_flock(monkeypatch)


@pytest.mark.usefixtures("without")
def test_marker_files_in_place_of_locks_are_said_once(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    said = "marker files are used instead.*HIDDENMIX_LOCK_SECONDS"
    with pytest.warns(RuntimeWarning, match=said), hold(path) as mine:
        assert mine
    with hold(path), hold(path, 0) as second:
        assert not second
    with hold(path) as again:
        assert again
    assert not path.with_suffix(".lease").exists()


def left_by_another_machine(path: Path) -> Path:
    """The marker file of the lock `path`, held on a host of which nothing can be known."""
    marker = path.with_suffix(".lease")
    with pytest.warns(RuntimeWarning, match="marker files"), hold(path):
        text, hosts = re.subn(r"(?m)^host=.+$", "host=node7", marker.read_text())
    assert hosts == 1
    marker.write_text(text)
    return marker


@pytest.mark.usefixtures("without")
def test_a_crashed_machines_lock_is_taken_over_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE, "100")
    path = tmp_path / "a.lock"
    marker = left_by_another_machine(path)
    clock, later = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later)

    def mine() -> bool:
        with hold(path, 0) as taken:
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
@pytest.mark.filterwarnings(SAID)
def test_a_living_owner_touches_its_marker_and_is_told_of_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(PATIENCE, "0.06")
    path = tmp_path / "a.lock"
    marker = path.with_suffix(".lease")
    with (
        Interrupts().installed() as interrupts,
        interrupts.deferred(),
        hold(path),
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
    monkeypatch.setenv(PATIENCE, "20")
    with (
        pytest.raises(PatienceError, match="SECONDS=20 here, but host node7, process"),
        hold(path, 0),
    ):
        pass
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(PATIENCE, wrong)
        with pytest.raises(PatienceError, match=f"HIDDENMIX_LOCK_SECONDS={wrong} is not allowed"):
            patience()
