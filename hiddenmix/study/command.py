"""What the cells of one command share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hiddenmix.config import Config
from hiddenmix.data import OutsideSet
from hiddenmix.system import Interrupts
from hiddenmix.terminal import Display


@dataclass(frozen=True)
class Run:
    """What the cells of one command share."""

    command: str
    device: torch.device
    display: Display
    interrupts: Interrupts
    outside: Callable[[Config], list[OutsideSet]]
    """The outside sets of a configuration, opened."""
