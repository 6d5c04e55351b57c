"""Runs what a command asks for: plans the cells of a study, trains those that lack, shows the table."""

import os
import shlex
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console

from hiddenmix import data as data_room
from hiddenmix import failures as failure_room
from hiddenmix import models
from hiddenmix.cell_training import CellError, Run, add_evaluation, device_name, train_cell
from hiddenmix.cells import Plan, make_plan
from hiddenmix.config import Config, ConfigError, DatasetConfig, ModelConfig, UserError, layers
from hiddenmix.data import Data, Description
from hiddenmix.display import Display, duration
from hiddenmix.interrupts import Interrupts
from hiddenmix.randomness import default_generators
from hiddenmix.store import Cell, check_study, environment, record_command
from hiddenmix.training import choose_form

OUTPUTS = Path("outputs")
"""Studies lie below this folder of the working directory."""

WAIT_SECONDS = 1.0
"""Between two looks at a cell that another process trains."""


def check_requests(configs: Sequence[Config]) -> None:
    """Refuse, before anything is loaded or written, what the configurations' own checks cannot see:
    data that is not there, an unknown layer or device, a folder that cannot be written. Raises
    `UserError`."""
    descriptions: dict[str, Description] = {}
    for config in configs:
        choose_device(config.device, 0)
        check_study(OUTPUTS / config.study)
        if (OUTPUTS / config.study).exists():
            for cell in make_plan([config]).cells.values():
                Cell(OUTPUTS / config.study, cell).check()
        dataset = repr(config.dataset)
        if dataset not in descriptions:
            descriptions[dataset] = data_room.describe(config.dataset)
        description = descriptions[dataset]
        if config.batch_size > description.train_size:
            raise ConfigError(
                "batch_size", config.batch_size, f"2 to {description.train_size} training images"
            )
        names = [name for name in layers(config) if name != "none"]
        models.check_layers(names, layers_of(config.model, description))


def load_data(configs: Sequence[Config]) -> None:
    """Read the data of `configs`, for the `run` to come in this process: what cannot be read is
    refused before Hydra makes a folder. Raises `UserError` and `Interrupted`."""
    _Loaded.kept.clear()
    with Interrupts().installed():
        for config in configs:
            _Loaded(Console(highlight=False), choose_device(config.device, 0)).get(config)


_LAYERS: dict[tuple[str, str], list[models.Layer]] = {}


def layers_of(model: ModelConfig, description: Description) -> list[models.Layer]:
    """The layers of a network for images of `description` that can be mixed."""
    key = repr(model), repr(description)
    if key not in _LAYERS:
        _LAYERS[key] = _find_layers(model, description)
    return _LAYERS[key]


def _find_layers(model: ModelConfig, description: Description) -> list[models.Layer]:
    try:
        with torch.device("meta"):  # counts the weights without making them
            network = models.build(model, description.shape, description.classes)
    except (AssertionError, RuntimeError, ValueError) as error:
        size = "x".join(map(str, description.shape))
        reason = failure_room.one_line(str(error))
        raise UserError(f"this network cannot be built for {size} images\n  {reason}") from error
    # Weights, their gradients and the optimizer's averages.
    need = 3 * sum(value.nbytes for value in network.state_dict().values())
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > have:
        raise UserError(
            f"this network needs {need / 2**30:,.0f} GiB of memory to train, this machine has "
            f"{have / 2**30:,.0f}\n  choose a smaller one, such as model.width=64"
        )
    with default_generators(0, "init"):
        network = models.build(model, description.shape, description.classes)
    return models.mixable_layers(network, description.shape)


def choose_device(name: str, job: int) -> torch.device:
    """The device called `name`; `auto` spreads the jobs of a launcher over the GPUs by their number.

    Raises `ConfigError` for a CUDA device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", job % count) if count else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = ", ".join(f"cuda:{number}" for number in range(count)) or "no CUDA device"
        raise ConfigError("device", name, f"auto, cpu ({found} found)")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def run(configs: Sequence[Config], command: Sequence[str], job: int = 0) -> int:
    """Train every network that `configs` need and their study lacks; returns the exit code.

    0: all are done; 1: some failed, which the table names. Raises `UserError` and `Interrupted`.
    """
    console = Console(highlight=False)
    check_requests(configs)
    studies: dict[str, list[Config]] = {}
    for config in configs:
        studies.setdefault(config.study, []).append(config)
    line = shlex.join(["python", "-m", "hiddenmix.train", *command])
    try:
        with Interrupts().installed() as interrupts:
            codes = [
                _run_study(name, requests, line, job, console, interrupts)
                for name, requests in studies.items()
            ]
    finally:
        _Loaded.kept.clear()
    return max(codes)


def _run_study(
    name: str,
    configs: list[Config],
    command: str,
    job: int,
    console: Console,
    interrupts: Interrupts,
) -> int:
    study = OUTPUTS / name
    device = choose_device(configs[0].device, job)
    plan = make_plan(configs)
    cells = [Cell(study, config) for config in plan.cells.values()]
    loaded = _Loaded(console, device)
    # Data that cannot be read is refused before the study is touched.
    for config in plan.cells.values():
        loaded.get(config)
    record_command(
        study,
        {
            "command": command,
            "commit": environment()["commit"],
            "dirty": environment()["dirty"],
            "requested": list(plan.requested),
            "cells": list(plan.cells),
        },
    )
    display = Display(console, len(cells))
    _announce(display, study, cells, device)
    _warn_of_disguises(display, plan)
    failures = _train_all(cells, loaded, Run(command, device, display, interrupts))
    # Imported here: pandas and scipy take a second that no refused command should wait for.
    from hiddenmix.conclusion import conclude

    written = conclude(study, plan, cells, failures, console, full_report=len(configs) > 1)
    return 1 if failures or not written else 0


class _Loaded:
    """The data sets of a command, each loaded and moved to the device once."""

    kept: ClassVar[dict[tuple[str, torch.device], Data]] = {}

    def __init__(self, console: Console, device: torch.device) -> None:
        self._console, self._device = console, device

    def get(self, config: Config) -> Data:
        key = repr(config.dataset), self._device
        if key not in self.kept:
            self.kept[key] = self._load(config.dataset)
            size = len(self.kept[key].train.images)
            if config.batch_size > size:
                raise ConfigError("batch_size", config.batch_size, f"2 to {size} training images")
        return self.kept[key]

    def _load(self, config: DatasetConfig) -> Data:
        if not self._console.is_terminal:
            return data_room.load(config, _plain_progress(self._console)).to(self._device)
        from rich.progress import Progress

        with Progress(console=self._console, transient=True) as bar:
            task = bar.add_task("data", total=None)

            def progress(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total)

            return data_room.load(config, progress).to(self._device)


def _plain_progress(console: Console) -> data_room.Progress:
    said = {"at": time.monotonic()}

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() - said["at"] > 5:
            said["at"] = time.monotonic()
            console.print(f"{what}: {done:,} of {total:,}", markup=False)

    return progress


def _announce(display: Display, study: Path, cells: list[Cell], device: torch.device) -> None:
    results = [found for cell in cells if (found := cell.result()) is not None]
    there = len(results)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    display.say(
        f"study {study}: {len(cells)} networks, {there} already there, {len(cells) - there} to "
        f"train on {device_name(device)}{threads}"
    )
    here = _hardware({"device": device_name(device), "threads": torch.get_num_threads()})
    others = {_hardware(found["environment"]) for found in results} - {here}
    if others:
        display.say(
            f"warning: networks already there were trained on {', '.join(sorted(others))}, which "
            "rounds differently: the same setting and seed would not give the same network here"
        )
    for line in dict.fromkeys(choose_form(cell.config, device).text for cell in cells):
        display.say(line)


def _hardware(environment: Mapping[str, Any]) -> str:
    """What decides how sums are rounded."""
    device, threads = environment.get("device", "an unknown device"), environment.get("threads")
    return f"{device} ({threads} threads)" if device == "cpu" else str(device)


def _warn_of_disguises(display: Display, plan: Plan) -> None:
    warned = set()
    for config in plan.requested.values():
        names = [name for name in layers(config) if name not in ("none", "input")]
        key = (repr(config.model), repr(config.dataset), tuple(names))
        if not names or key in warned:
            continue
        warned.add(key)
        available = layers_of(config.model, data_room.describe(config.dataset))
        for layer in models.check_layers(names, available):
            if layer.disguise:
                display.say(
                    f"warning: layer={layer.name} is image mixup in disguise: up to there the "
                    "network is affine, so mixing its map equals mixing the image"
                )


def _train_all(cells: list[Cell], loaded: _Loaded, run: Run) -> dict[str, str]:
    """Train every cell that is not done and that no other process trains, then wait for the others.

    Returns the failures, by cell id.
    """
    failures: dict[str, str] = {}
    elsewhere: set[str] = set()
    with run.display.shown():
        waiting = cells
        patience = 0.0
        while waiting:
            busy = []
            for cell in waiting:
                with cell.locked(timeout=patience) as mine:
                    if not mine:
                        busy.append(cell)
                        elsewhere.add(cell.id)
                    elif cell.id in elsewhere and (failure := cell.failure()) is not None:
                        # Another process has tried it a moment ago; the next command will again.
                        failures[cell.id] = failure_room.one_line(str(failure.get("message")))
                        _end_failed(cell, failures, run)
                    else:
                        _train_one(cell, loaded, run, failures)
                run.interrupts.check()
            if busy and len(busy) == len(waiting) and patience == 0:
                run.display.say(f"waiting for {len(busy)} networks that another process trains")
            patience = WAIT_SECONDS if len(busy) == len(waiting) else 0.0
            waiting = busy
    return failures


def _train_one(cell: Cell, loaded: _Loaded, run: Run, failures: dict[str, str]) -> None:
    known = cell.result()
    if known is not None:
        text = f"already there, accuracy {known['test']['accuracy']:.4f}"
        if cell.config.evaluation == "full" and not {"shift", "adversarial"} <= known.keys():
            try:
                add_evaluation(cell, known, loaded.get(cell.config), run.device)
                text += ", evaluated in full"
            except (OSError, ValueError, RuntimeError) as error:
                failures[cell.id] = failure_room.one_line(str(error))
                _end_failed(cell, failures, run)
                return
        run.display.end(cell.id, text, trained=False)
        return
    try:
        result = train_cell(cell, loaded.get(cell.config), run)
    except Exception as error:
        failures[cell.id] = _record_failure(cell, error)
        _end_failed(cell, failures, run)
        if failure_room.out_of_memory(error.__cause__ or error):
            error.__traceback__ = None  # its frames hold the network
            error.__cause__ = None
            failure_room.release_memory()
        return
    train = result["train"]
    text = (
        f"accuracy {result['test']['accuracy']:.4f}, {duration(train['seconds'])}, "
        f"{train['images_per_second']:,.0f} images/s"
    )
    run.display.end(cell.id, text, trained=True)


def _end_failed(cell: Cell, failures: dict[str, str], run: Run) -> None:
    run.display.end(cell.id, f"failed: {failures[cell.id]}", trained=True)


def _record_failure(cell: Cell, error: Exception) -> str:
    """Write `failure.json`, if the disk lets it, and return the failure in one line."""
    position: dict[str, int] = {}
    cause: BaseException = error
    if isinstance(error, CellError) and error.__cause__ is not None:
        position = {"epoch": error.epoch, "step": error.step}
        cause = error.__cause__
    message = failure_room.describe(cause, cell.config)
    try:
        cell.fail(
            {
                "status": "failed",
                "cell": cell.id,
                "error": type(cause).__name__,
                "message": message,
                **position,
                "traceback": "".join(traceback.format_exception(cause)),
            }
        )
    except OSError as also:
        message += f" (and its failure.json could not be written: {also.strerror})"
    return message
