"""The folder of a user's own files: Hydra's flag `--config-dir`, for commands that Hydra does not run."""

from collections.abc import Sequence
from pathlib import Path

from hiddenmix.config import UserError, show
from hiddenmix.terminal.arguments import quoted_text


def without_config_dir(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """`arguments` without `--config-dir DIR`, and the overrides that make Hydra look there too.

    Raises `UserError` where there is no such folder.
    """
    folder: str | None = None
    others: list[str] = []
    rest = iter(arguments)
    for each in rest:
        flag, equals, value = each.partition("=")
        if flag in ("--config-dir", "-cd"):
            folder = value if equals else next(rest, "")
        else:
            others.append(each)
    if folder is None:
        return others, []
    if not (folder and Path(folder).is_dir()):
        raise UserError(
            f"--config-dir {show(folder)} is no folder\n  expected: one with model/ or dataset/"
        )
    path = quoted_text(f"file://{Path(folder).absolute()}")
    return others, [f"hydra.searchpath=[{path}]"]
