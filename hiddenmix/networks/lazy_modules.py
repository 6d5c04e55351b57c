"""Lazy modules (torch.nn.LazyLinear and its like), which have no parameters until they have run."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hiddenmix.config import UserError


def initialise(network: nn.Module, shape: Sequence[int]) -> None:
    """Let lazy modules get their parameters, from torch's default generator, by a pass in evaluation
    mode on images of `shape` (C, H, W). Raises `UserError` where one does not run in it."""
    if not _lazy(network):
        return
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(2, *shape))
    for module, mode in modes:
        module.training = mode
    if names := _lazy(network):
        raise UserError(
            f"{names[0]} has no value: it is of a lazy module that does not run in evaluation mode\n"
            "  give the module its sizes, or leave it out"
        )


def _lazy(network: nn.Module) -> list[str]:
    """Names of the parameters and buffers that have no values yet."""
    own = [*network.named_parameters(), *network.named_buffers()]
    return [name for name, value in own if is_lazy(value)]
