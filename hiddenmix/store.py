"""The study on disk: its cells, their results and failures, and the locks that share it.

outputs/<study>/study.json               what was asked of the study
outputs/<study>/cells/<cell id>/         one network each
outputs/<study>/locks/<cell id>.lock     held by the process that trains the cell
"""

import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from hiddenmix import atomic
from hiddenmix.cells import cell_id
from hiddenmix.config import Config, UserError

FORMAT = 1
"""Version of the files below; a study of another version is refused."""


class Cell:
    """The folder of one network."""

    def __init__(self, study: Path, config: Config) -> None:
        self.id = cell_id(config)
        self.config = config
        self.folder = study / "cells" / self.id
        self._lock_file = study / "locks" / f"{self.id}.lock"

    def result(self) -> dict[str, Any] | None:
        """What `result.json` holds, or None where the cell is not done.

        A file that is damaged or of another version counts as absent: the cell is trained again.
        """
        content = self.read(self.folder / "result.json")
        return content if content is not None and content.get("cell") == self.id else None

    @staticmethod
    def read(path: Path) -> dict[str, Any] | None:
        """The result in the file `path`, or None as for `result`."""
        try:
            content = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        done = isinstance(content, dict) and content.get("status") == "done"
        return content if done and content.get("format") == FORMAT else None

    def failure(self) -> dict[str, Any] | None:
        """What `failure.json` holds, or None."""
        try:
            content = json.loads((self.folder / "failure.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    @contextmanager
    def locked(self, timeout: float = 0.0) -> Iterator[bool]:
        """Hold the cell's lock; yields False where another process holds it after `timeout` seconds.

        The lock is the operating system's and dies with its owner.
        """
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock_file)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def prepare(self) -> None:
        """Make the folder and write `config.yaml`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_text(self.folder / "config.yaml", OmegaConf.to_yaml(asdict(self.config)))

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Replace `metrics.jsonl` by `lines`, which a resume cuts back to the checkpoint's epoch."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        atomic.write_text(self.folder / "metrics.jsonl", text)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch to `metrics.jsonl`."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def finish(self, result: dict[str, Any]) -> None:
        """Write `result.json`, the last file of a cell: its presence means done."""
        atomic.write_json(self.folder / "result.json", result)
        (self.folder / "failure.json").unlink(missing_ok=True)

    def fail(self, failure: dict[str, Any]) -> None:
        """Write `failure.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(self.folder / "failure.json", failure)


def record_command(study: Path, entry: dict[str, Any]) -> None:
    """Add to `study.json` what a command asks for; the same command again is recorded once.

    Raises `UserError` where the study was written by another version of the program.
    """
    study.mkdir(parents=True, exist_ok=True)
    path = study / "study.json"
    with FileLock(study / "study.lock"):
        content = read_study(study)
        if entry not in content["commands"]:
            content["commands"].append(entry)
            atomic.write_json(path, content)


def read_study(study: Path) -> dict[str, Any]:
    """What `study.json` holds; empty where there is none or it is damaged.

    Raises `UserError` where it has another format.
    """
    empty: dict[str, Any] = {"format": FORMAT, "commands": []}
    try:
        content = json.loads((study / "study.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return empty
    if not isinstance(content, dict) or not isinstance(content.get("commands"), list):
        return empty
    if content.get("format") != FORMAT:
        raise UserError(
            f"study={study.name} has format {str(content.get('format'))[:20]}, this program writes "
            f"{FORMAT}\n  use another study=<name>, or the version of hiddenmix that wrote it"
        )
    return content


@cache
def environment() -> dict[str, Any]:
    """Versions, machine and commit that a result was made with, device and threads aside."""
    return {
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "hiddenmix": metadata.version("hiddenmix"),
        "machine": platform.machine(),
        **_commit(),
    }


def _commit() -> dict[str, Any]:
    """Commit of the checkout that the package lies in, and whether it has changes; else None."""
    root = Path(__file__).parent.parent
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
