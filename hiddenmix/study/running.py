"""Runs what a command asks for: plans the cells of a study, trains those that lack, shows the table."""

import shlex
import traceback
from collections.abc import Sequence

from rich.console import Console

from hiddenmix.config import Config, layers
from hiddenmix.study import failures as failure_room
from hiddenmix.study.announcement import announce, warn_of_layers
from hiddenmix.study.cell_training import CellError, train_cell
from hiddenmix.study.cells import data_title
from hiddenmix.study.command import Run
from hiddenmix.study.devices import choose_device
from hiddenmix.study.environment import environment
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.looking import look, looks
from hiddenmix.study.measuring import add_evaluation, lacking
from hiddenmix.study.planning import check_requests, make_plan, question_alone
from hiddenmix.study.store import OUTPUTS, Cell, record_command
from hiddenmix.system import Interrupts
from hiddenmix.terminal import Display, clean, duration

WAIT_SECONDS = 1.0
"""Between two looks at a cell that another process trains."""


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
        LoadedData.clear()
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
    loaded = LoadedData(console, device)
    auto = any(config.repeats == "auto" for config in configs)
    if auto:
        configs, others = question_alone(configs)
        if others:
            names = ", ".join(dict.fromkeys("+".join(layers(each)) for each in others))
            console.print(
                "repeats=auto trains what the question needs, "
                f"{'+'.join(layers(configs[0]))} and its baselines; left out: {names}",
                markup=False,
                soft_wrap=True,
            )
    most = max(config.max_repeats for config in configs)
    for seeds in looks(most) if auto else (None,):
        # Read before the study is touched: what cannot be read is refused, and the data's content is
        # part of what a cell is.
        plan = make_plan(((each, loaded.get(each).digest) for each in configs), seeds)
        cells = [
            Cell(study, config, loaded.whole(config.dataset).digest)
            for config in plan.cells.values()
        ]
        for cell in cells:
            cell.check()
            loaded.outside(cell.config)
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
        data = [(loaded.whole(each.dataset), data_title(each)) for each in configs]
        announce(display, study, cells, device, data)
        warn_of_layers(display, plan)
        run = Run(command, device, display, interrupts, loaded.outside)
        failures = _train_all(cells, loaded, run)
        if seeds is not None and (failures or look(study, plan, display)):
            break
    # Imported here: pandas and scipy take a second that no refused command should wait for.
    from hiddenmix.study.conclusion import conclude

    written = conclude(study, cells, failures, console, full_report=auto or len(configs) > 1)
    return 1 if failures or not written else 0


def _train_all(cells: list[Cell], loaded: LoadedData, run: Run) -> dict[str, str]:
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
                        failures[cell.id] = clean(failure.get("message"), 500)
                        _end_failed(cell, failures, run)
                    else:
                        _train_one(cell, loaded, run, failures)
                run.interrupts.check()
            if busy and len(busy) == len(waiting) and patience == 0:
                run.display.say(f"waiting for {len(busy)} networks that another process trains")
            patience = WAIT_SECONDS if len(busy) == len(waiting) else 0.0
            waiting = busy
    return failures


def _train_one(cell: Cell, loaded: LoadedData, run: Run, failures: dict[str, str]) -> None:
    known = cell.result()
    if known is not None:
        text = f"already there, accuracy {known['test']['accuracy']:.4f}"
        full = cell.config.evaluation == "full"
        if (lacks := lacking(cell, known, full)) is not None:
            try:
                sets, data = loaded.outside(cell.config), loaded.get(cell.config)
                add_evaluation(cell, known, data, run.device, sets, lacks)
                text += ", evaluated in full" if full else ", its predictions made again"
            except (OSError, ValueError, RuntimeError) as error:
                failures[cell.id] = clean(error, 500)
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
