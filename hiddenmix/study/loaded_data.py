"""The data sets of a command: each read once, cut for each setting, moved to the device once."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from rich.console import Console

from hiddenmix import data as data_room
from hiddenmix.config import Config, DatasetConfig
from hiddenmix.data import Data, OutsideSet, Resize, Whole
from hiddenmix.study.devices import choose_device
from hiddenmix.study.looking import check_looks
from hiddenmix.study.planning import batch_too_large, make_plan, question_alone
from hiddenmix.study.store import OUTPUTS, Cell
from hiddenmix.system import Interrupts
from hiddenmix.terminal import interactive, make_console


def load_data(configs: Sequence[Config]) -> None:
    """Read the data of `configs`, for the `run` to come in this process: what cannot be read, or
    written beside what a study has, is refused before Hydra makes a folder.

    Raises `UserError` and `Interrupted`.
    """
    LoadedData.clear()
    with Interrupts().installed():
        for config in configs:
            loaded = LoadedData(make_console(), choose_device(config.device, 0))
            digest = loaded.get(config).digest
            loaded.outside(config)
            if (OUTPUTS / config.study).exists():
                for cell in make_plan([(config, digest)]).cells.values():
                    Cell(OUTPUTS / config.study, cell, digest).check()
        for study in dict.fromkeys(each.study for each in configs if each.repeats == "auto"):
            needed, _ = question_alone([each for each in configs if each.study == study])
            check_looks(OUTPUTS / study, [(each, loaded.get(each).digest) for each in needed])


class LoadedData:
    """The data sets of a command, by what they are read from."""

    _read: ClassVar[dict[tuple[object, ...], Whole]] = {}
    _cut: ClassVar[dict[tuple[object, ...], Data]] = {}
    _opened: ClassVar[dict[tuple[object, ...], list[OutsideSet]]] = {}

    def __init__(self, console: Console, device: torch.device) -> None:
        self._console, self._device = console, device

    @classmethod
    def clear(cls) -> None:
        """Let go of everything."""
        cls._read.clear()
        cls._cut.clear()
        cls._opened.clear()

    @classmethod
    def put(cls, source: tuple[object, ...], whole: Whole) -> None:
        """Take `whole` for the data set of that `source`, in place of reading it."""
        cls._read[source] = whole
        cls._cut.clear()

    def get(self, config: Config) -> Data:
        """The data of a cell on the device. Raises `UserError`, also for a batch that is too large."""
        whole = self.whole(config.dataset)
        resampled = config.seed if config.dataset.resample else None
        own = replace(config.dataset, outside=None, title=None)  # which cut nothing
        key = (repr(own), self._device)
        if (*key, resampled) not in self._cut:
            # A seed's own subset serves its settings, which are trained one after another.
            for stale in [each for each in self._cut if each[:2] == key]:
                del self._cut[stale]
            data = data_room.prepare(whole, config.dataset, config.seed).to(self._device)
            self._cut[*key, resampled] = data
        found = self._cut[*key, resampled]
        size = len(found.train.images)
        if config.batch_size > size:
            raise batch_too_large(config.batch_size, size)
        return found

    def outside(self, config: Config) -> list[OutsideSet]:
        """The outside sets of a configuration, opened. Raises `UserError` for one that does not fit."""
        key = (data_room.source(config.dataset), repr(config.dataset.outside))
        if key not in self._opened:
            whole = self.whole(config.dataset)
            shape = whole.test.shape
            sets, resize = config.dataset.outside or {}, Resize.of(config.dataset)
            opened = data_room.open_outside(sets, whole.classes, shape, resize)
            self._opened[key] = [data_room.compared(each, whole.train) for each in opened]
        return self._opened[key]

    def outside_remarks(self, config: Config) -> list[str]:
        """What a person should know of these sets, a line each. Raises `UserError` as `outside`."""
        classes = self.whole(config.dataset).classes
        sets = self.outside(config)
        return [line for each in sets for line in data_room.outside_remarks(each, classes)]

    def whole(self, config: DatasetConfig) -> Whole:
        """A data set as it is read. Raises `UserError`."""
        key = data_room.source(config)
        if key not in self._read:
            self._read[key] = self._load(config)
        return self._read[key]

    def _load(self, config: DatasetConfig) -> Whole:
        if not interactive(self._console):
            return data_room.read(config, _plain_progress(self._console))
        from rich.progress import Progress

        with Progress(console=self._console, transient=True) as bar:
            task = bar.add_task("data", total=None)

            def progress(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total)

            return data_room.read(config, progress)


def _plain_progress(console: Console) -> data_room.Progress:
    said = {"at": time.monotonic()}

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() - said["at"] > 5:
            said["at"] = time.monotonic()
            console.print(f"{what}: {done:,} of {total:,}", markup=False)

    return progress
