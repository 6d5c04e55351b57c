"""Which test images each network answers right, from the kept predictions. NumPy alone, no torch."""

import gzip
import hashlib
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hiddenmix.report.fields import finite

Right = NDArray[np.float64]
"""Share of an image's conditions that a network answers right, [N] in [0, 1]; 0 or 1 for clean images."""

CLEAN, SHIFTS = "clean", "shift"
"""What is answered, beside families of shifts (`shift/<family>`) and outside sets (`outside/<name>`)."""

CLEAN_SUBSET = "clean/subset"
"""The clean test images that shifts and attacks were measured on: with `evaluation_images` not all."""

NAME = "answers.safetensors.gz"
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
        self._published: dict[tuple[str, str | None], dict[str, Right]] | None = None

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
            self._published = _load_published(self._folder / "report" / NAME)
        # Former versions published no digest: theirs may be of other results.
        kept = self._published
        return kept.get((cell, self._start(cell)), kept.get((cell, None)))

    def _start(self, cell: str) -> str:
        """Of the digest of a cell's predictions: tells answers of other results apart."""
        return (self._digests.get(cell) or "")[:8]

    def content(self) -> bytes:
        """The summary of all cells, for a published report: `<cell>|<what>|<start of the digest of its
        predictions>` -> [N], compressed."""
        arrays: dict[str, NDArray[np.uint16]] = {}
        for cell in sorted(self._digests):
            clean, few = self.right(cell, CLEAN), self.right(cell, CLEAN_SUBSET)
            fewer = clean is not None and few is not None and len(few) < len(clean)
            for what in [*self.kinds(cell), *([CLEAN_SUBSET] if fewer else [])]:
                found = self.right(cell, what)
                if found is not None:
                    name = f"{cell}|{what}|{self._start(cell)}"
                    arrays[name] = np.round(found * _SCALE).astype(np.uint16)
        return gzip.compress(save(arrays), mtime=0)  # equal answers, equal bytes


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


_SCALE = 27720
"""Of the whole numbers in a published summary: divisible by all numbers up to 12, so that means over as
many strengths and families are exact."""


def _load_published(path: Path) -> dict[tuple[str, str | None], dict[str, Right]]:
    found: dict[tuple[str, str | None], dict[str, Right]] = {}
    try:
        for name, values in load(gzip.decompress(path.read_bytes())).items():
            cell, what, *digest = name.split("|")
            found.setdefault((cell, digest[0] if digest else None), {})[what] = values / _SCALE
    except (OSError, EOFError, SafetensorError, zlib.error):
        return {}
    for each in found.values():
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
    families: dict[str, list[Right]] = {}
    outside: dict[str, list[tuple[Right, NDArray[np.generic]]]] = {}
    for name in sorted(arrays):
        kind, _, rest = name.partition("/")
        condition, _, what = rest.rpartition("/")
        if what != "class":
            continue
        if kind == "shift" and condition in shifts:
            right = (arrays[name] == label[chosen]).astype(np.float64)
            families.setdefault(f"{SHIFTS}/{family(condition)}", []).append(right)
        elif kind == "outside":
            truth = arrays[f"outside/{condition}/label"]
            right = (arrays[name] == truth).astype(np.float64)
            outside.setdefault(condition.partition(":")[0], []).append((right, truth))
    if families:
        means = {name: np.mean(each, axis=0) for name, each in families.items()}
        found |= {SHIFTS: np.mean(list(means.values()), axis=0), **means}
    for name, parts in outside.items():
        same = all(np.array_equal(truth, parts[0][1]) for _, truth in parts)
        rights = [right for right, _ in parts]
        found[f"outside/{name}"] = np.mean(rights, axis=0) if same else np.concatenate(rights)
    return found
