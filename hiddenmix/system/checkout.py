"""The checkout that the program runs from."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The folder that the package lies in: of a checkout the top, of an installed package site-packages."""


@cache
def commit() -> tuple[str | None, bool | None]:
    """Of the checkout that the package lies in the commit, and whether it has changes; None for what git
    does not tell, as of an installed package."""
    if not (ROOT / ".git").exists():
        return None, None
    found = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain") if found else None
    return found, None if changes is None else bool(changes)


@cache
def changed_code() -> bool:
    """Whether the package itself differs from the commit, whatever else in the checkout does."""
    return bool(commit()[0] and _git("status", "--porcelain", "--", "hiddenmix"))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", "-C", str(ROOT), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
