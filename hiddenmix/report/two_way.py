"""Seeds and test images as two crossed random factors: the interval of a gain for new ones of both.

d[s, i] is the difference in being right, treated minus baseline, of seed s on test image i:

    d[s, i] = gain + seed[s] + image[i] + rest[s, i]

Seeds and images are both samples, each seed meets each image once, and the three effects have mean
0 and variances V_s, V_i, V_r: subjects and items in psychology (Clark 1973, The language-as-fixed-
effect fallacy), crossed random effects in lme4 (Baayen, Davidson & Bates 2008), readers and cases
in radiology (Obuchowski & Rockette 1995). The mean squares of the two-way layout estimate them.
docs/statistics.md has the formulas, a worked example, and the simulation behind the choices here.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit  # not scipy.stats, which is slow to import

from hiddenmix.report.statistics import paired_gain

# Means of float64 numbers that are equal on paper differ by rounding, of relative size 1e-16.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class MeanSquares:
    """Of a two-way layout without replication, in the square of the unit of d."""

    seeds: float
    """n - 1 degrees of freedom; expected: V_r + N V_s."""
    images: float
    """N - 1 degrees of freedom; expected: V_r + n V_i."""
    rest: float
    """(n - 1)(N - 1) degrees of freedom; expected: V_r."""


@dataclass(frozen=True)
class Gain:
    """A gain and how sure it is, in the unit of d (fractions); None is what was not estimated."""

    mean: float
    seeds: int
    images: int
    """0 where the predictions are missing (`seeds_alone`)."""
    low: float | None = None
    """Of the 95 % interval for new seeds and new test images: the headline."""
    high: float | None = None
    low90: float | None = None
    """Of the 90 % interval for new seeds and new test images: the two one-sided tests."""
    high90: float | None = None
    p_value: float | None = None
    """Two-sided p of the headline: below 0.05 where the 95 % interval excludes 0."""
    degrees: float | None = None
    """Satterthwaite's degrees of freedom of `error`."""
    seed_low: float | None = None
    """Of the 95 % interval for new seeds and this test set (Student's t over seeds)."""
    seed_high: float | None = None
    p_seeds: float | None = None
    """Two-sided p of the t-test over seeds."""
    p_flip: float | None = None
    """Two-sided p of the sign-flip test over seeds; at n seeds never below 2**(1 - n)."""
    variance_seeds: float | None = None
    """V_s, like the other two an estimate that is 0 where it would fall below."""
    variance_images: float | None = None
    variance_rest: float | None = None
    """V_r: seed x image, with all that is left to chance."""
    error: float | None = None
    """Standard error of `mean` for new seeds and new test images."""
    seed_error: float | None = None
    """Standard error of `mean` for new seeds and this test set."""
    differing: int | None = None
    """Test images on which the two methods differ with any seed; the rest of N tell nothing."""
    effective: float | None = None
    """As how many images that differ alike the mean rests on: (sum |c|)**2 / sum c**2 of the images'
    mean differences c (Kish 1965, Survey Sampling, section 8.2, with |c| as weights)."""

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the 95 % interval for new seeds and new test images, or where predictions lack for new seeds
        alone."""
        if self.low is None:
            return self.seed_low, self.seed_high
        return self.low, self.high

    @property
    def p_known(self) -> float | None:
        """`p_value`, or where predictions lack the p over seeds: for a table's correction."""
        return self.p_value if self.p_value is not None else self.p_seeds

    def half_width(self, confidence: float) -> float | None:
        """Of the headline interval at `confidence` in (0, 1); None where there is none."""
        if self.error is None or self.degrees is None or self.seed_error is None:
            return None
        quantile = (1 + confidence) / 2
        return max(
            float(stdtrit(self.degrees, quantile)) * self.error,
            float(stdtrit(self.seeds - 1, quantile)) * self.seed_error,
        )

    def p_of(self, gain: float) -> float | None:
        """Two-sided p of the hypothesis that the true gain is `gain`, over new seeds and images;
        it agrees with the headline interval at every confidence. None where there is none."""
        if self.error is None or self.degrees is None or self.seed_error is None:
            return None
        distance = abs(self.mean - gain)
        p_value = 2 * float(stdtr(self.degrees, -distance / self.error))
        if self.seed_error:
            p_value = max(p_value, 2 * float(stdtr(self.seeds - 1, -distance / self.seed_error)))
        return p_value


def two_way(d: ArrayLike) -> Gain:
    """The gain of d [n seeds, N images], values in [-1, 1], with its intervals.

    The variance of the mean over all of d is V_s / n + V_i / N + V_r / (n N), estimated by
    (MS_s + MS_i - MS_r) / (n N) with Satterthwaite's degrees of freedom (`standard_error`). The
    interval for new seeds and new images is never narrower than Student's over the seeds alone:
    what holds for more test sets than this one cannot be surer than what holds for this one.

    One seed: the mean alone. One image, or a d without any spread: nothing for new images.
    A seed without a number for an image has no place here: the caller gives complete rows.
    ValueError: no [n, N], nothing in it, or a value that is not a number in [-1, 1].
    """
    values = np.asarray(d, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the differences must be [seeds, images], not {list(values.shape)}")
    if not np.all(np.abs(values) <= 1 + _ROUNDING):  # false for nan too
        raise ValueError("differences in being right must lie in [-1, 1]")
    n, images = values.shape
    alone = replace(seeds_alone(values.mean(axis=1)), images=images)
    squares = mean_squares(values)
    if n == 1 or images == 1 or squares == MeanSquares(0, 0, 0):
        return alone
    error, degrees = map(
        float, standard_error(squares.seeds, squares.images, squares.rest, n, images)
    )
    found = replace(
        alone,
        degrees=degrees,
        variance_seeds=max(0.0, squares.seeds - squares.rest) / images,
        variance_images=max(0.0, squares.images - squares.rest) / n,
        variance_rest=squares.rest,
        error=error,
        seed_error=math.sqrt(squares.seeds / (n * images)),
        differing=int(np.any(np.abs(values) > _ROUNDING, axis=0).sum()),
        effective=_effective(values.mean(axis=0)),
    )
    half, half90 = found.half_width(0.95), found.half_width(0.9)
    assert half is not None
    assert half90 is not None
    return replace(
        found,
        low=found.mean - half,
        high=found.mean + half,
        low90=found.mean - half90,
        high90=found.mean + half90,
        p_value=found.p_of(0),
    )


def _effective(differences: NDArray[np.float64]) -> float:
    """Of the images' mean differences [N]; 0 where none differs in the mean."""
    sizes = np.abs(differences)
    sizes[sizes <= _ROUNDING] = 0
    squares = float((sizes**2).sum())
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def seeds_alone(differences: Iterable[float]) -> Gain:
    """The gain where the predictions are missing: one difference of accuracies (fraction) a seed.

    `seed_low`, `seed_high`, `p_seeds` and `p_flip` are those of `paired_gain`, all None for one
    seed. Nothing is said about new test images. ValueError: no seeds, or a value not finite.
    """
    by_seed = dict(enumerate(float(value) for value in differences))
    paired = paired_gain(by_seed, dict.fromkeys(by_seed, 0.0))
    return Gain(
        paired.mean,
        paired.n,
        images=0,
        seed_low=paired.low,
        seed_high=paired.high,
        p_seeds=paired.p_value,
        p_flip=paired.p_permutation,
    )


def mean_squares(d: NDArray[np.float64]) -> MeanSquares:
    """Of d [n, N]; 0 for what has no degree of freedom. Source: Scheffe (1959), The Analysis of
    Variance, section 4.2."""
    n, images = d.shape
    mean = d.mean()
    seed = d.mean(axis=1, keepdims=True) - mean
    image = d.mean(axis=0, keepdims=True) - mean
    rest = d - mean - seed - image
    # A spread of rounding errors is none.
    tiny = (_ROUNDING * float(np.abs(d).max())) ** 2
    found = [
        0.0 if float((effect**2).mean()) <= tiny else times * float((effect**2).sum()) / degrees
        for effect, times, degrees in (
            (seed, images, max(1, n - 1)),
            (image, n, max(1, images - 1)),
            (rest, 1, max(1, (n - 1) * (images - 1))),
        )
    ]
    return MeanSquares(*found)


def standard_error(
    seeds: ArrayLike, images: ArrayLike, rest: ArrayLike, rows: int, columns: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of the mean of a two-way layout [n seeds, N images] for new seeds and new images, with its
    degrees of freedom; from its mean squares, floats or arrays of one shape, not all 0. n and N,
    the `rows` and `columns`, are at least 2.

    Error**2 = (MS_s + max(MS_i - MS_r, 0)) / (n N); the degrees are Satterthwaite's (1946, An
    approximate distribution of estimates of variance components) for MS_s + MS_i - MS_r.

    - MS_i < MS_r: the images seem to have no effect of their own; their variance counts as 0, not
      as less, so that the error is never smaller than that over the seeds alone.
    - MS_s < MS_r stays as it is in the error: raising it to MS_r makes intervals of few seeds far too
      wide (coverage of 99.9 % at n = 3), and the interval over seeds alone guards against a small one.
      In the degrees it counts as (n - 1) / (n + 1) MS_r, near its least expected value: where it came
      out small by chance, few degrees would seem many, just where the error is too small. All of MS_r
      would be too much for three seeds (coverage of 97.4 %).
    - The degrees are at least those of the smaller factor. A combination with a minus can come
      near 0, and Satterthwaite's formula with it, and then the quantiles have no bound.
    - MS_s = 0 (every seed has the same mean: a coarse test set) counts as MS_r, its least expected
      value, because the error would otherwise be that of the images alone or none.
    """
    seeds, images, rest = (np.asarray(each, dtype=np.float64) for each in (seeds, images, rest))
    seeds = np.where(seeds > 0, seeds, rest)
    beyond = np.maximum(images - rest, 0)
    least = np.maximum(seeds, (rows - 1) / (rows + 1) * rest)
    products = least**2 / (rows - 1) + images**2 / (columns - 1)
    products = products + rest**2 / ((rows - 1) * (columns - 1))
    degrees = np.maximum((least + beyond) ** 2 / products, min(rows, columns) - 1)
    return np.sqrt((seeds + beyond) / (rows * columns)), degrees
