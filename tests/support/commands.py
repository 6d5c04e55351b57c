"""Runs the training command as a user would, in this process or another, on a study of seconds."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig

from hiddenmix import train
from hiddenmix.training.loop import Training

SMALL = (
    *("dataset.train_size=200", "epochs=2", "repeats=1", "batch_size=50"),
    *("model.channels=[4,4,4]", "model.width=8", "checkpoint_seconds=0", "workers=1"),
)
"""Three networks of 8 steps each, in the command's own process."""

ALONE = (*SMALL, "baseline=false")
"""One network."""


HANG = 1800
"""Seconds after which a process counts as hanging: far beyond what a busy machine needs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str


Command = Callable[..., Ended]


def latest(arguments: Sequence[str]) -> list[str]:
    """The last value of each key: of two, the command would say which one it takes."""
    last = {each.partition("=")[0]: each for each in arguments}
    return list(last.values())


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    """`hiddenmix.train` in this process, run in `folder`. The figures of its reports are empty files."""
    monkeypatch.chdir(folder)
    unrendered(monkeypatch)
    # Hydra composes twice, the first time to read hydra.mode alone, which no test sets: a fifth of all.
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
    # Workers start their server themselves, and most commands here have none. It stays for the tests to
    # come: one that is just being ended would take their processes along.
    monkeypatch.setattr(train, "start_server", lambda: None)
    monkeypatch.setattr(train, "stop_server", lambda: None)

    def run(*arguments: str) -> Ended:
        HydraConfig.instance().cfg = None  # as where a command begins: not that of the one before
        monkeypatch.setattr(sys, "argv", ["hiddenmix-train", *latest(arguments)])
        capsys.readouterr()
        # Two threads that wait for each other on a busy machine slow steps of 1 ms down by far.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with pytest.raises(SystemExit) as left:
                train.main()
        finally:
            torch.set_num_threads(threads)
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        assert "Traceback" not in said.out + said.err
        return Ended(left.value.code, said.out, said.err)

    return run


def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are made and not rendered, which takes longer than all else in them."""
    monkeypatch.setattr("hiddenmix.report.drawing.Drawing.save", lambda *_: b"")


@contextmanager
def started(folder: Path, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which the block's end kills if it still runs.

    On one thread, as many run at a time.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "hiddenmix.train", *latest(arguments)],
        **{
            "cwd": folder,
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": {**os.environ, "OMP_NUM_THREADS": "1"},
            **options,
        },
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What `process` prints up to the line that holds `text`, for which this waits."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"the command ended without {text!r}: {said}")


def wait_for(condition: Callable[[], object]) -> None:
    """Until `condition` is true; fails where it hangs."""
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Call `action` within the training step `number` of this process, from 1, all networks counted."""
    step = Training._train_step
    done = 0

    def counted(self: Training, *arguments: Any) -> None:
        nonlocal done
        done += 1
        step(self, *arguments)
        if done == number:
            action()

    monkeypatch.setattr(Training, "_train_step", counted)


def counted_steps(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """A list that grows by one at each training step from here on."""
    step = Training._train_step
    steps: list[None] = []

    def counted(self: Training, *arguments: Any) -> None:
        steps.append(None)
        step(self, *arguments)

    monkeypatch.setattr(Training, "_train_step", counted)
    return steps


def script(name: str) -> ModuleType:
    """One of the developers' scripts as a module."""
    path = Path(__file__).parents[2] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcome(study: Path) -> dict[str, Any]:
    """What must be equal however a study came about; see scripts/kill.py."""
    found: dict[str, Any] = script("kill").outcome(study)
    return found


_undisturbed: dict[tuple[str, ...], dict[str, Any]] = {}


def undisturbed(run: Command, *arguments: str) -> dict[str, Any]:
    """The outcome of a study of `arguments` that nothing disturbs; trained once for all tests of a
    process."""
    if arguments not in _undisturbed:
        assert run(*arguments, "study=undisturbed").code == 0
        study = Path("outputs/undisturbed")
        _undisturbed[arguments] = outcome(study)
        shutil.rmtree(study)
    return deepcopy(_undisturbed[arguments])


def cells(folder: Path, study: str = "default") -> list[Path]:
    """The cell folders of a study."""
    return sorted((folder / "outputs" / study / "cells").iterdir())
