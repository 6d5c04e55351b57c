"""Whether the settings that one answer averages over gain alike: of unlike gains it is no setting's.

Each setting is tested against the mean of the others, seed by seed and image by image, as the answer
itself is; the smallest p stands for all. It is the interaction of the answer's effect with the settings
(Cox 1984, Interaction).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiddenmix.report.statistics import holm
from hiddenmix.report.two_way import two_way


@dataclass(frozen=True)
class Odd:
    """The setting that differs most surely from the others."""

    setting: str
    others: str
    """What it is compared with: the other one by name, or `the mean of the other <number>`."""
    mean: float
    """Its gain minus theirs, a fraction."""
    low: float
    """Of the 95 % interval for new seeds and new test images."""
    high: float
    tests: int
    p_holm: float
    """Corrected over all settings that were tested."""


def odd_one(differences: Mapping[str, NDArray[np.float64]]) -> Odd | None:
    """Of settings by name, each with its differences [n, N] in being right, values in [-1, 1].

    None where there are fewer than two, where their seeds or images are not as many, or where none can be
    tested. Of two settings there is one test: the one with the larger gain against the other.
    """
    names = list(differences)
    if len(names) < 2 or len({each.shape for each in differences.values()}) != 1:
        return None
    total = np.sum(list(differences.values()), axis=0)
    if len(names) == 2:
        names = [max(names, key=lambda name: float(differences[name].mean()))]
    rest = len(differences) - 1
    # A difference of differences lies in [-2, 2], and `two_way` takes what lies in [-1, 1].
    found = [
        two_way((differences[name] - (total - differences[name]) / rest) / 2) for name in names
    ]
    corrected = holm([gain.p_value for gain in found])
    odd: Odd | None = None
    for name, gain, p in zip(names, found, corrected, strict=True):
        if p is None or gain.low is None or gain.high is None or (odd and odd.p_holm <= p):
            continue
        beside = [each for each in differences if each != name]
        others = beside[0] if rest == 1 else f"the mean of the other {rest}"
        odd = Odd(name, others, 2 * gain.mean, 2 * gain.low, 2 * gain.high, len(names), p)
    return odd
