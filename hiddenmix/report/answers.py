"""Which test images each network answers right, from the kept predictions. No torch."""

import hashlib
import lzma
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hiddenmix.report.fields import finite

Right = NDArray[np.float64]
"""Share of an image's conditions that a network answers right, [N] in [0, 1]; 0 or 1 for clean images."""

_Number = TypeVar("_Number", float, Right)

CLEAN, SHIFTS = "clean", "shift"
"""What is answered, beside families of shifts (`shift/<family>`) and outside sets (`outside/<name>`)."""

CLEAN_SUBSET = "clean/subset"
"""The clean test images that shifts and attacks were measured on: with `evaluation_images` not all."""

NAME = "answers.safetensors.xz"
"""In a report's folder: what is needed of all predictions to compute its statistics again."""


class Answers:
    """The answers of a study's networks, each file read once.

    From `cells/<cell>/predictions.safetensors` where they fit their result, or else from the summary
    that a published report carries.
    """

    def __init__(self, study: Path, cells: pd.DataFrame) -> None:
        self._folder = study
        self._digests: dict[str, str | None] = dict(
            zip(cells["cell"], cells["predictions"], strict=True)
        )
        self._comparable = {row["cell"]: _comparable(row) for _, row in cells.iterrows()}
        self._shifts = {row["cell"]: {*row["shift"]} for _, row in cells.iterrows()}
        self._read: dict[str, dict[str, Right] | None] = {}
        self._published: _Kept | None = None

    def right(self, cell: str, what: str) -> Right | None:
        """[N] of a cell under `what`; None where its predictions lack or were never made, and where
        the study left those results out (of other images than most were measured on)."""
        if cell not in self._read:
            found = self._cell(cell)
            kept = self._comparable[cell]
            self._read[cell] = found and {key: found[key] for key in found if key in kept}
        found = self._read[cell]
        return None if found is None else found.get(what)

    def kinds(self, cell: str) -> list[str]:
        """What there are answers of, but for single families and `CLEAN_SUBSET`: `clean`, `shift`,
        `outside/<name>` ..."""
        self.right(cell, CLEAN)
        parts = (CLEAN_SUBSET, f"{SHIFTS}/")
        return [name for name in self._read[cell] or () if not name.startswith(parts)]

    def _cell(self, cell: str) -> dict[str, Right] | None:
        path = self._folder / "cells" / cell / "predictions.safetensors"
        try:
            content = path.read_bytes()
            if hashlib.blake2b(content, digest_size=16).hexdigest() == self._digests.get(cell):
                return summary(load(content), self._shifts.get(cell, ()))
        except (OSError, SafetensorError, KeyError, ValueError):
            pass  # absent or damaged: the report's head counts such cells
        if self._published is None:
            places = (self._folder / "report" / NAME, self._folder / NAME)
            self._published = next(filter(None, map(_load_published, places)), {})
        return self._published.get((cell, self._start(cell)))

    def _start(self, cell: str) -> str:
        """Of the digest of a cell's predictions: tells answers of other results apart."""
        return (self._digests.get(cell) or "")[:8]

    def content(self) -> bytes:
        """The summary of all cells, for a published report, compressed: `<what>|<list>` -> [N, cells], in
        which answers to one image, which are much alike, stand beside each other; `cells|<list>` -> the
        names of these cells as bytes, a line `<cell>|<start of the digest of its predictions>` each. Of
        shifts each family: their mean follows."""
        columns: dict[tuple[str, int], dict[str, NDArray[np.uint16]]] = {}
        for cell in sorted(self._digests):
            self.right(cell, CLEAN)
            read = self._read[cell] or {}
            follows = {SHIFTS} if any(what.startswith(f"{SHIFTS}/") for what in read) else set()
            if len(read.get(CLEAN_SUBSET, ())) == len(read.get(CLEAN, ())):
                follows.add(CLEAN_SUBSET)
            for what in read.keys() - follows:
                own = columns.setdefault((what, len(read[what])), {})
                own[f"{cell}|{self._start(cell)}"] = np.round(read[what] * _SCALE).astype(np.uint16)
        arrays: dict[str, NDArray[Any]] = {}
        lists: dict[str, int] = {}
        for (what, _), parts in sorted(columns.items()):
            number = lists.setdefault("\n".join(parts), len(lists))
            arrays[f"{what}|{number}"] = np.stack([*parts.values()], axis=1)
        for names, number in lists.items():
            arrays[f"{_CELLS}|{number}"] = np.frombuffer(names.encode(), np.uint8)
        return lzma.compress(save(arrays), preset=9)  # equal answers, equal bytes


def _comparable(row: pd.Series) -> set[str]:
    """What of a cell's answers `Study.cells` still holds the accuracies of."""
    sets = {f"outside/{condition.partition(':')[0]}" for condition in row["outside"]}
    families = {f"{SHIFTS}/{family(condition)}" for condition in row["shift"]}
    deformed = [CLEAN_SUBSET] if row["shift"] or row["adversarial"] else []
    return {CLEAN, *deformed, *sets, *families, *([SHIFTS] if families else [])}


def deformed_images(cell: pd.Series) -> int:
    """How many test images the shifts and attacks of a cell (of `Study.cells`) were measured on."""
    limit, size = cell["evaluated"].get("images"), int(cell["test_size"])
    return min(size, int(limit)) if finite(limit) else size


def family(condition: str) -> str:
    """The kind of a shift: `rotation` of `rotation_20`."""
    return condition.rpartition("_")[0]


def mean(values: Collection[_Number]) -> _Number:
    """Of one number or array or more."""
    total, *others = values
    for each in others:
        total = total + each
    return total / len(values)


def family_means(found: Mapping[str, _Number]) -> dict[str, _Number]:
    """Family -> the mean over its conditions, so that in a mean over families each counts once, however
    many strengths it has."""
    strengths: dict[str, list[_Number]] = {}
    for condition, value in found.items():
        strengths.setdefault(family(condition), []).append(value)
    return {name: mean(values) for name, values in strengths.items()}


_SCALE = 27720
"""Of the whole numbers in a published summary: divisible by all numbers up to 12, so that means over as
many strengths and families are exact."""


_CELLS = "cells"

_Kept = dict[tuple[str, str], dict[str, Right]]
"""(cell, start of its predictions' digest) -> its answers."""


def _load_published(path: Path) -> _Kept:
    found: _Kept = {}
    try:
        arrays = load(lzma.decompress(path.read_bytes()))
        for name, values in arrays.items():
            what, _, number = name.rpartition("|")
            if what == _CELLS:
                continue
            cells = arrays[f"{_CELLS}|{number}"].tobytes().decode().split("\n")
            for cell, column in zip(cells, values.T, strict=True):
                identity, _, start = cell.partition("|")
                found.setdefault((identity, start), {})[what] = column / _SCALE
    except (OSError, EOFError, SafetensorError, lzma.LZMAError, KeyError, ValueError):
        return {}
    for each in found.values():
        families = sorted(what for what in each if what.startswith(f"{SHIFTS}/"))
        if families and SHIFTS not in each:
            each[SHIFTS] = mean([each[what] for what in families])
        if CLEAN in each and SHIFTS in each and len(each[CLEAN]) == len(each[SHIFTS]):
            each.setdefault(CLEAN_SUBSET, each[CLEAN])  # kept where the images were fewer alone
    return found


def summary(arrays: Mapping[str, NDArray[np.generic]], shifts: Collection[str]) -> dict[str, Right]:
    """From the tensors of `predictions.safetensors`: right answers by image, families counted once.

    Of the shifts those named in `shifts` alone, which the study's networks have in common.
    `shift/<family>` is the mean over a family's strengths, `shift` the mean over families, and
    `clean/subset` the clean images that they deform, in the same order. An outside set
    with several conditions of the same images (CIFAR-10-C) is the mean over them.
    """
    label = arrays["label"]
    found = {CLEAN: (arrays["clean/class"] == label).astype(np.float64)}
    chosen = arrays["subset"].astype(np.int64) if "subset" in arrays else slice(None)
    found[CLEAN_SUBSET] = found[CLEAN][chosen]
    shifted: dict[str, Right] = {}
    outside: dict[str, list[tuple[Right, NDArray[np.generic]]]] = {}
    for name in sorted(arrays):
        kind, _, rest = name.partition("/")
        condition, _, what = rest.rpartition("/")
        if what != "class":
            continue
        if kind == "shift" and condition in shifts:
            shifted[condition] = (arrays[name] == label[chosen]).astype(np.float64)
        elif kind == "outside":
            truth = arrays[f"outside/{condition}/label"]
            right = (arrays[name] == truth).astype(np.float64)
            outside.setdefault(condition.partition(":")[0], []).append((right, truth))
    if means := family_means(shifted):
        found[SHIFTS] = mean(means.values())
        found |= {f"{SHIFTS}/{name}": right for name, right in means.items()}
    for name, parts in outside.items():
        same = all(np.array_equal(truth, parts[0][1]) for _, truth in parts)
        rights = [right for right, _ in parts]
        found[f"outside/{name}"] = np.mean(rights, axis=0) if same else np.concatenate(rights)
    return found
