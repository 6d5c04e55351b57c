"""A copy of a network that can be run, trained and changed while the network itself stays as it is."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from hiddenmix.networks.whole_precision import is_half

_TINY = 0.05
"""Share of its natural size below which a parameter counts as initialised to (almost) zero."""


def copy_of(network: nn.Module) -> nn.Module:
    """A deep copy, also where modules keep tensors that are computed from parameters."""
    memo: dict[int, object] = {}
    for module in network.modules():
        for value in vars(module).values():
            # As torch.nn.utils.weight_norm leaves them: deepcopy refuses what has a history.
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return deepcopy(network, memo)


def make_typical(network: nn.Module) -> None:
    """Make `network` one whose affine parts are affine for any weights, and in which nothing rounds away.

    Parameters that start at zero, or far below their natural size (heads, layer scales, the last
    BatchNorm of a residual branch, gates), become random ones of that size: a branch that is switched
    off would make a layer look affine. Half precision becomes float32; what the network's own forward
    casts to it is up to `WholePrecision`.
    """
    network._apply(lambda value: value.float() if is_half(value.dtype) else value)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point())
        if not parameter.is_floating_point() or name.endswith("bias") or not parameter.numel():
            continue
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
        natural = fan_in**-0.5
        if float(parameter.detach().double().square().mean().sqrt()) < _TINY * natural:
            size = 0.5 + torch.rand(parameter.shape, generator=generator)
            sign = torch.randint(2, parameter.shape, generator=generator) * 2 - 1
            with torch.no_grad():
                parameter.copy_(natural * size * sign)
