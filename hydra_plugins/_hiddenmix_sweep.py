"""The sweep of the command under way, as the plugins beside this file know it.

Hydra runs a plugin's module anew whenever it looks for plugins, but none whose name begins with a `_`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import DictConfig


class Made:
    """The folders that Hydra makes for a sweep, so that a refused one leaves none behind."""

    def __init__(self, config: DictConfig) -> None:
        """`config` is the sweep's; nothing has been made yet."""
        self._folder = Path(config.hydra.sweep.dir).absolute()
        self._new = [each for each in (self._folder, *self._folder.parents) if not each.exists()]

    def remove(self) -> None:
        """Take back what is new and holds nothing but Hydra's record of the sweep."""
        if self._folder in self._new:
            (self._folder / "multirun.yaml").unlink(missing_ok=True)
        for folder in self._new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@dataclass
class Sweep:
    """What the sweep of one command comes to; a sweeper may launch several batches."""

    made: Made | None = None
    """Set when the sweep begins."""

    launched: int = 0
    """How many jobs Hydra made of the command."""

    code: int = 0
    """The highest exit code of a batch or a job."""

    checked: list[Any] | None = None
    """The configurations of a single run, once they are checked."""

    chosen: DictConfig | None = None
    """The launcher of another engine, where the user chose one."""

    invocation: str = field(default_factory=lambda: uuid4().hex[:12])
    """By which the networks of this command are told from those of the same one, given before."""

    studies: set[str] = field(default_factory=set)
    """The studies of the jobs that the engine was handed."""

    jobs: dict[int, str] = field(default_factory=dict)
    """The overrides of each job that the engine was handed."""

    ended: dict[int, str] = field(default_factory=dict)
    """What became of jobs that had no end of their own."""

    mistake: Exception | None = None
    """The first one that jobs found in the command."""


@dataclass(frozen=True)
class Job:
    """The task of an engine's process. It travels there as it is, environment variables might not."""

    command: tuple[str, ...]
    """The user's own arguments."""

    folder: str
    """Where the command was given; studies, data and relative paths are of this folder."""

    invocation: str
    """That of the command's `Sweep`."""

    def __call__(self, config: DictConfig) -> int:
        from hiddenmix.train import run_job

        os.chdir(self.folder)
        return run_job(config, self.command, self.invocation)


class JobDiedError(RuntimeError):
    """A job that an engine ended."""


_under_way = Sweep()


def under_way() -> Sweep:
    """That of the command under way."""
    return _under_way


def begin() -> None:
    """A command begins."""
    global _under_way  # noqa: PLW0603  # one command at a time
    _under_way = Sweep()
