"""The data sets of a command, each read once."""

import time
from collections.abc import Sequence
from typing import ClassVar

import torch
from rich.console import Console

from hiddenmix import data as data_room
from hiddenmix.config import Config, ConfigError, DatasetConfig
from hiddenmix.data import Data
from hiddenmix.study.devices import choose_device
from hiddenmix.system import Interrupts


def load_data(configs: Sequence[Config]) -> None:
    """Read the data of `configs`, for the `run` to come in this process: what cannot be read is
    refused before Hydra makes a folder. Raises `UserError` and `Interrupted`."""
    LoadedData.kept.clear()
    with Interrupts().installed():
        for config in configs:
            LoadedData(Console(highlight=False), choose_device(config.device, 0)).get(config)


class LoadedData:
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
