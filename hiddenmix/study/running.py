"""Runs what a command asks for: plans the cells of a study, trains those that lack, shows the table."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from hiddenmix import data as data_room
from hiddenmix import networks
from hiddenmix.config import Config, ConfigError, UserError, counted, idle_keys, layers
from hiddenmix.data import Whole
from hiddenmix.study.added_evaluation import lacking
from hiddenmix.study.announcement import announce, warn_of_layers
from hiddenmix.study.cells import data_title
from hiddenmix.study.command import PartOfSweep, Run
from hiddenmix.study.devices import choose_device
from hiddenmix.study.environment import environment
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.looking import check_looks, look, looks
from hiddenmix.study.planning import (
    Plan,
    check_requests,
    check_shared,
    make_plan,
    question_alone,
)
from hiddenmix.study.shared_data import SharedWhole
from hiddenmix.study.store import OUTPUTS, Cell, check_study, record_command
from hiddenmix.study.worker import Job
from hiddenmix.study.workers import Here, Team, Workers, how_many
from hiddenmix.system import Interrupts
from hiddenmix.terminal import Display, make_console
from hiddenmix.training import choose_form

WAIT_SECONDS = 1.0
"""Between two looks at a cell that another process trains."""


def run_command(
    configs: Sequence[Config],
    command: Sequence[str],
    part: PartOfSweep | None = None,
    console: Console | None = None,
) -> int:
    """Train every network that `configs`, which `check_requests` has passed, need and their study lacks;
    returns the exit code.

    `command`: the user's arguments, as they are recorded.
    0: all are done; 1: some failed, which the table names. Raises `UserError` and `Interrupted`.
    """
    console = console or make_console()
    threads = torch.get_num_threads()
    torch.set_num_threads(configs[0].threads)
    studies: dict[str, list[Config]] = {}
    for config in configs:
        studies.setdefault(config.study, []).append(config)
    line = command_line(command)
    try:
        with Interrupts().installed() as interrupts:
            codes = [
                _run_study(name, requests, line, part, console, interrupts)
                for name, requests in studies.items()
            ]
    finally:
        LoadedData.clear()
        torch.set_num_threads(threads)
    return max(codes)


def command_line(command: Sequence[str], name: str = "train") -> str:
    """A command as it is recorded."""
    return shlex.join(["python", "-m", f"hiddenmix.{name}", *command])


def check_elsewhere(configs: Sequence[Config]) -> None:
    """`check_requests`, as far as another machine than the one that will train can tell: it may lack
    the device and the data."""
    for study in {each.study for each in configs}:
        check_study(OUTPUTS / study)
    check_shared(configs, apart=True)
    try:
        for config in configs:
            data_room.describe(config.dataset)
    except (UserError, OSError):
        return
    here = [replace(config, device="cpu") for config in configs]
    check_requests(here)
    if automatic := [config for config in here if config.repeats == "auto"]:
        needed, others = question_alone(automatic)
        if others:  # its job would not know of the lower layer, and go on for nothing
            raise ConfigError(
                "layer",
                "+".join(layers(others[0])),
                f"{'+'.join(layers(needed[0]))} alone, with repeats=auto in jobs of their own",
            )


def conclude_elsewhere(
    studies: Iterable[str], invocation: str, jobs: Mapping[int, str], ended: Mapping[int, str]
) -> int:
    """End a command whose `jobs`, overrides by number, an engine ran in other processes, for these
    `studies`; returns its exit code. `ended`: what became of jobs that had no end of their own."""
    from hiddenmix.study.conclusion import conclude_command

    return conclude_command(studies, invocation, jobs, ended, make_console())


def _run_study(
    name: str,
    configs: list[Config],
    command: str,
    part: PartOfSweep | None,
    console: Console,
    interrupts: Interrupts,
) -> int:
    study = OUTPUTS / name
    device = choose_device(configs[0].device, 0 if part is None else part.job)
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
        check_looks(study, [(each, loaded.get(each).digest) for each in configs], command)
    most = max(config.max_repeats for config in configs)
    for seeds in looks(most) if auto else (None,):
        # Read before the study is touched: what cannot be read is refused, and the data's content is
        # part of what a cell is.
        plan = make_plan(((each, loaded.get(each).digest) for each in configs), seeds)
        failures = train_plan(
            study, configs, plan, command, loaded, console, interrupts, device, part
        )
        if seeds is None:
            break
        # Meanwhile, another command may have trained what this one's looks do not allow for.
        check_looks(study, [(each, loaded.get(each).digest) for each in configs], command)
        if failures or look(study, plan, Display(console, 0)):
            break
    if part is not None:
        for each, message in failures.items():
            console.print(f"failed: {each}: {message}", markup=False, soft_wrap=True)
        return 1 if failures else 0
    # Imported here: pandas and scipy take a second that no refused command should wait for.
    from hiddenmix.study.conclusion import conclude

    written = conclude(
        study, list(plan.cells), failures, console, full_report=auto or len(configs) > 1
    )
    return 1 if failures or not written else 0


def train_plan(
    study: Path,
    configs: Sequence[Config],
    plan: Plan,
    command: str,
    loaded: LoadedData,
    console: Console,
    interrupts: Interrupts,
    device: torch.device,
    part: PartOfSweep | None = None,
) -> dict[str, str]:
    """Train the cells of `plan`, which `configs` ask for, that `study` lacks; returns the failures, by
    cell id. Raises `UserError` and `Interrupted`."""
    cells = [
        Cell(study, config, loaded.whole(config.dataset).digest) for config in plan.cells.values()
    ]
    for cell in cells:
        cell.check()
        loaded.outside(cell.config)
    entry = {
        "command": command,
        "commit": environment()["commit"],
        "dirty": environment()["dirty"],
        "requested": list(plan.requested),
        "cells": list(plan.cells),
        **({} if part is None else {"job": part.job}),
    }
    if warning := record_command(study, entry, None if part is None else part.invocation):
        console.print(warning, markup=False, soft_wrap=True)
    lacks = sum(_lacks(cell, loaded) for cell in cells)
    number = how_many(configs[0], device, lacks)
    display = Display(console, len(cells), max(number, 1))
    data = [
        (loaded.whole(each.dataset), data_title(each), len(loaded.get(each).train.labels))
        for each in configs
    ]
    forms = [_form(each.config, device, loaded.whole(each.config.dataset)) for each in cells]
    announce(display, study, cells, device, number, data, forms)
    for line in dict.fromkeys(line for each in configs for line in loaded.outside_remarks(each)):
        display.say(line)
    for line in idle_keys(configs):
        display.say(f"note: {line}")
    warn_of_layers(display, plan)
    run = Run(command, device, display, interrupts, loaded.outside)
    with _team(number, configs, loaded, run, display) as team:
        return _train_all(cells, team, display, interrupts)


def _form(config: Config, device: torch.device, data: Whole) -> str:
    """In which form a cell is trained, in words."""
    shape = data.test.shape
    layout = networks.layout_of(config.model, shape, len(data.classes))
    return choose_form(config, device, layout).text


def _lacks(cell: Cell, loaded: LoadedData) -> bool:
    known = cell.result()
    if known is None:
        return True
    full = cell.config.evaluation == "full"
    try:
        return lacking(cell, known, full, partial(loaded.outside, cell.config)) is not None
    except (OSError, ValueError, RuntimeError):
        return True  # whoever measures it will say why


def _train_all(
    cells: list[Cell], team: Team, display: Display, interrupts: Interrupts
) -> dict[str, str]:
    """Train every cell that is not done and that no other process trains, then wait for the others.

    Returns the failures, by cell id.
    """
    failures: dict[str, str] = {}
    elsewhere: set[str] = set()
    with display.shown():
        waiting = cells
        patience = 0.0
        while waiting:
            busy = set()
            for outcome in team.attempts(waiting, elsewhere, patience):
                if outcome.state == "busy":
                    busy.add(outcome.cell)
                    continue
                text = outcome.text
                if outcome.state == "failed":
                    failures[outcome.cell] = text
                    text = f"failed: {text}"
                display.end(outcome.cell, text, trained=outcome.trained)
            interrupts.check()
            elsewhere |= busy
            if busy and len(busy) == len(waiting) and patience == 0:
                display.say(
                    f"waiting for {counted(len(busy), 'network')} that another process trains: "
                    + "; ".join(f"{each.id} ({each.holder()})" for each in waiting[:3])
                    + (f"; and {len(busy) - 3} more" if len(busy) > 3 else "")
                )
            patience = WAIT_SECONDS if len(busy) == len(waiting) else 0.0
            waiting = [cell for cell in waiting if cell.id in busy]
    return failures


@contextmanager
def _team(
    number: int, configs: Sequence[Config], loaded: LoadedData, run: Run, display: Display
) -> Iterator[Team]:
    """`number` workers where there are several, else this process."""
    if number < 2:
        yield Here(loaded, run)
        return
    config = configs[0]
    shared: dict[tuple[object, ...], SharedWhole] = {}
    try:
        for each in configs:
            key = data_room.source(each.dataset)
            if key not in shared:
                shared[key] = SharedWhole(loaded.whole(each.dataset))
                LoadedData.put(key, shared[key].open())  # in place of this process's own copy
        job = Job(run.command, config.device, 0, config.threads, shared)
        measured = config.workers == "auto"
        with Workers(number, job, display, run.interrupts, measured=measured) as workers:
            yield workers
    finally:
        for each_shared in shared.values():
            each_shared.close()
