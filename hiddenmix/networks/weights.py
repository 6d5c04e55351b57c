"""`model.weights`: starting from weights at hand instead of random ones."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hiddenmix.config import UserError, at_home, counted
from hiddenmix.terminal import clean

_NAMED = 6
"""Tensors that are named before the others are counted."""


def take_weights(network: nn.Module, path: str) -> str:
    """Copy into `network` the tensors of the safetensors file `path` that fit by name and shape.

    Returns in words how many these are, and which of the network's own are none of them. Raises
    `UserError` where the file cannot be read, or nothing in it fits.
    """
    try:
        stored = load_file(at_home(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"model.weights={path} cannot be read\n  {clean(error, 300)}") from error
    own = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    fitting = [name for name in own if name in stored and stored[name].shape == own[name].shape]
    if not set(fitting) & {name for name, _ in network.named_parameters()}:
        there = clean(", ".join(sorted(stored)[:2]), 200)
        raise UserError(
            f"model.weights={path}: no weight fits the network by name and shape\n"
            f"  here {', '.join(sorted(own)[:2])}; in the file {there or 'nothing'}"
        )
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(stored[name])
    others = [
        f"{name} ({_shape(value)} here, {_shape(stored[name]) if name in stored else 'none'} there)"
        for name, value in own.items()
        if name not in fitting
    ]
    unused = sum(name not in own and not name.endswith("num_batches_tracked") for name in stored)
    text = f"weights of {path}: {len(fitting)} of {counted(len(own), 'tensor')}"
    if others:
        text += f"; start anew: {', '.join(others[:_NAMED])}"
        text += f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return text + (f"; no place for {counted(unused, 'tensor')} of the file" if unused else "")


def _shape(value: torch.Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
