"""Several workers at once: the same bits, one display, and no network lost with a worker."""

import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from hiddenmix.config import Config
from hiddenmix.data import Images, Leaks, Whole
from hiddenmix.study import locks, workers
from hiddenmix.study.attempting import Outcome
from hiddenmix.study.shared_data import SharedWhole
from hiddenmix.study.worker import Job, Relay
from hiddenmix.system import Interrupts, context
from hiddenmix.terminal import Display
from tests.support.commands import (
    ALONE,
    HANG,
    SMALL,
    at_step,
    cells,
    command,
    outcome,
    read_until,
    started,
    wait_for,
)

# Dropout, augmentation and mixing draw; all that a worker might do in another order.
MANY = (
    *(each for each in SMALL if each != "workers=1"),
    *("model.dropout=0.3", "dataset.augment=flip_crop", "repeats=2", "mode=triplet"),
)
LONG = (*(each for each in ALONE if each != "workers=1"), "repeats=2", "epochs=4000")


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """This process alone, then three workers; `workers=2` is what other tests' commands come to."""
    run = command(tmp_path, monkeypatch, capsys)
    alone = run(*MANY, "workers=1", "study=alone")
    assert alone.code == 0, alone.errors
    several = run(*MANY, "workers=3")
    assert several.code == 0, several.errors
    assert outcome(tmp_path / "outputs/default") == outcome(tmp_path / "outputs/alone")
    assert "3 workers of 1 thread" in several.output
    lines = re.findall(r"^\[(\d+)/8\] (\S+): accuracy [\d.]+", several.output, re.MULTILINE)
    assert [int(each) for each, _ in lines] == list(range(1, 9))
    assert {name for _, name in lines} == {folder.name for folder in cells(tmp_path)}
    # The same table, whatever order the networks ended in.
    tables = [each.output[each.output.index("digits: accuracy") :] for each in (alone, several)]
    assert tables[0].replace("outputs/alone", "outputs/default") == tables[1]


def worker_of(cell: Path) -> int:
    """The process that trains `cell`: the one that has its lock file open."""
    lock = cell.parent.parent / "locks" / f"{cell.name}.lock"
    for found in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if found.resolve() == lock.resolve():
                return int(found.parts[2])
        except OSError:
            continue
    raise AssertionError("nobody trains it")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_killed_worker_costs_its_network_a_moment_and_the_command_a_signal(
    tmp_path: Path,
) -> None:
    study = tmp_path / "outputs/default"
    with started(tmp_path, *LONG, "workers=2") as process:
        wait_for(lambda: len(list(study.glob("cells/*/checkpoint.pt"))) == 2)
        victim, other = cells(tmp_path)
        kept = worker_of(other)
        os.kill(worker_of(victim), signal.SIGKILL)
        read_until(process, f"{victim.name}: its process was ended; it is tried once more, alone")
        # The other one goes on in its process until it is told to end as well.
        assert worker_of(other) == kept
        os.kill(kept, signal.SIGTERM)
        read_until(process, f"{other.name}: its process was ended; it is tried once more, alone")
        read_until(process, f"{victim.name}: resumed after epoch")
        os.kill(worker_of(victim), signal.SIGKILL)
        said = read_until(process, f"{other.name}: resumed after epoch")
        assert f"{victim.name}: failed: its process was ended twice" in said
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=HANG)[1]
    assert process.returncode == 143
    assert errors == "stopped by SIGTERM; the same command goes on from here\n"
    failure = json.loads((victim / "failure.json").read_text())
    assert "the second time with no other beside it" in failure["message"]
    assert (other / "checkpoint.pt").exists()


@pytest.mark.slow
def test_workers_end_with_a_command_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    study = tmp_path / "outputs/default"
    with started(tmp_path, *LONG, "workers=2", "checkpoint_seconds=1000") as process:
        wait_for(lambda: len(list(study.glob("locks/*.json"))) == 2)
        held = list(study.glob("locks/*.json"))
        process.kill()
        process.wait()
    for path in held:
        with locks.locked(path.with_suffix(".lock"), HANG) as free:
            assert free
        assert (study / "cells" / path.stem / "checkpoint.pt").exists()  # which was not due yet
    at_step(monkeypatch, 1, lambda: signal.raise_signal(signal.SIGTERM))
    ended = command(tmp_path, monkeypatch, capsys)(*LONG, "workers=1")
    assert ended.code == 143
    assert "resumed after epoch" in ended.output
    assert "waiting" not in ended.output


def whole() -> Whole:
    images = torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).reshape(2, 3, 5, 7)
    train = Images(images, torch.tensor([0, 1]))
    test = Images(images.flip(0)[:1].contiguous(), torch.tensor([1]))
    return Whole(train, test, ["a", "b"], "digest", Leaks(0, 0, 0, 0))


def read_in_another_process(shared: SharedWhole) -> None:
    opened, expected = shared.open(), whole()
    shared.close()
    for split in ("train", "test"):
        for part in ("images", "labels"):
            ours, theirs = (getattr(getattr(each, split), part) for each in (opened, expected))
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
    assert (opened.classes, opened.digest, opened.leaks) == (["a", "b"], "digest", expected.leaks)


def test_shared_data_are_the_data() -> None:
    shared = SharedWhole(whole())
    process = context().Process(target=read_in_another_process, args=(shared,))
    process.start()
    process.join(HANG)
    assert process.exitcode == 0
    read_in_another_process(shared)


@pytest.mark.parametrize(
    ("wanted", "threads", "networks", "expected"),
    [
        ("auto", 1, 100, 8),
        ("auto", 3, 100, 2),
        ("auto", 16, 100, 1),
        ("auto", 1, 3, 3),
        (5, 1, 9, 5),
    ],
)
def test_workers_fill_the_cores(
    monkeypatch: pytest.MonkeyPatch, wanted: object, threads: int, networks: int, expected: int
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    config = Config(workers=wanted, threads=threads)
    assert workers.how_many(config, torch.device("cpu"), networks) == expected


@pytest.mark.parametrize(
    ("measured", "free", "beside"),
    [
        (True, 0, [1, 1, 1, 1, 1]),
        (True, 1.1e9, [1, 1, 1, 1, 1]),
        (True, 1.2e9, [1, 1, 2, 1, 2]),
        (True, 3.3e9, [1, 1, 2, 3, 1]),
        (True, 3.4e9, [1, 1, 2, 3, 4]),
        (True, 1e12, [1, 1, 2, 3, 4]),
        (False, 0, [1, 2, 3, 4, 1]),
    ],
)
def test_workers_follow_the_first_into_nine_tenths_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, measured: bool, free: float, beside: list[int]
) -> None:
    """Five networks of 1 GB each, and how many are trained once each has begun.

    Those whose number the user gave ask nothing.
    """
    training: set[str] = set()
    counted = []

    class Seat:
        """Of a worker that is done as soon as it has told what memory it needs."""

        def __init__(self, job: Job) -> None:
            self.cell: Any = None
            self.readers: list[Any] = []

        def begin(self, cell: Any, patience: float, elsewhere: bool) -> None:
            self.cell = cell
            training.add(cell.id)
            counted.append(len(training))

        def said(self) -> list[tuple[str, tuple[Any, ...]]]:
            return [("memory", (1e9,))]

        def done(self) -> bool:
            return True

        def end(self) -> tuple[Any, Outcome]:
            cell, self.cell = self.cell, None
            training.remove(cell.id)
            return cell, Outcome(cell.id, "done")

        def stop(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(workers, "_Seat", Seat)
    monkeypatch.setattr(workers, "start_server", lambda: None)
    monkeypatch.setattr(workers, "free_memory", lambda: free)
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0)
    display = Display(Console(file=(said := StringIO()), width=200), 5)
    networks: Any = [SimpleNamespace(id=str(number)) for number in range(5)]
    job = Job("", "cpu", 0, 1, {})
    with workers.Workers(4, job, display, Interrupts(), measured=measured) as team:
        ended = [outcome.cell for outcome in team.attempts(networks, set(), 0)]
    assert sorted(ended) == ["0", "1", "2", "3", "4"]
    assert counted == beside
    few = max(beside) < 4
    assert (
        f"{max(beside)} of 4 workers train at once: a network takes 1.0 GB" in said.getvalue()
    ) == few


def test_a_worker_tells_once_what_its_second_step_took() -> None:
    hears, says = context().Pipe(duplex=False)
    relay = Relay(says)
    for told in (False, True, True):
        relay.step()
        assert hears.poll() is told
    [method, [need]] = hears.recv()
    assert method == "memory"
    assert need > 10e6
    assert not hears.poll()


MEASURED = """
import mmap
from hiddenmix.system import free_memory, own_memory
before = own_memory()
with mmap.mmap(-1, 200_000_000) as kept:
    kept[:] = b"x" * len(kept)  # the text itself has gone again by the next line
    assert 190e6 < own_memory() - before < 450e6
assert own_memory() - before > 190e6  # at the peak: a step frees what it needed
assert free_memory() > 0
"""


def test_memory_is_measured() -> None:
    """In a process of its own, which never had more."""
    subprocess.run([sys.executable, "-c", MEASURED], check=True)
