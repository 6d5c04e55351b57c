"""Intervals, paired tests and Holm's correction. NumPy and SciPy alone.

Values carry whatever unit the caller gives them (the report: accuracies as fractions in [0, 1]).
A comparison takes two mappings from seed to value, so that values of different seeds can never be
paired by their position in a list.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # not scipy.stats, which is slow to import

EXACT = 20
"""Up to so many pairs the sign-flip test enumerates all 2**n sign patterns."""

DRAWS = 100_000
"""Random sign patterns beyond `EXACT` pairs."""

# Differences of float64 numbers that are equal on paper differ by rounding, of relative size 1e-16.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean over repeats with the ends of its confidence interval (None at n = 1)."""

    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedGain:
    """Mean of the paired differences, treated minus baseline; all but n and mean None at n = 1."""

    n: int
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    """Two-sided p of the paired t-test."""
    p_permutation: float | None
    """Two-sided p of the sign-flip permutation test; at n pairs it cannot fall below 2**(1 - n)."""


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean and two-sided Student-t confidence interval, in the unit of `values`.

    The ends are None for a single value. Equal values give an interval of width 0, which says that
    there was no spread to measure, not that the mean is certain. ValueError: no values, a value
    that is not finite, or a confidence outside (0, 1). Source: Student (1908).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence must lie between 0 and 1, not {confidence}")
    sample = np.fromiter(values, dtype=np.float64)
    n = len(sample)
    if n == 0:
        raise ValueError("a mean needs at least one value")
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite numbers: {sample.tolist()}")
    mean = float(sample.mean())
    if n == 1:
        return Interval(n, mean, None, None)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(n, mean, mean - half, mean + half)


def paired_gain(treated: Mapping[int, float], baseline: Mapping[int, float]) -> PairedGain:
    """Gain of `treated` over `baseline`, paired by seed, in their unit; above 0 where it is larger.

    Both map a seed to its value. The 95 % interval and `p_value` are those of the paired t-test,
    `p_permutation` that of `sign_flip_p`; all are None for a single pair.

    Without spread among the differences the t statistic is undefined. Then: all differences 0, both
    p are 1. One constant difference other than 0 (common where accuracies are multiples of
    1 / test size): the interval collapses to a point, and `p_value` is the sign-flip p, 2**(1 - n),
    since the t-test's limit of 0 would claim certainty from a coarse measure.

    ValueError: seeds that only one side has (they are named), no seeds, a value that is not finite.
    """
    alone = sorted(set(treated) ^ set(baseline))
    if alone:
        raise ValueError(f"seeds without a partner: {', '.join(map(str, alone))}")
    seeds = sorted(treated)
    differences = np.array([treated[seed] - baseline[seed] for seed in seeds], dtype=np.float64)
    interval = mean_interval(differences)
    if interval.n == 1:
        return PairedGain(1, interval.mean, None, None, None, None)
    scale = max(max(abs(treated[seed]), abs(baseline[seed])) for seed in seeds)
    differences[np.abs(differences) <= _ROUNDING * scale] = 0.0
    p_permutation = sign_flip_p(differences)
    deviation = float(differences.std(ddof=1))
    if deviation <= _ROUNDING * scale:
        mean = float(differences.mean())
        return PairedGain(interval.n, mean, mean, mean, p_permutation, p_permutation)
    t = interval.mean / (deviation / math.sqrt(interval.n))
    p_value = 2 * float(stdtr(interval.n - 1, -abs(t)))
    return PairedGain(
        interval.n, interval.mean, interval.low, interval.high, p_value, p_permutation
    )


def sign_flip_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of the hypothesis that the paired differences are symmetric about 0.

    The share of sign patterns whose |sum| reaches that of the data (Fisher 1935, The Design of
    Experiments, section 21). Exact up to `EXACT` pairs; beyond, `DRAWS` random patterns from a
    fixed seed, the data counted among them (Phipson & Smyth 2010), so that p is never 0.
    ValueError: no differences, or one that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("the sign-flip test needs finite differences")
    # Patterns that tie with the data must count, whatever the order of the summation.
    reached = abs(float(values.sum())) - _ROUNDING * float(np.abs(values).sum())
    if values.size <= EXACT:
        # A pattern and its negative give the same |sum|: the first sign can stay.
        sums = values[:1]
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= reached))
    generator = np.random.default_rng(0)
    hits = 0
    for start in range(0, DRAWS, 1000):
        signs = generator.choice((-1.0, 1.0), size=(min(1000, DRAWS - start), values.size))
        hits += int(np.sum(np.abs(signs @ values) >= reached))
    return (hits + 1) / (DRAWS + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction of a family of p-values, in the order given.

    None (no test was possible) stays None and does not count in the family. Source: Holm (1979),
    A simple sequentially rejective multiple test procedure. ValueError: a p outside [0, 1].
    """
    tested = [(p, place) for place, p in enumerate(p_values) if p is not None]
    if any(not 0 <= p <= 1 for p, _ in tested):
        raise ValueError(f"p-values must lie in [0, 1]: {list(p_values)}")
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(sorted(tested)):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = largest
    return corrected
