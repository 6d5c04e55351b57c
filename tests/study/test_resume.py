"""Signals and kills: the same command goes on, and ends with the numbers of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hiddenmix import data, evaluation
from hiddenmix.evaluation import shifted
from hiddenmix.study import cell_training, checkpoints, saving, tensorboard_tracker
from hiddenmix.system import atomic
from hiddenmix.system.interrupts import Interrupted, Interrupts
from tests.support.commands import (
    ALONE,
    SMALL,
    Command,
    at_step,
    cells,
    command,
    counted_steps,
    latest,
    outcome,
    script,
    undisturbed,
    wait_for,
)

# Everything that has a random state or a history: dropout, augmentation, momentum, mixing.
RICH = (
    *(*ALONE, "model.dropout=0.3", "dataset.augment=flip_crop", "layer=[input,conv1]"),
    *("mode=triplet", "lam=sample", "evaluation=full", "evaluate_every=1"),
)
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


@pytest.fixture
def equal(tmp_path: Path, run: Command) -> Callable[..., bool]:
    """Whether the default study became what a command's study is that nothing disturbs."""
    study = tmp_path / "outputs/default"
    return lambda *arguments: outcome(study) == undisturbed(run, *arguments)


class Killed(BaseException):
    """SIGKILL, as far as this process goes on without cleaning up."""


def be_killed() -> None:
    raise Killed


def interrupting(number: int) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


def failing_once(module: Any, name: str, call: int, action: Callable[[], object]) -> Any:
    """Patch `module.name` to call `action` first, at its call number `call`."""
    inner = getattr(module, name)
    count = 0

    def patched(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            action()
        return inner(*arguments, **options)

    return patched


@pytest.fixture
def heeded() -> Iterator[None]:
    """Signals at their defaults: under nohup, SIGHUP is ignored, and then the program heeds none."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if former[number] is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_step_and_the_next_run_goes_on(
    run: Command, tmp_path: Path, number: signal.Signals
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 3, interrupting(number))
        trained = counted_steps(patch)
        ended = run(*ALONE, "checkpoint_seconds=1000")
    assert ended.code == 128 + number
    assert len(trained) == 3
    assert ended.errors == f"stopped by {number.name}; the same command goes on from here\n"
    [cell] = cells(tmp_path)
    assert (cell / "checkpoint.pt").exists()
    assert not (cell / "result.json").exists()
    assert not (cell / "failure.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        ended = run(*ALONE)
    assert ended.code == 0
    assert len(trained) == 5
    assert "resumed after epoch 0 of 2 and 3 steps" in ended.output
    assert list(cell.glob("checkpoint*")) == []


def test_a_network_that_goes_on_elsewhere_says_so(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, 1, interrupting(signal.SIGTERM))
            ended = run(*ALONE, *arguments)
        assert ended.code == 143
        return ended.output

    def environment(study: str) -> dict[str, Any]:
        [cell] = cells(tmp_path, study)
        found: dict[str, Any] = json.loads((cell / "result.json").read_text())["environment"]
        return found

    assert "environment" not in stopped()
    assert "environment" not in stopped()
    monkeypatch.setattr(
        cell_training,
        "training_environment",
        lambda _: {"device": "cpu", "threads": 2, "torch": "2.99", "commit": None},
    )
    ended = run(*ALONE)
    assert ended.code == 0
    [line] = [each for each in ended.output.splitlines() if "another environment" in each]
    assert "threads 1, now 2; torch" in line
    assert "now 2.99" in line
    found = environment("default")
    assert (found["threads"], found["torch"]) == (2, "2.99")
    [before] = found["resumed_from"]
    assert (before["device"], before["threads"]) == ("cpu", 1)
    assert "device" not in line
    again = run(*ALONE).output
    assert "warning: networks already there were trained on cpu (2 threads)" in again


def test_a_checkpoint_of_a_former_version_tells_of_no_environment(
    run: Command, tmp_path: Path
) -> None:
    save = checkpoints.save

    def former(folder: Path, cell: str, state: dict[str, Any]) -> None:
        save(folder, cell, {key: state[key] for key in state if key != "environments"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save", former)
        at_step(patch, 3, interrupting(signal.SIGTERM))
        assert run(*ALONE).code == 143
    ended = run(*ALONE)
    assert ended.code == 0
    assert "resumed after" in ended.output
    assert "environment" not in ended.output
    [cell] = cells(tmp_path)
    found = json.loads((cell / "result.json").read_text())["environment"]
    assert found["threads"] == 1
    assert "resumed_from" not in found


def test_stopped_after_every_step_the_numbers_are_the_same(
    run: Command, equal: Callable[..., bool]
) -> None:
    for _ in range(8):
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, 1, interrupting(signal.SIGTERM))
            assert run(*RICH).code == 143
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        assert run(*RICH).code == 0
    assert trained == []
    assert equal(*RICH)


@pytest.mark.parametrize("call", [1, 2])
def test_a_signal_while_the_curve_is_measured_ends_it_at_once(
    run: Command, equal: Callable[..., bool], call: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        act = interrupting(signal.SIGTERM)
        patch.setattr(evaluation, "accuracy", failing_once(evaluation, "accuracy", call, act))
        assert run(*RICH, "checkpoint_seconds=1000").code == 143
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        assert run(*RICH).code == 0
    assert len(trained) == 8 - 4 * call
    assert equal(*RICH)


def test_a_signal_in_the_full_evaluation_loses_no_training(
    run: Command, equal: Callable[..., bool]
) -> None:
    for call in (1, 5):
        with pytest.MonkeyPatch.context() as patch:
            act = interrupting(signal.SIGTERM)
            patch.setattr(shifted, "deform", failing_once(shifted, "deform", call, act))
            trained = counted_steps(patch)
            assert run(*RICH, "checkpoint_seconds=1000").code == 143
        assert len(trained) == (8 if call == 1 else 0)
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        assert run(*RICH).code == 0
    assert trained == []
    assert equal(*RICH)


def test_not_even_a_kill_in_the_full_evaluation_loses_the_training(
    run: Command, equal: Callable[..., bool]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shifted, "deform", failing_once(shifted, "deform", 1, be_killed))
        with pytest.raises(Killed):
            run(*RICH, "checkpoint_seconds=1000")
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        assert run(*RICH).code == 0
    assert trained == []
    assert equal(*RICH)


WRITES = [
    *("study.json", "config.yaml", "metrics.jsonl", *["checkpoint.new.pt"] * 8),
    *("predictions.safetensors", "model.safetensors", "metrics.jsonl", "result.json"),
    *("summary.csv", "cells.csv"),
]
"""What an undisturbed command writes: 17 files, one at a time."""


def test_the_moments_of_a_kill_are_all_the_writes_there_are(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = atomic.write_bytes
    written = []

    def write(path: Path, content: bytes) -> None:
        written.append(path.name)
        inner(path, content)

    monkeypatch.setattr(atomic, "write_bytes", write)
    assert run(*ALONE).code == 0
    assert written == WRITES


# Of the eight checkpoints, which stand at 4 to 11, some.
@pytest.mark.parametrize("moment", [1, 2, 3, 4, 8, *range(12, len(WRITES) + 1)])
def test_a_kill_between_any_two_writes_loses_nothing(
    run: Command, tmp_path: Path, equal: Callable[..., bool], moment: int
) -> None:
    """SIGKILL's effect at a chosen write: nothing after it happens, not even cleaning up."""
    writes = 0
    inner = atomic.write_bytes

    def write(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes < moment:
            inner(path, content)
        elif writes == moment:
            path.with_name(f".{path.name}.x.tmp").write_bytes(content[: len(content) // 2])
            be_killed()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "write_bytes", write)
        with pytest.raises(Killed):
            run(*ALONE)
    assert run(*ALONE).code == 0
    assert equal(*ALONE)
    assert {path.name for path in tmp_path.glob("outputs/default/*.csv")} == {*WRITES[-2:]}


def test_metrics_and_tensorboard_hold_each_epoch_once(run: Command, tmp_path: Path) -> None:
    settings = (*ALONE, "epochs=4", "evaluate_every=1")
    for step in (6, 7, 2):
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, step, interrupting(signal.SIGTERM))
            assert run(*settings).code == 143
    assert run(*settings).code == 0
    [cell] = cells(tmp_path)
    lines = [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    board = EventAccumulator(str(cell / tensorboard_tracker.EVENTS)).Reload()
    for tag in ("train/loss", "train/learning_rate", "test/accuracy", "train/images_per_second"):
        assert [event.step for event in board.Scalars(tag)] == [1, 2, 3, 4]
    assert [event.step for event in board.Scalars("final/accuracy")] == [4]
    times = [event.wall_time for event in board.Scalars("train/loss")]
    assert times == sorted(times)
    pictures = [tag for tag in board.Tags()["tensors"] if tag.startswith("mixing/")]
    assert [event.step for tag in pictures for event in board.Tensors(tag)] == [1, 1]


def test_a_signal_while_data_is_loaded(run: Command, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "read", failing_once(data, "read", 1, interrupting(signal.SIGINT)))
        ended = run(*ALONE)
    assert ended.code == 130
    assert ended.errors.count("\n") == 1
    assert not (tmp_path / "outputs/default/cells").exists()


def test_a_signal_in_a_sweep_ends_the_sweep(run: Command, tmp_path: Path) -> None:
    sweep = ("-m", *SMALL, "layer=input,conv1")
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 10, interrupting(signal.SIGTERM))
        ended = run(*sweep)
    assert ended.code == 143
    assert ended.errors == "stopped by SIGTERM; the same command goes on from here\n"
    assert len(cells(tmp_path)) == 2
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        ended = run(*sweep)
    assert ended.code == 0
    assert len(trained) == 3 * 8 - 10
    assert "1 already there" in ended.output


def test_a_signal_while_the_report_is_written(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        compare = failing_once(tensorboard_tracker, "compare", 1, interrupting(signal.SIGTERM))
        patch.setattr(tensorboard_tracker, "compare", compare)
        assert run(*ALONE).code == 143
    steps = counted_steps(monkeypatch)
    assert run(*ALONE).code == 0
    assert steps == []
    assert (tmp_path / "outputs/default/summary.csv").exists()


def test_ctrl_c_before_the_signals_are_handled_shows_no_traceback(run: Command) -> None:
    def refuse(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "describe", refuse)
        ended = run(*ALONE)
    assert ended.code == 130
    assert ended.errors == "stopped by SIGINT\n"


def test_the_second_ctrl_c_ends_at_once() -> None:
    script = (
        "import signal; from hiddenmix.system import Interrupts\n"
        "with Interrupts().installed() as interrupts, interrupts.deferred():\n"
        "    signal.raise_signal(signal.SIGTERM); print('first', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT); print('not reached')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "first\n", "")


def test_signals_wait_in_deferred_blocks_alone() -> None:
    with Interrupts().installed() as interrupts:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Interrupted, match="SIGTERM"), interrupts.immediate():
                raise AssertionError("not reached")
            with pytest.raises(Interrupted):
                interrupts.check()
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGUSR1)
    with Interrupts().installed() as interrupts, interrupts.deferred():
        with pytest.raises(Interrupted), interrupts.immediate():
            signal.raise_signal(signal.SIGTERM)
        interrupts._received = None
        signal.raise_signal(signal.SIGTERM)  # deferred again


def test_former_handlers_come_back_and_nohup_stays() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        before = [signal.getsignal(number) for number in SIGNALS]
        with Interrupts().installed():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != before[1]
        assert [signal.getsignal(number) for number in SIGNALS] == before
    finally:
        signal.signal(signal.SIGHUP, former)


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_checkpoints_are_written_at_a_bounded_rate(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 1 s, a save 0.05 s: due each 30 s, and at an epoch's end after 5 s or more."""
    clock = Clock()
    saves: list[float] = []
    step_of = counted_steps(monkeypatch)

    def save(*_: Any) -> None:
        saves.append(clock.now)
        clock.now += 0.05

    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(checkpoints, "save", save)
    inner = saving.Saver.due

    def due(self: saving.Saver, *, epoch_end: bool) -> bool:
        clock.now += 1
        return inner(self, epoch_end=epoch_end)

    monkeypatch.setattr(saving.Saver, "due", due)
    # 40 steps an epoch, two epochs
    settings = [each for each in ALONE if "batch_size" not in each and "checkpoint" not in each]
    assert run(*settings, "batch_size=5").code == 0
    assert len(step_of) == 80
    assert [round(moment) for moment in saves] == [30, 40, 70, 80]


@pytest.mark.slow
def test_a_killed_command_ends_with_the_numbers_of_an_undisturbed_one(
    run: Command, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The short version of scripts/kill.py: what is not killed runs in this process, and the moment is
    no random one but when a network is trained that has a checkpoint, where the command stands still."""
    kill = script("kill")
    start = kill.start
    begun = {"undisturbed"}

    def start_or_run(folder: Path, study: str, *more: str) -> Any:
        arguments = latest([*more, "checkpoint_seconds=0"])
        if study not in begun:
            begun.add(study)
            return start(folder, study, *arguments)
        monkeypatch.chdir(folder)
        ended = run(*kill.STUDY, f"study={study}", *arguments)
        said = ended.output + ended.errors
        return SimpleNamespace(communicate=lambda: (said, ""), returncode=ended.code)

    def stand_still(process: subprocess.Popen[str], study: Path, *_: Any) -> None:
        def stands() -> bool:
            if process.poll() is None and any(kill.trainers(study).values()):
                process.send_signal(signal.SIGSTOP)
                os.waitpid(process.pid, os.WUNTRACED)
                if any(kill.trainers(study).values()):
                    return True
                process.send_signal(signal.SIGCONT)  # the network was done just then
            return process.poll() is not None

        wait_for(stands)

    monkeypatch.setattr(kill, "start", start_or_run)
    monkeypatch.setattr(kill, "wait_for_moment", stand_still)
    monkeypatch.setattr(kill, "STUDY", latest([*kill.STUDY, "baseline=false", "repeats=1"]))
    options = ["--kills=1", "--workers=1", "--epochs=20"]
    monkeypatch.setattr(sys, "argv", ["kill.py", *options])
    assert kill.main() == 0
    said = capsys.readouterr().out
    assert "1 kills by SIGKILL, 1 of the command and 0 of a worker, 1 of them within" in said
    assert "; 1 resumed networks" in said
    assert "are equal to those of the undisturbed study" in said
