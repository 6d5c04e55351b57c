"""What the cells of one command share."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from hiddenmix.config import Config
from hiddenmix.data import OutsideSet
from hiddenmix.system import Interrupts


class Progress(Protocol):
    """What the training of a cell tells of itself; see `Display`."""

    def say(self, text: str) -> None:
        """One line, as it is."""

    def begin(self, name: str, epochs: int, start: int, step: int = 0) -> None:
        """A network begins, or goes on."""

    def step(self) -> None:
        """A training step is done."""

    def epoch(self, name: str, number: int, epochs: int, loss: float, rate: float) -> None:
        """An epoch is done."""


@dataclass(frozen=True)
class PartOfSweep:
    """The place of a command that an engine runs as one job of a sweep; the sweep's own process ends
    with the table (`conclude_elsewhere`)."""

    job: int
    """Its number."""

    invocation: str
    """The same for all jobs of a sweep, and no other for the same command given again."""


@dataclass(frozen=True)
class Run:
    """What the cells of one command share."""

    command: str
    device: torch.device
    display: Progress
    interrupts: Interrupts
    outside: Callable[[Config], list[OutsideSet]]
    """The outside sets of a configuration, opened."""

    broken: Counter[str] = field(default_factory=Counter)
    """Networks in a row in which a tracker failed, by its name; see `Trackers`."""
