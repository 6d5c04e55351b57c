"""Two sides of a comparison, met by seed and test image: the mean difference over pairs of settings."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiddenmix.report.answers import CLEAN, SHIFTS, Answers, family_means, mean
from hiddenmix.report.two_way import Gain, seeds_alone, two_way

Pair = tuple[str, str]
"""Keys of two settings: the treated one and what it is compared with."""


@dataclass(frozen=True)
class Compared:
    """The mean difference over pairs of settings, paired by seed and test image."""

    gain: Gain | None
    left_out: tuple[int, ...]
    without_predictions: int
    by_seed: Mapping[int, float]
    """Seed -> mean difference."""
    matrix: NDArray[np.float64] | None
    """[n, N], where all predictions are there."""


def compare(
    pairs: Sequence[Pair],
    what: str,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
    among: Collection[int] | None = None,
) -> Compared:
    """The mean of treated minus baseline over `pairs`, within each seed that all of them have, of those
    `among` if that is given. Nothing where a setting has no cell.

    Where predictions are missing, seeds alone are a factor: of clean accuracy and of that under shifts,
    which the results hold.
    """
    settings = {setting for pair in pairs for setting in pair}
    if not settings or not settings <= by_setting.keys():
        return Compared(None, (), 0, {}, None)
    by_seed, seeds, left_out = _paired_seeds({key: by_setting[key] for key in settings})
    seeds = [seed for seed in seeds if among is None or seed in among]
    if not seeds:
        return Compared(None, left_out, 0, {}, None)
    rights = {
        (key, seed): answers.right(by_seed[key][seed]["cell"], what)
        for key in settings
        for seed in seeds
    }
    sizes = Counter(len(right) for right in rights.values() if right is not None)
    size = max(sizes, key=lambda each: sizes[each], default=0)
    missing = len(rights) - sizes[size]  # of another number of images: damaged
    if missing:
        differences = _from_results(pairs, by_seed, seeds, what)
        gain = seeds_alone(differences.values()) if differences else None
        return Compared(gain, left_out, missing, differences, None)
    matrix = np.zeros((len(seeds), size))
    for treated, baseline in pairs:
        for place, seed in enumerate(seeds):
            ours, theirs = rights[treated, seed], rights[baseline, seed]
            assert ours is not None
            assert theirs is not None
            matrix[place] += (ours - theirs) / len(pairs)
    means = dict(zip(seeds, matrix.mean(axis=1).tolist(), strict=True))
    return Compared(two_way(matrix), left_out, 0, means, matrix)


def _paired_seeds(
    cells: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, dict[int, pd.Series]], list[int], tuple[int, ...]]:
    """Of each setting the cells by seed, the seeds that all settings have, and the others."""
    by_seed = {
        key: {
            int(seed): cell for seed, (_, cell) in zip(found["seed"], found.iterrows(), strict=True)
        }
        for key, found in cells.items()
    }
    seeds = set.intersection(*(set(found) for found in by_seed.values()))
    everywhere = set().union(*by_seed.values())
    return by_seed, sorted(seeds), tuple(sorted(everywhere - seeds))


def _from_results(
    pairs: Sequence[Pair],
    by_seed: Mapping[str, Mapping[int, pd.Series]],
    seeds: Sequence[int],
    what: str,
) -> dict[int, float]:
    """Seed -> mean difference in accuracy; none where the results do not hold all of it."""
    found: dict[int, float] = {}
    for seed in seeds:
        differences = [
            accuracy(by_seed[a][seed], what) - accuracy(by_seed[b][seed], what) for a, b in pairs
        ]
        found[seed] = float(np.mean(differences))
    return found if all(map(math.isfinite, found.values())) else {}


def accuracy(cell: pd.Series, what: str) -> float:
    """The accuracy that a result holds of clean images, of a family of shifts (the mean over strengths)
    or of all of them (the mean over families); NaN where it holds none."""
    if what == CLEAN:
        return float(cell["accuracy"])
    means: dict[str, float] = family_means(cell["shift"])
    if what == SHIFTS:
        return mean(means.values()) if means else math.nan
    return means.get(what.removeprefix(f"{SHIFTS}/"), math.nan)
