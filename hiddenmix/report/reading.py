"""Reads a study's result files into a table. Imports no torch.

Whatever stands in the files, reading never fails for one of them: a file that cannot be used is
left out and named in `Study.problems`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hiddenmix.config import UserError, show
from hiddenmix.report.fields import (
    COLUMNS,
    UnusableError,
    cell_row,
    finite,
    mapping,
    read_object,
    read_text,
    reason,
)
from hiddenmix.report.published_results import stored
from hiddenmix.report.unlike_cells import keep_what_compares, tell_versions_apart
from hiddenmix.terminal import clean, study_folder


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
class PastLook:
    """A verdict that was drawn: on which question, when, at how many seeds, and what it said."""

    question: str
    at: str
    n: int
    word: str
    planned: bool
    """Whether it was one of the looks of `repeats=auto`, which its bounds allow for."""

    layer: str = ""
    """What it was about; empty in a study.json of earlier versions, as the next."""

    settings: tuple[str, ...] = ()
    """The settings of K and α that were averaged."""

    compared: tuple[str, ...] = ()
    """The keys of the settings at `layer`."""

    between: bool = False
    """Whether it was none, as it lay between the planned looks of `repeats=auto`."""


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
    versions: dict[str, list[str]] = field(default_factory=dict)
    """Where a data set changed between networks: the title of each version, and its cells."""
    looks: list[PastLook] = field(default_factory=list)
    """The verdicts that were drawn before, oldest first."""
    margin: float = 0.005
    """What counts as equal, a fraction: the configuration's `margin`, which is in points."""


def read_study(folder: Path) -> Study:
    """Read every result under `folder`/cells, or of a published report. `UserError`: no such folder, or
    it is neither."""
    try:
        if not folder.is_dir():
            raise UserError(
                f"{show(folder)} is not a folder{study_folder(folder)}\n  expected: outputs/<study>"
            )
        found_cells = list(stored(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"{show(folder)} cannot be read: {reason(error)}") from None
    problems: list[str] = []
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    open_cells: list[str] = []
    places: dict[tuple[str, int], str] = {}
    for cell, read in found_cells:
        name = clean(cell)
        try:
            if (found := read("result")) is not None:
                row = cell_row(found, cell, problems)
                first = places.setdefault((row["setting"], row["seed"]), name)
                if first == name:
                    rows.append(row)
                else:
                    problems.append(f"{name}: left out, the same setting and seed as {first}")
            elif (found := read("failure")) is not None:
                failures.append(_failure(found, name))
            else:
                open_cells.append(name)
        except UnusableError as error:
            problems.append(f"{name}: left out, {error}")
            open_cells.append(name)
    asked, commands, looks = _record(folder / "study.json", problems)
    problems += [
        f"{clean(path.name)} is what was damaged of study.json: looks before it are unknown"
        for path in sorted(folder.glob("study.json.damaged*"))
    ]
    settled = {row["cell"] for row in rows} | {failure.cell for failure in failures}
    missing = [cell for cell in dict.fromkeys([*asked, *open_cells]) if cell not in settled]
    if not commands:
        commands = _commands_of_cells(rows)
    versions = tell_versions_apart(rows)
    keep_what_compares(rows, problems)
    margin = _margin(rows, problems)
    return Study(
        folder, _frame(rows), failures, missing, commands, problems, versions, looks, margin
    )


def _margin(rows: list[dict[str, Any]], problems: list[str]) -> float:
    """What counts as equal, a fraction: what most cells were asked for with, of as many the smallest."""
    margins = Counter(float(row["config"].get("margin", 0.5)) for row in rows)
    if not margins:
        return 0.005
    chosen = min(margins, key=lambda each: (-margins[each], each))
    if len(margins) > 1:
        others = ", ".join(f"{each:g} ({margins[each]})" for each in sorted(margins))
        problems.append(
            f"networks differ in margin: {others}; verdicts take {chosen:g}, that of most, and "
            "python -m hiddenmix.report --margin another"
        )
    return chosen / 100


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    # dtype object keeps None as None in every version of pandas; numbers get their type back.
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    whole = ("seed", "epochs", "parameters", "train_size", "test_size")
    real = (
        "alpha",
        "accuracy",
        "balanced_accuracy",
        "validation_accuracy",
        "validation_nll",
        "nll",
        "ece",
        "loss",
        "seconds",
        "images_per_second",
    )
    return frame.astype({**dict.fromkeys(whole, "int64"), **dict.fromkeys(real, "float64")})


def read_curve(folder: Path) -> Iterator[dict[str, float]]:
    """The lines of a cell's metrics.jsonl: finite numbers alone, `epoch` always among them.

    A damaged line is passed over, a missing file has no lines: curves only illustrate a report.
    """
    try:
        text = read_text(folder / "metrics.jsonl")
    except UnusableError:
        return
    for line in (text or "").splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            numbers = {key: float(value) for key, value in values.items() if finite(value)}
            if "epoch" in numbers:
                yield numbers


def _failure(found: dict[str, Any], name: str) -> Failure:
    epoch = found.get("epoch")
    return Failure(
        cell=name,
        error=clean(found.get("error", "unknown error")),
        message=clean(found.get("message", "")),
        epoch=epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None,
    )


def _record(path: Path, problems: list[str]) -> tuple[list[str], list[Command], list[PastLook]]:
    """The cells that were asked for, the commands that did, and the verdicts that were drawn."""
    try:
        content = read_object(path) or {"commands": []}
        entries = content.get("commands")
    except UnusableError as error:
        problems.append(
            f"left out, {error}: cells that were never begun are not named, and looks before are unknown"
        )
        return [], [], []
    if not isinstance(entries, list):
        problems.append("study.json lacks its list of commands: unbegun cells are not named")
        return [], [], []
    asked: list[str] = []
    commands: list[Command] = []
    for entry in map(mapping, entries):
        cells = entry.get("cells")
        if isinstance(cells, list):
            asked += [clean(cell) for cell in cells if isinstance(cell, str)]
        if isinstance(entry.get("command"), str):
            commands.append(_command(entry["command"], entry))
    found = content.get("looks")
    looks = [
        PastLook(
            question=clean(each["question"]),
            at=clean(each.get("at", "")),
            n=int(each["n"]),
            word=clean(each.get("word", "")),
            planned=each.get("planned") is True,
            layer=clean(each.get("layer") or ""),
            settings=_texts(each.get("settings")),
            compared=_texts(each.get("compared")),
            between=each.get("between") is True,
        )
        for each in map(mapping, found if isinstance(found, list) else [])
        if isinstance(each.get("question"), str) and finite(each.get("n"))
    ]
    return asked, list(dict.fromkeys(commands)), looks


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(map(clean, found)) if isinstance(found, list) else ()


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
