"""What a result was made with: versions, machine, commit."""

import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from hiddenmix.study.devices import device_name

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
        **_commit(),
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


def _commit() -> dict[str, Any]:
    """Commit of the checkout that the package lies in, and whether it has changes; None for what git
    does not tell."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain") if commit else None
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
