"""The results of all networks in one file, for a published report: what `read_study` reads in place of
cells/. What a study weighs otherwise, weights, curves and checkpoints, stays behind."""

import json
import lzma
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hiddenmix.config import UserError, show
from hiddenmix.report.fields import UnusableError, mapping, read_object
from hiddenmix.terminal import study_folder

NAME = "results.jsonl.xz"
"""In a report's folder: a line for each cell, `{"cell": name, "result": result.json}`, or "failure"."""

_FILES = ("result", "failure")
_PLACES = {"dataset": ("root", "train", "test", "outside"), "model": ("weights",)}
"""Keys of the configuration that say where data and weights lie: digests say what they are."""

Files = dict[str, dict[str, Any]]
"""What a cell's `result` or `failure` .json holds; neither: it is unfinished."""


Read = Callable[[str], dict[str, Any] | None]
"""`result` or `failure` -> what that file of a cell holds."""


def stored(folder: Path) -> Iterator[tuple[str, Read]]:
    """Each cell's name, and how its files are read, of a study or a published report. `UserError`: the
    folder is neither. OSError."""
    if (folder / "cells").is_dir():
        for path in sorted(path for path in (folder / "cells").iterdir() if path.is_dir()):
            yield path.name, partial(_file, path)
    elif (folder / NAME).is_file():
        for cell, files in unpacked(folder / NAME):
            yield cell, files.get
    else:
        raise UserError(
            f"{show(folder)} is no study: it holds no folder cells/{study_folder(folder)}\n"
            "  expected: outputs/<study>, as python -m hiddenmix.train writes it, or a published report"
        )


def _file(cell: Path, kind: str) -> dict[str, Any] | None:
    return read_object(cell / f"{kind}.json")


def packed(study: Path) -> bytes:
    """The file's content, of a study or of a report that was published before. Without places on the
    machine, and without commands where study.json holds them; NLL under shifts and calibration have
    the six digits of cells.csv, all else is exact. OSError."""
    if not (study / "cells").is_dir():
        return (study / NAME).read_bytes()
    commands = not (study / "study.json").is_file()
    lines = []
    for folder in sorted(path for path in (study / "cells").iterdir() if path.is_dir()):
        line: dict[str, Any] = {"cell": folder.name}
        for kind in _FILES:
            try:
                found = read_object(folder / f"{kind}.json")
            except UnusableError:
                continue  # the report names it
            if found is not None:
                line[kind] = _light(found, commands)
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    return lzma.compress("".join(lines).encode(), preset=9)  # equal results, equal bytes


def unpacked(path: Path) -> Iterator[tuple[str, Files]]:
    """Each cell's name and files. `UserError`: the file is damaged. OSError."""
    try:
        for line in lzma.decompress(path.read_bytes()).decode().splitlines():
            found = json.loads(line)
            files = {kind: found[kind] for kind in _FILES if mapping(found.get(kind))}
            yield str(found["cell"]), files
    except (EOFError, lzma.LZMAError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{show(path)} is damaged: {show(error)}\n  copy it again") from None


def _light(found: dict[str, Any], commands: bool) -> dict[str, Any]:
    light = {key: value for key, value in found.items() if commands or key != "command"}
    if isinstance(config := light.get("config"), dict):
        light["config"] = {
            key: value | {name: None for name in _PLACES[key] if name in value}
            if key in _PLACES and isinstance(value, dict)
            else value
            for key, value in config.items()
        }
    for key in ("shift", "adversarial", "outside"):
        if isinstance(conditions := light.get(key), dict):
            light[key] = {
                name: {
                    what: _rounded(value) if what == "nll" else value
                    for what, value in each.items()
                }
                if isinstance(each, dict)
                else each
                for name, each in conditions.items()
            }
    if isinstance(bins := light.get("calibration"), dict):
        light["calibration"] = {key: _rounded(value) for key, value in bins.items()}
    return light


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
