"""The study on disk: its cells, their results and failures, and the locks that share it.

outputs/<study>/study.json               what was asked of the study
outputs/<study>/cells/<cell id>/         one network each
outputs/<study>/locks/<cell id>.lock     held by the process that trains the cell
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hiddenmix.config import Config, UserError, show
from hiddenmix.report import usable
from hiddenmix.study import locks
from hiddenmix.study.cells import cell_id
from hiddenmix.system import atomic

OUTPUTS = Path("outputs")
"""Studies lie below this folder of the working directory."""

FORMAT = 2
"""Version of the files below; a study of another version is refused."""

_FOLDERS = ("cells", "locks", "comparison", "report", "hydra", "mlflow", "tune")


class Cell:
    """The folder of one network."""

    def __init__(self, study: Path, config: Config, data: str) -> None:
        """`data` is the digest of the data set that the cell is trained on."""
        self.id = cell_id(config, data)
        self.data = data
        self.config = config
        self.folder = study / "cells" / self.id
        self._lock_file = study / "locks" / f"{self.id}.lock"

    def result(self) -> dict[str, Any] | None:
        """What `result.json` holds, or None where the cell is not done.

        A file that is damaged, of another version, or of no use to a report counts as absent: the cell is
        trained again.
        """
        content = self.read(self.folder / "result.json")
        return content if content is not None and content.get("cell") == self.id else None

    @staticmethod
    def read(path: Path) -> dict[str, Any] | None:
        """The result in the file `path`, or None as for `result`."""
        content = _object(path)
        return content if content is not None and usable(content, content.get("cell", "")) else None

    def failure(self) -> dict[str, Any] | None:
        """What `failure.json` holds, or None."""
        return self.read_failure(self.folder)

    @staticmethod
    def read_failure(folder: Path) -> dict[str, Any] | None:
        """What a cell's folder holds of a failure, or None."""
        return _object(folder / "failure.json")

    def check(self) -> None:
        """Raise `UserError` where a link would take the writing elsewhere."""
        for path in (self.folder, self._lock_file):
            _refuse_link(path)

    @contextmanager
    def locked(self, timeout: float = 0.0) -> Iterator[bool]:
        """Hold the cell's lock; yields False where another process holds it after `timeout` seconds.

        The lock is the operating system's and dies with its owner; see `locks` for where it cannot.
        """
        self.check()
        with locks.locked(self._lock_file, timeout) as mine:
            if not mine:
                yield False
                return
            with locks.named(self._lock_file):
                yield True

    def holder(self) -> str:
        """Who holds the cell, in words; only to be asked while somebody does."""
        return locks.holder(self._lock_file)

    def prepare(self) -> None:
        """Make the folder, clear what a killed or failed run left, and write `config.yaml`.

        The caller holds the lock. From here on a `failure.json` is of the training under way.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.remove_remains(self.folder)
        (self.folder / "failure.json").unlink(missing_ok=True)
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


def _object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where it is absent, unreadable or holds anything else."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):  # RecursionError: a deep nest of brackets
        return None
    return content if isinstance(content, dict) else None


def read_results(study: Path) -> dict[Path, dict[str, Any] | None]:
    """What each `result.json` of the study holds, by the cell's folder; None as in `Cell.result`."""
    paths = sorted((study / "cells").glob("*/result.json"))
    return {path.parent: Cell.read(path) for path in paths}


def check_study(study: Path) -> None:
    """Refuse a study that cannot be written, or whose folders lead elsewhere; writes nothing.

    Raises `UserError`. A link in the place of `outputs` itself, to a larger disk, is welcome.
    """
    for path in (study.parent, study, *(study / name for name in _FOLDERS)):
        if path.is_symlink() and path != study.parent:
            raise UserError(
                f"{show(path)} is a link that may lead out of {show(study.parent)}\n"
                f"  remove it, or link {show(study.parent)} itself"
            )
        if (path.exists() or path.is_symlink()) and not path.is_dir():
            raise UserError(f"{show(path)} is not a folder\n  move it, or use another study=<name>")
    existing = next(path for path in (study, *study.absolute().parents) if path.is_dir())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"{show(existing)} cannot be written\n  run in a folder where outputs/ can be made"
        )
    read_study(study)


def _refuse_link(path: Path) -> None:
    """What is written or locked must not be what a link leads to."""
    if path.is_symlink():
        raise UserError(f"{show(path)} is a link\n  remove it")


@contextmanager
def study_locked(study: Path) -> Iterator[None]:
    """Hold the lock under which the files of the study as a whole are written; waits for it."""
    with locks.locked(study / "study.lock"):
        yield


def record_command(study: Path, entry: dict[str, Any], invocation: str | None = None) -> str:
    """Add to `study.json` what a command asks for; the same command again is recorded once, with the
    `invocation` of each time.

    A damaged file is moved aside, of which the returned line warns; else it is empty. Raises `UserError`
    as `read_study`.
    """
    study.mkdir(parents=True, exist_ok=True)
    path = study / "study.json"
    with study_locked(study):
        atomic.remove_remains(study, path.name)
        content = read_study(study)
        warning = _set_aside(path) if _damaged(path) else ""
        commands = content["commands"]
        same = [each for each in commands if _without_invocations(each) == entry]
        if not same:
            commands.append(entry)
        if invocation is not None:
            recorded = (same or [entry])[0]
            recorded["invocations"] = [*recorded.get("invocations", ()), invocation]
        if not same or invocation is not None:
            atomic.write_json(path, content)
    return warning


def _without_invocations(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "invocations"}


def _damaged(path: Path) -> bool:
    return path.exists() and _object(path) is None


def _set_aside(path: Path) -> str:
    """Move a damaged file out of the way, beside those before it; returns what to say of it."""
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged.{number}")
    path.replace(aside)
    return f"warning: {path} was damaged and is now {aside.name}: looks before it are unknown"


def read_study(study: Path) -> dict[str, Any]:
    """What `study.json` holds; empty where there is none or it is damaged.

    Raises `UserError` where it has another format, or the system does not let it be read.
    """
    path = study / "study.json"
    try:
        if path.is_file():
            path.open("rb").close()
    except OSError as error:
        raise UserError(f"{show(path)} cannot be read: {error.strerror}") from None
    content = _object(path)
    if content is not None and content.get("format") != FORMAT:
        raise UserError(
            f"study={show(study.name)} has format {show(content.get('format'))[:20]}, this program "
            f"writes {FORMAT}\n  use another study=<name>, or the version of hiddenmix that wrote it "
            "(format 1: 0.1)"
        )
    content = content or {"format": FORMAT}
    commands = content.get("commands")
    entries = commands if isinstance(commands, list) else []
    return content | {"commands": [each for each in entries if isinstance(each, dict)]}
