"""What the cells of one command share."""

from dataclasses import dataclass

import torch

from hiddenmix.system import Interrupts
from hiddenmix.terminal import Display


@dataclass(frozen=True)
class Run:
    """What the cells of one command share."""

    command: str
    device: torch.device
    display: Display
    interrupts: Interrupts
