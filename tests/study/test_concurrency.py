"""Several processes on one study: each network is trained once, and all end with the same table."""

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.study import locks
from hiddenmix.study.store import Cell
from hiddenmix.terminal import Display
from tests.support.commands import (
    ALONE,
    HANG,
    SMALL,
    Command,
    at_step,
    cells,
    command,
    counted_steps,
    outcome,
    started,
    wait_for,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def trained(output: str) -> list[str]:
    """The networks that a command trained, by its output."""
    return re.findall(r"^\[\d+/\d+\] (\S+): accuracy", output, re.MULTILINE)


def table(output: str) -> str:
    """The final table, without what comes before and after it."""
    return output[output.index("gain over image mixup") : output.index("results:")]


@pytest.mark.slow
def test_two_processes_train_each_network_once_and_show_one_table(
    tmp_path: Path, run: Command
) -> None:
    """Another one and this one, which both train from this one's first step on."""
    arguments = (*SMALL, "repeats=2", "layer=[input,conv1]", "checkpoint_seconds=30")
    assert run(*arguments, "study=alone").code == 0
    study = tmp_path / "outputs/default"
    left = study / "locks" / f"{cells(tmp_path, 'alone')[0].name}.lock"
    with started(tmp_path, *arguments) as process, pytest.MonkeyPatch.context() as patch:
        with locks.locked(left):  # for this one, however long it is kept from running
            wait_for(lambda: list(study.glob("locks/*.json")))
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
        at_step(patch, 1, lambda: process.send_signal(signal.SIGCONT))
        here = run(*arguments)
        output, errors = process.communicate(timeout=HANG)
    assert (process.returncode, errors) == (0, "")
    assert (here.code, here.errors) == (0, "")
    shares = [trained(output), trained(here.output)]
    assert all(shares)
    times = Counter(name for share in shares for name in share)
    assert sorted(times) == [folder.name for folder in cells(tmp_path)]
    assert set(times.values()) == {1}
    assert len(times) == 6
    assert table(output) == table(here.output)
    assert outcome(study) == outcome(tmp_path / "outputs/alone")
    comparison = list((study / "comparison").rglob("events*"))
    assert len(comparison) == 3  # one for each line: no process wrote into another's


@pytest.mark.slow
def test_a_killed_owner_leaves_its_network_to_those_who_wait(
    tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*ALONE, "epochs=3000")
    with started(tmp_path, *arguments) as owner:
        wait_for(lambda: list(tmp_path.glob("outputs/default/cells/*/checkpoint.pt")))
        owner.send_signal(signal.SIGSTOP)  # it need not train on meanwhile
        say = Display.say

        def heard(self: Display, text: str) -> None:
            say(self, text)
            if text.startswith("waiting for 1 network that another process trains"):
                owner.kill()

        monkeypatch.setattr(Display, "say", heard)
        at_step(monkeypatch, 1, lambda: signal.raise_signal(signal.SIGTERM))
        ended = run(*arguments)
    assert ended.code == 143
    assert ended.errors == "stopped by SIGTERM; the same command goes on from here\n"
    waited, resumed = (
        ended.output.index(each) for each in ("waiting for 1", "resumed after epoch")
    )
    assert waited < resumed


def lock_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str, looks: int, then: Any) -> None:
    """Let the cell `name` seem locked for the first `looks` looks at it; `then` is done at its end."""
    acquire = Cell.locked
    seen = 0

    def locked(self: Cell, timeout: float = 0.0) -> Any:
        nonlocal seen
        if name in self.id and (seen := seen + 1) <= looks:
            if seen == looks:
                then(self)
            return _Busy()
        return acquire(self, 0)

    monkeypatch.setattr(Cell, "locked", locked)


class _Busy:
    def __enter__(self) -> bool:
        return False

    def __exit__(self, *_: object) -> None:
        pass


def test_others_are_trained_while_one_is_busy(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_elsewhere(monkeypatch, "-none-", 3, lambda _: None)
    ended = run(*SMALL)
    assert ended.code == 0
    order = trained(ended.output)
    assert ["-none-" in name for name in order] == [False, False, True]
    assert "waiting for" not in ended.output.split(order[1])[0]
    assert "waiting for 1 network that another process trains" in ended.output


def test_a_network_that_failed_elsewhere_meanwhile_is_not_tried_at_once(
    run: Command, tmp_path: Path
) -> None:
    def fail(cell: Cell) -> None:
        cell.fail({"status": "failed", "message": "out of memory\nelsewhere"})

    with pytest.MonkeyPatch.context() as patch:
        lock_elsewhere(patch, "-none-", 1, fail)
        ended = run(*SMALL)
    assert ended.code == 1
    assert re.search(r"failed: digits-cnn-none-\S+: out of memory elsewhere\n", ended.output)
    with pytest.MonkeyPatch.context() as patch:
        steps = counted_steps(patch)
        ended = run(*SMALL)
    assert ended.code == 0
    assert len(steps) == 4 * 2


def test_an_older_failure_does_not_count_for_one_that_was_interrupted_elsewhere(
    run: Command, tmp_path: Path
) -> None:
    """Who trains removes the older failure; that it is gone tells that the cell is open."""
    with pytest.MonkeyPatch.context() as patch:
        lock_elsewhere(patch, "-none-", 1, lambda cell: cell.prepare())
        assert run(*SMALL).code == 0


def test_a_signal_while_waiting(run: Command, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lock_elsewhere(patch, "s0", 2, lambda _: signal.raise_signal(signal.SIGTERM))
        ended = run(*ALONE)
    assert ended.code == 143
    assert ended.errors == "stopped by SIGTERM; the same command goes on from here\n"


def test_the_lock_is_free_after_a_signal_and_after_a_failure(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no luck")

    for action, code in ((fail, 1), (lambda: signal.raise_signal(signal.SIGINT), 130)):
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, 2, action)
            assert run(*ALONE).code == code
        [lock] = (tmp_path / "outputs/default/locks").glob("*.lock")
        done = subprocess.run(["flock", "-n", str(lock), "true"], check=False)
        assert done.returncode == 0
