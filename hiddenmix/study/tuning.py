"""A tuned comparison: hidden layers and image mixup, each given as many trials, then compared.

A trial is judged by validation accuracy alone: its networks are trained without the held-out images, and
nothing but their accuracy on these is read of their results. Test images come in when both choices
are made, through other networks.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from hiddenmix import report
from hiddenmix.config import Config, UserError, counted, layers, seeds
from hiddenmix.report import Side, Trial, Tuning
from hiddenmix.study.announcement import warn_of_layers
from hiddenmix.study.attempting import attempt
from hiddenmix.study.cells import identity, setting_key
from hiddenmix.study.command import Run
from hiddenmix.study.devices import choose_device, device_name
from hiddenmix.study.environment import environment
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.planning import Plan, check_requests, make_plan
from hiddenmix.study.running import WAIT_SECONDS, command_line, train_plan
from hiddenmix.study.store import OUTPUTS, Cell, check_study, record_command, study_locked
from hiddenmix.study.tuning_space import SIDES, Request, check_space, complete, side_overrides
from hiddenmix.study.tuning_trials import FOLDER, Claim, SideTrials, check_optuna, storage
from hiddenmix.system import Interrupts
from hiddenmix.terminal import Display, make_console


def tune(request: Request, command: Sequence[str]) -> int:
    """Make the trials of both sides that the study lacks, train the two choices for the test, and
    compare them; returns the exit code.

    0: all is done; 1: networks failed, which are named. Raises `UserError`, before anything is written
    for a mistake in the request, and `Interrupted`.
    """
    check_optuna()
    console = make_console()
    request, base = complete(request)
    check_space(request, base)
    threads = torch.get_num_threads()
    torch.set_num_threads(base.threads)
    try:
        with Interrupts().installed() as interrupts:
            loaded = LoadedData(console, choose_device(base.device, 0))
            search = _Search(request, base, command_line(command, "tune"), loaded, interrupts)
            return search.run(console)
    finally:
        LoadedData.clear()
        torch.set_num_threads(threads)


@dataclass
class _Search:
    request: Request
    base: Config
    """The configuration with every key at its fixed or default value."""
    command: str
    loaded: LoadedData
    interrupts: Interrupts

    def __post_init__(self) -> None:
        self.study = OUTPUTS / self.base.study
        # A study of its own: the tables and verdicts of the other are not crowded with trials, and
        # show none of their test numbers.
        self.trial_study = self.study / FOLDER
        check_study(self.trial_study)
        data = self.loaded.get(self.base)  # what cannot be read or split is refused here
        assert data.validation is not None
        self.digest, self.held = data.digest, len(data.validation.labels)
        self.device = choose_device(self.base.device, 0)
        content = identity(self.base, self.digest) | {
            "repeats": self.base.repeats,
            "space": {key: repr(each) for key, each in self.request.space.items()},
        }
        text = json.dumps(content, sort_keys=True)
        self.name = hashlib.sha256(text.encode()).hexdigest()[:8]
        self.failures: dict[str, str] = {}

    def run(self, console: Console) -> int:
        with storage(self.trial_study) as found:
            sides = {
                side: SideTrials(
                    self.trial_study,
                    found,
                    f"{self.name}-{side}",
                    self.request.side(side),
                    first=self.request.first(self.base, side),
                    seed=self.base.seed,
                )
                for side in SIDES
            }
            self._search(sides, console)
            trials = {side: each.trials(self.request.trials) for side, each in sides.items()}
            sizes = {side: each.size for side, each in sides.items()}
        chosen = {side: best for side in SIDES if (best := choose(trials[side])) is not None}
        if len(chosen) < len(SIDES):
            lacking = ", ".join(SIDES[side] for side in SIDES if side not in chosen)
            _say(
                console, f"no trial of these was completed, so that nothing is compared: {lacking}"
            )
            return self._end(console, 1)
        return self._compare(chosen, trials, sizes, console)

    def _search(self, sides: dict[str, SideTrials], console: Console) -> None:
        many = self.request.trials
        left = sum(each.left(many) for each in sides.values())
        display = Display(console, left, what="trial")
        self._announce(display, left)
        about = {key: environment()[key] for key in ("commit", "dirty")}
        entry = {"command": self.command, **about, "requested": [], "cells": []}
        if warning := record_command(self.trial_study, entry):
            display.say(warning)
        run = Run(self.command, self.device, display, self.interrupts, self.loaded.outside)
        # Signals wait for where a checkpoint is written, and the storage is whole.
        with display.shown(), self.interrupts.deferred():
            while self._next(sides, run, display):
                self.interrupts.check()

    def _next(self, sides: dict[str, SideTrials], run: Run, display: Display) -> bool:
        """Make a trial, or wait for one of another process; returns whether there was any."""
        many = self.request.trials
        # In turn, so that a tuning which is stopped half-way is balanced.
        for side in sorted(sides, key=lambda each: sides[each].begun(many)):
            with ExitStack() as stack:
                claim = sides[side].claim(many, stack)
                if claim is not None:
                    self._try(side, sides[side], claim, run, display)
                    return True
        if any(each.elsewhere(many) for each in sides.values()):
            time.sleep(WAIT_SECONDS)
            return True
        return False

    def _try(self, side: str, trials: SideTrials, claim: Claim, run: Run, display: Display) -> None:
        """Train a trial's networks, seed by seed, until it is complete, stopped or failed."""
        name = f"{SIDES[side]} {claim.place + 1}"
        setting = report.setting_text(claim.values)
        name = f"{name}: {setting}" if setting else name
        validation: list[float] = []
        state, trained = "complete", False
        try:
            config = self._configuration(side, claim.values)
            check_requests([config])
            for seed in seeds(config):
                cell = Cell(self.trial_study, replace(config, seed=seed), self.digest)
                there = cell.result() is not None
                accuracy = self._validation(cell, run, display)
                trained = trained or not there
                validation.append(accuracy)
                if trials.report(claim, validation) and len(validation) < len(seeds(config)):
                    state = "stopped"
                    break
        except (UserError, _FailedError) as error:
            state = "failed"
            self.failures[name] = " ".join(str(error).split())
        trials.end(claim, state, validation)
        display.end(name, self._told(state, validation, name), trained=trained)

    def _validation(self, cell: Cell, run: Run, display: Display) -> float:
        """Train `cell` unless it is there; its accuracy on the held-out images (fraction)."""
        while True:
            outcome = attempt(cell, self.loaded, run, WAIT_SECONDS, elsewhere=False)
            display.leave(cell.id)
            self.interrupts.check()
            if outcome.state == "failed":
                raise _FailedError(outcome.text)
            result = cell.result()
            if outcome.state == "done" and result is not None:
                return float(result["validation"]["accuracy"])

    def _told(self, state: str, validation: Sequence[float], name: str) -> str:
        if state == "failed":
            return f"failed: {self.failures[name]}"
        mean, many = sum(validation) / len(validation), len(validation)
        text = f"validation {100 * mean:.2f} %, {counted(many, 'seed')}"
        return f"{text}, stopped" if state == "stopped" else text

    def _configuration(self, side: str, values: dict[str, str]) -> Config:
        """Of a trial with these values; its test numbers are never asked for in full, or outside."""
        [config] = self.request.compose([side_overrides(self.request, side, values)])
        dataset = replace(config.dataset, outside=None)
        return replace(config, evaluation="clean", dataset=dataset)

    def _announce(self, display: Display, left: int) -> None:
        many, repeats = self.request.trials, self.base.repeats
        display.say(
            f"study {self.study}, tuning {self.name}: {counted(many, 'trial')} at a hidden layer and "
            f"{many} of mixing images, {left} of them to be made on {device_name(self.device)}; each "
            f"by its accuracy on {counted(self.held, 'training image')} held out, mean over "
            f"{counted(repeats, 'seed')}"
        )
        for key, each in self.request.space.items():
            display.say(f"  searched: {key}={each}")
        both = self.request.extremes("hidden")
        configs = self.request.compose(
            [side_overrides(self.request, "hidden", each) for each in both]
        )
        check_requests(configs)
        warn_of_layers(display, Plan({repr(config): config for config in configs}, {}))

    def _compare(
        self,
        chosen: dict[str, Trial],
        trials: dict[str, list[Trial]],
        sizes: dict[str, float],
        console: Console,
    ) -> int:
        """Train both choices for the test, compare them, and write the report."""
        configs = {side: self._final(side, chosen[side]) for side in SIDES}
        for side, name in SIDES.items():
            told = report.setting_text(chosen[side].values)
            mean = 100 * chosen[side].mean
            _say(console, f"chosen, {name}: {told} (validation {mean:.2f} %)")
        finals = list(configs.values())
        check_requests(finals)
        plan = make_plan((config, self.loaded.get(config).digest) for config in finals)
        self.failures |= train_plan(
            self.study,
            finals,
            plan,
            self.command,
            self.loaded,
            console,
            self.interrupts,
            self.device,
        )
        sides = {
            side: Side(
                trials=trials[side],
                size=sizes[side],
                chosen=chosen[side],
                layer="+".join(layers(configs[side])),
                setting=setting_key(configs[side], self.digest),
                command=self._final_command(side, chosen[side]),
            )
            for side in SIDES
        }
        tuning = Tuning(
            name=self.name,
            study=self.study,
            command=self.command,
            trials=self.request.trials,
            seeds=seeds(self.base),
            final_seeds=seeds(finals[0]),
            held=self.held,
            space={key: str(each) for key, each in self.request.space.items()},
            hidden=sides["hidden"],
            images=sides["input"],
            cells=list(plan.cells),
            margin=self.base.margin / 100,
        )
        tuned = report.compare_tuned(tuning)
        console.print(report.terminal_tuned(tuned, console.width))
        if warning := report.former_looks(tuned):
            _say(console, warning)
        with study_locked(self.study):
            path = report.write_tuned(tuned)
        _say(console, f"report: {path}")
        return self._end(console, 1 if self.failures else 0, path.with_name("tuned.json"))

    def _final(self, side: str, trial: Trial) -> Config:
        """The choice of a side, on all training images, with seeds that no trial had."""
        [config] = self.request.compose([side_overrides(self.request, side, trial.values)])
        return replace(
            config,
            dataset=replace(config.dataset, validation=0.0),
            seed=self.base.seed + self.base.repeats,
            repeats=self.request.final_repeats,
        )

    def _final_command(self, side: str, trial: Trial) -> str:
        config = self._final(side, trial)
        own = ("dataset.validation=", "seed=", "repeats=", "baseline=")
        kept = [
            each
            for each in side_overrides(self.request, side, trial.values)
            if not each.startswith(own)
        ]
        [bare] = self.request.compose([kept])
        # An experiment file may hold images out, too.
        whole = ["dataset.validation=0"] if bare.dataset.validation else []
        more = [f"seed={config.seed}", f"repeats={config.repeats}", "baseline=false"]
        return command_line([*kept, *whole, *more])

    def _end(self, console: Console, code: int, path: Path | None = None) -> int:
        for name, text in self.failures.items():
            _say(console, f"failed: {name}: {text}")
        if self.failures:
            _say(console, f"{len(self.failures)} failed; the same command tries them again")
        cells = f"{self.trial_study}/cells (trials)"
        where = f"{path}, {self.study}/cells and {cells}" if path else cells
        _say(console, f"results: {where}")
        return code


class _FailedError(Exception):
    """A trial's network failed; the message says why."""


def choose(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest mean validation accuracy, of equal ones the first."""
    complete_ones = [trial for trial in trials if trial.state == "complete"]
    return max(complete_ones, key=lambda trial: (trial.mean, -trial.place), default=None)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
