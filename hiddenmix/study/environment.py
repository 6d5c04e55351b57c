"""What a result was made with: versions, machine, commit."""

import platform
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Any

import torch

from hiddenmix.study.devices import device_name
from hiddenmix.system import commit

_PACKAGES = ("torchvision", "timm", "numpy", "scikit-learn", "pillow", "hydra-core", "omegaconf")
"""Which decide, beside torch, what a configuration comes to and how images are read, where installed."""


@cache
def environment() -> dict[str, Any]:
    """Versions, machine and commit that a result was made with, device and threads aside."""
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "hiddenmix": metadata.version("hiddenmix"),
        "machine": platform.machine(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        **dict(zip(("commit", "dirty"), commit(), strict=True)),
    }


def training_environment(device: torch.device) -> dict[str, Any]:
    """What decides how the numbers of a training are rounded: a network that goes on in another one is
    none that either trains alone."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": environment()["torch"],
        "commit": environment()["commit"],
    }


def trained_in(environments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a result says of the `training_environment`s of its network, in turn: all of the last one, and
    where it began elsewhere, the earlier ones as `resumed_from`."""
    *earlier, last = environments
    return environment() | last | ({"resumed_from": earlier} if earlier else {})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
