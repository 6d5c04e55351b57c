"""Who holds a lock is said, and all that write a file of the study lock it in one way."""

import errno
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hiddenmix import report
from hiddenmix.config import UserError
from hiddenmix.study import locks
from hiddenmix.study.store import Cell, record_command
from hiddenmix.study.workers import Here
from hiddenmix.system import atomic
from tests.support.commands import ALONE, HANG, Command, cells, command
from tests.support.made_study import write_answers
from tests.support.without_locks import SAID, refuse_flock


def test_the_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "locks/a.lock"
    with locks.locked(path) as mine, locks.named(path):
        assert mine
        said = locks.holder(path)
        assert f"host {socket.gethostname()}, process {os.getpid()}, since 20" in said
        with locks.locked(path, 0) as second:
            assert not second
    assert locks.holder(path) == "host and process unknown"


def test_a_lock_that_cannot_be_had_is_a_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOLCK)
    with (
        pytest.raises(
            UserError, match=r"a cannot be locked: its file system has no locks \(.*\)\n"
        ),
        locks.locked(tmp_path / "a"),
    ):
        pass


@pytest.mark.filterwarnings(SAID)
@pytest.mark.parametrize("flock", [True, False])
def test_a_command_that_comes_while_a_look_is_recorded_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: bool
) -> None:
    """Both rewrite study.json: the second waits for the first."""
    if not flock:
        refuse_flock(monkeypatch)
    record_command(tmp_path, {"command": "first"})
    settings = [("none", None, None), ("input", "siamese", 1.0), ("conv1", "siamese", 1.0)]
    write_answers(tmp_path, settings, range(2), 20, lambda *_: 0.5, full=False)
    questions = report.find(report.read_study(tmp_path)).questions
    waits = threading.Event()

    def second() -> None:
        record_command(tmp_path, {"command": "second"})
        waits.set()

    other = threading.Thread(target=second, daemon=True)
    here, sleep, write = threading.current_thread(), time.sleep, atomic.write_json

    def told(seconds: float) -> None:
        if threading.current_thread() is other:
            waits.set()
        sleep(seconds)

    def written(path: Path, content: Any) -> None:
        if threading.current_thread() is here:
            other.start()
            assert waits.wait(HANG)
        write(path, content)

    monkeypatch.setattr(time, "sleep", told)
    monkeypatch.setattr(atomic, "write_json", written)
    report.record_looks(tmp_path, questions)
    other.join(HANG)
    content = json.loads((tmp_path / "study.json").read_text())
    assert [each["command"] for each in content["commands"]] == ["first", "second"]
    assert [each["n"] for each in content["looks"]] == [2]


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
