"""The verdict's word, and what would decide a study that is undecided.

Two conditions for a difference, because each sees what the other does not: the interval for new
seeds and new test images, and the sign-flip test over seeds, which assumes no normal distribution
(Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks; Du 2025, arXiv
2511.19794). Equality is claimed by two one-sided tests (Schuirmann 1987, A comparison of the two
one-sided tests procedure and the power approach), never from a large p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from hiddenmix.report.two_way import Gain, standard_error

LEVEL = 0.05

FEWEST = 6
"""Seeds, for any word but undecided: with fewer the sign-flip p cannot fall below `LEVEL`, and a
claim of equality should not rest on less than a claim of a difference."""


@dataclass(frozen=True)
class Way:
    """Seeds, and test images, that would make the headline interval narrow enough."""

    seeds: int
    images: int | None
    """None: the present test set is large enough. A number: it is not, whatever the seeds; with so
    many test images (half of the squared width left to them), `seeds` seeds would do."""


@dataclass(frozen=True)
class Need:
    """What would decide an undecided study, if seeds and images spread as they do now."""

    differ: Way | None
    """The 95 % interval excludes 0, if the mean stays what it is; None where it is 0. Half of such
    studies would get there, since the mean does not stay."""
    equal: Way
    """The 90 % interval lies within the margin, if the mean were 0."""
    any_mean: Way
    """One of the two, whatever the mean turns out to be: the half-widths of the 95 % and the 90 %
    interval together are no more than the margin."""


def word(gain: Gain, margin: float, level: float = LEVEL, equal_level: float = LEVEL) -> str:
    """`supported`, `contradicted`, `equal` or `undecided`; `margin` in the unit of `gain`.

    - supported, contradicted: p_value < `level` (the headline interval at 1 - level excludes 0),
      and p_flip < 0.05;
    - equal: otherwise, and the headline interval at 1 - 2 `equal_level` lies within the margin;
    - undecided: otherwise, below `FEWEST` seeds, and where there is no headline interval.

    The levels are those of a single look; `hiddenmix.report.sequential` passes smaller ones.
    ValueError: a margin below 0.
    """
    p_equal = equality_p(gain, margin)
    if gain.p_value is None or gain.p_flip is None or p_equal is None or gain.seeds < FEWEST:
        return "undecided"
    if gain.p_value < level and gain.p_flip < LEVEL:
        return "supported" if gain.mean > 0 else "contradicted"
    return "equal" if p_equal < equal_level else "undecided"


def equality_p(gain: Gain, margin: float) -> float | None:
    """The larger p of the two one-sided tests of |true gain| >= margin (Schuirmann 1987).

    Below 0.05 where the 90 % interval lies within the margin; None where there is no interval.
    ValueError: a margin below 0.
    """
    if not margin >= 0:
        raise ValueError(f"the margin must be at least 0, not {margin}")
    p_value = gain.p_of(math.copysign(margin, gain.mean))
    if p_value is None:
        return None
    return p_value / 2 if abs(gain.mean) < margin else 1 - p_value / 2


def what_would_decide(gain: Gain, margin: float) -> Need | None:
    """How many seeds, or test images, would decide an undecided gain, `margin` in its unit.

    The three variances are taken as known: what is said holds at this spread, which few seeds
    estimate badly. None where there is no headline interval, or no margin. ValueError: a margin
    below 0.
    """
    if not margin >= 0:
        raise ValueError(f"the margin must be at least 0, not {margin}")
    if gain.error is None or margin == 0:
        return None

    def differ(now: Gain) -> bool:
        return _half(now, 0.95) < abs(gain.mean)

    def equal(now: Gain) -> bool:
        return _half(now, 0.9) < margin

    def any_mean(now: Gain) -> bool:
        return _half(now, 0.95) + _half(now, 0.9) <= margin

    more = max(FEWEST, gain.seeds + 1)
    # Of a normal distribution, as with all the seeds in the world.
    z95, z90 = 1.959963984540054, 1.6448536269514722
    return Need(
        differ=_way(gain, differ, abs(gain.mean) / z95, more) if gain.mean else None,
        equal=_way(gain, equal, margin / z90, max(FEWEST, gain.seeds)),
        any_mean=_way(gain, any_mean, margin / (z95 + z90), more),
    )


def _way(gain: Gain, enough: Callable[[Gain], bool], error: float, fewest: int) -> Way:
    """The fewest seeds, from `fewest` on, that are `enough`; `error` is the standard error that
    would just do if it were known."""
    assert gain.variance_images is not None
    # The part of the images, all that is left with ever more seeds.
    least = gain.variance_images / error**2
    images = None if gain.images > least else math.ceil(2 * least)
    size = images or gain.images
    low, high = fewest - 1, fewest
    while not enough(_expected(gain, high, size)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(_expected(gain, middle, size)) else (middle, high)
    return Way(high, images)


def _expected(gain: Gain, seeds: int, images: int) -> Gain:
    """`gain` with the errors to be expected of so many seeds and images at its variances."""
    assert gain.variance_seeds is not None
    assert gain.variance_images is not None
    assert gain.variance_rest is not None
    rest = gain.variance_rest
    by_seed = rest + images * gain.variance_seeds
    by_image = rest + seeds * gain.variance_images
    error, degrees = standard_error(by_seed, by_image, rest, seeds, images)
    return replace(
        gain,
        seeds=seeds,
        images=images,
        error=float(error),
        degrees=float(degrees),
        seed_error=math.sqrt(by_seed / (seeds * images)),
    )


def _half(gain: Gain, confidence: float) -> float:
    half = gain.half_width(confidence)
    assert half is not None
    return half
