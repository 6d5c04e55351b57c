"""Reads a study's result files into a table. Imports no torch.

Whatever stands in the files, reading never fails for one of them: a file that cannot be used is
left out and named in `Study.problems`.
"""

import json
import math
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hiddenmix.config import UserError, show

FORMAT = 1
"""The version of result.json that this code reads."""

_LARGEST = 64 * 1024 * 1024  # bytes; a result file of more is none of ours

COLUMNS = (
    *("cell", "setting", "baseline", "plain", "dataset", "title", "model", "layer", "mode"),
    *("alpha", "seed", "epochs", "parameters", "train_size", "test_size"),
    *("accuracy", "nll", "ece", "loss", "seconds", "images_per_second"),
    *("shift", "shift_nll", "adversarial", "calibration", "environment", "config", "command"),
)
"""Columns of `Study.cells`: result.json's fields, `test` and `train` unfolded. Accuracies are
fractions; `shift`, `shift_nll` and `adversarial` map a condition's name to a number."""


@dataclass(frozen=True)
class Failure:
    """A cell that has a failure.json and no result."""

    cell: str
    error: str
    message: str
    epoch: int | None


@dataclass(frozen=True)
class Command:
    """A command that asked for cells, with the commit of the code that ran it."""

    command: str
    commit: str | None
    dirty: bool


@dataclass(frozen=True)
class Study:
    """What a study's folder holds. `cells` has a row for each finished cell, and `COLUMNS`."""

    folder: Path
    cells: pd.DataFrame
    failures: list[Failure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Cells that were asked for or begun, and have neither a result nor a failure."""
    commands: list[Command] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """One line for each file that was left out, and why."""


class _UnusableError(Exception):
    """A file that cannot be used; its text says why."""


def read_study(folder: Path) -> Study:
    """Read every result under `folder`/cells. `UserError`: no such folder, or it has no cells/."""
    cells_folder = folder / "cells"
    try:
        if not folder.is_dir():
            raise UserError(f"{show(folder)} is not a folder\n  expected: outputs/<study>")
        if not cells_folder.is_dir():
            raise UserError(
                f"{show(folder)} is no study: it holds no folder cells/\n"
                "  expected: outputs/<study>, as python -m hiddenmix.train writes it"
            )
        folders = sorted(path for path in cells_folder.iterdir() if path.is_dir())
    except (OSError, ValueError) as error:
        raise UserError(f"{show(folder)} cannot be read: {_reason(error)}") from None
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    open_cells: list[str] = []
    places: dict[tuple[str, int], str] = {}
    for path in folders:
        name = clean(path.name)
        try:
            if (found := _read(path / "result.json")) is not None:
                row = _row(found, path.name, problems)
                first = places.setdefault((row["setting"], row["seed"]), name)
                if first == name:
                    rows.append(row)
                else:
                    problems.append(f"{name}: left out, the same setting and seed as {first}")
            elif (found := _read(path / "failure.json")) is not None:
                failures.append(_failure(found, name))
            else:
                open_cells.append(name)
        except _UnusableError as error:
            problems.append(f"{name}: left out, {error}")
            open_cells.append(name)
    asked, commands = _record(folder / "study.json", problems)
    settled = {row["cell"] for row in rows} | {failure.cell for failure in failures}
    missing = [cell for cell in dict.fromkeys([*asked, *open_cells]) if cell not in settled]
    if not commands:
        commands = _commands_of_cells(rows)
    return Study(folder, _frame(rows), failures, missing, commands, problems)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    # dtype object keeps None as None in every version of pandas; numbers get their type back.
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    whole = ("seed", "epochs", "parameters", "train_size", "test_size")
    real = ("alpha", "accuracy", "nll", "ece", "loss", "seconds", "images_per_second")
    return frame.astype({**dict.fromkeys(whole, "int64"), **dict.fromkeys(real, "float64")})


def clean(text: object, limit: int = 200) -> str:
    """`text` on one line, without control characters or lone surrogates, at most `limit` long."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(text)).strip()
    line = line.encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= limit else line[: limit - 3] + "..."


def read_curve(folder: Path) -> Iterator[dict[str, float]]:
    """The lines of a cell's metrics.jsonl: finite numbers alone, `epoch` always among them.

    A damaged line is passed over, a missing file has no lines: curves only illustrate a report.
    """
    try:
        text = _text(folder / "metrics.jsonl")
    except _UnusableError:
        return
    for line in (text or "").splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            numbers = {key: float(value) for key, value in values.items() if _finite(value)}
            if "epoch" in numbers:
                yield numbers


def _reason(error: Exception) -> str:
    return clean(getattr(error, "strerror", None) or error)


def _text(path: Path) -> str | None:
    """The text of a regular file, None where there is none; `_UnusableError` if unreadable."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _UnusableError(f"{path.name} is not a regular file")
        if status.st_size > _LARGEST:
            raise _UnusableError(f"{path.name} has {status.st_size} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path.is_symlink():
            raise _UnusableError(f"{path.name} is a link to nothing") from None
        return None
    except OSError as error:
        raise _UnusableError(f"{path.name} cannot be read: {_reason(error)}") from None
    except UnicodeDecodeError:
        raise _UnusableError(f"{path.name} is not UTF-8 text") from None


def _read(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: a deep nest of brackets
        state = "empty" if not text.strip() else "half-written or no JSON"
        raise _UnusableError(f"{path.name} is {state}") from None
    if not isinstance(found, dict):
        raise _UnusableError(f"{path.name} holds no JSON object")
    return found


def _finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def _get(found: Mapping[str, Any], key: str) -> Any:
    node: Any = found
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise _UnusableError(f"result.json lacks {key}")
        node = node[part]
    return node


def _string(found: Mapping[str, Any], key: str, optional: bool = False) -> str | None:
    value = found.get(key) if optional else _get(found, key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value:
        raise _UnusableError(f"result.json: {key}={show(value)} is not a text")
    return clean(value)


def _number(found: Mapping[str, Any], key: str, highest: float = math.inf) -> float:
    value = _get(found, key)
    if not _finite(value) or not (-math.inf if key == "train.loss" else 0) <= value <= highest:
        raise _UnusableError(f"result.json: {key}={show(value)} is not an allowed number")
    return float(value)


def _whole(found: Mapping[str, Any], key: str) -> int:
    value = _get(found, key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise _UnusableError(f"result.json: {key}={show(value)} is not a whole number")
    return value


def _row(found: dict[str, Any], folder: str, problems: list[str]) -> dict[str, Any]:
    version = found.get("format")
    if version != FORMAT or isinstance(version, bool):
        raise _UnusableError(f"result.json has format {show(version)}; this version reads {FORMAT}")
    if found.get("status") != "done":
        raise _UnusableError(f"result.json has status {show(found.get('status'))}, not done")
    if found.get("cell") != folder:
        raise _UnusableError(f"result.json belongs to the cell {show(found.get('cell'))}")
    alpha = found.get("alpha")
    if alpha is not None and (not _finite(alpha) or alpha <= 0):
        raise _UnusableError(f"result.json: alpha={show(alpha)} is not a positive number")
    row = {
        **{key: _string(found, key) for key in ("cell", "setting", "dataset", "model", "layer")},
        **{key: _string(found, key, True) for key in ("baseline", "plain", "mode", "command")},
        "title": _string(found, "title", True) or _string(found, "dataset"),
        "alpha": None if alpha is None else float(alpha),
        **{key: _whole(found, key) for key in ("seed", "epochs", "parameters")},
        **{key: _whole(found, key) for key in ("train_size", "test_size")},
        "accuracy": _number(found, "test.accuracy", 1),
        "nll": _number(found, "test.nll"),
        "ece": _number(found, "test.ece", 1),
        **{key: _number(found, f"train.{key}") for key in ("loss", "seconds", "images_per_second")},
        "shift": _conditions(found.get("shift"), "accuracy", 1, folder, problems),
        "shift_nll": _conditions(found.get("shift"), "nll", math.inf, folder, problems),
        "adversarial": _conditions(found.get("adversarial"), "accuracy", 1, folder, problems),
        "calibration": _bins(found.get("calibration"), folder, problems),
        "environment": _mapping(found.get("environment")),
        "config": _mapping(found.get("config")),
    }
    assert set(row) == set(COLUMNS)
    return row


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _conditions(
    found: object, key: str, highest: float, where: str, problems: list[str]
) -> dict[str, float]:
    """Condition -> number, `key` naming the number where there are several for a condition."""
    numbers: dict[str, float] = {}
    if found is not None and not isinstance(found, dict):
        problems.append(f"{where}: shift or adversarial is no JSON object and was left out")
    for name, value in _mapping(found).items():
        number: Any = _mapping(value).get(key)
        if _finite(number) and 0 <= number <= highest:
            numbers[clean(name)] = float(number)
        elif number is not None or key != "nll":
            problems.append(f"{where}: {clean(name)}={show(number)} was left out, a wrong number")
    return numbers


def _bins(found: object, where: str, problems: list[str]) -> dict[str, list[float]] | None:
    """The reliability bins as three lists of one length, or None. Empty bins may hold null."""
    if found is None:
        return None
    lists: list[Any] = [_mapping(found).get(key) for key in ("confidence", "accuracy", "count")]
    if (
        all(isinstance(values, list) for values in lists)
        and len({len(part) for part in lists}) == 1
    ):
        numbers = [[float(value) if _finite(value) else 0.0 for value in part] for part in lists]
        if min(map(min, numbers), default=0) >= 0:
            return dict(zip(("confidence", "accuracy", "count"), numbers, strict=True))
    problems.append(f"{where}: calibration was left out, not three lists of one length")
    return None


def _failure(found: dict[str, Any], name: str) -> Failure:
    epoch = found.get("epoch")
    return Failure(
        cell=name,
        error=clean(found.get("error", "unknown error")),
        message=clean(found.get("message", "")),
        epoch=epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None,
    )


def _record(path: Path, problems: list[str]) -> tuple[list[str], list[Command]]:
    """The cells that were asked for, and the commands that did."""
    try:
        entries = (_read(path) or {"commands": []}).get("commands")
    except _UnusableError as error:
        problems.append(f"left out, {error}: cells that were never begun are not named")
        return [], []
    if not isinstance(entries, list):
        problems.append("study.json lacks its list of commands: unbegun cells are not named")
        return [], []
    asked: list[str] = []
    commands: list[Command] = []
    for entry in map(_mapping, entries):
        cells = entry.get("cells")
        if isinstance(cells, list):
            asked += [clean(cell) for cell in cells if isinstance(cell, str)]
        if isinstance(entry.get("command"), str):
            commands.append(_command(entry["command"], entry))
    return asked, list(dict.fromkeys(commands))


def _command(text: str, about: Mapping[str, Any]) -> Command:
    commit = about.get("commit")
    return Command(
        command=clean(text, 10_000),
        commit=clean(commit) if isinstance(commit, str) else None,
        dirty=about.get("dirty") is True,
    )


def _commands_of_cells(rows: list[dict[str, Any]]) -> list[Command]:
    found = [_command(row["command"], row["environment"]) for row in rows if row["command"]]
    return list(dict.fromkeys(found))
