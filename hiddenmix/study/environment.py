"""What a result was made with: versions, machine, commit."""

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

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


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """Commit of the checkout that the package lies in, and whether it has changes; else None."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": bool(_git(root, "status", "--porcelain")) if commit else None,
    }


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
