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

FEWEST_IMAGES = 10
"""Test images that the gain rests on in effect (`Gain.effective`), for any word but undecided: the mean
of fewer is not near a normal distribution, and another test set may hold none of their kind
(docs/statistics.md, "Choices")."""

UNSEEN = 3
"""Of the rule of three (Hanley & Lippman-Hand 1983, If nothing goes wrong, is everything all right?): a
kind of images as frequent as 3 in N is absent from N with a probability of 5 %. If the methods differ on
these alone, the true gain is up to 3 / N, whatever the N at hand show: equality is claimed of no less."""

# As good as any number, and its square a whole number of 64 bits.
OUT_OF_REACH = 10**9
"""Seeds or images that stand for: no number would do."""


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
    - equal: otherwise, and the headline interval at 1 - 2 `equal_level` lies within the margin, which
      is no less than `UNSEEN` / N;
    - undecided: otherwise, below `FEWEST` seeds or `FEWEST_IMAGES` images in effect, and where
      there is no headline interval.

    The levels are those of a single look; `hiddenmix.report.sequential` passes smaller ones.
    ValueError: a margin below 0.
    """
    p_equal = equality_p(gain, margin)
    if gain.p_value is None or gain.p_flip is None or p_equal is None or too_few(gain):
        return "undecided"
    if gain.p_value < level and gain.p_flip < LEVEL:
        return "supported" if gain.mean > 0 else "contradicted"
    return "equal" if p_equal < equal_level and large_enough(gain.images, margin) else "undecided"


def large_enough(images: int, margin: float) -> bool:
    """Whether so many test images can show equality within the margin (`UNSEEN`)."""
    return images * margin >= UNSEEN - 1e-9  # 600 * 0.005 is one rounding error off


def too_few(gain: Gain) -> bool:
    """Whether there are fewer seeds, or images in effect, than any claim should rest on."""
    return gain.seeds < FEWEST or gain.effective is None or gain.effective < FEWEST_IMAGES


def equality_p(gain: Gain, margin: float) -> float | None:
    """The larger p of the two one-sided tests of |true gain| >= margin (Schuirmann 1987).

    The margin is taken half a test image smaller, a continuity correction as with any count: without
    it up to 10 % of studies on 360 images whose true gain is the margin come out equal. Below 0.05
    where the 90 % interval lies within that; None where there is no interval. ValueError: a margin
    below 0.
    """
    limit = inside(margin, gain.images)
    p_value = gain.p_of(math.copysign(limit, gain.mean))
    if p_value is None:
        return None
    return p_value / 2 if abs(gain.mean) < limit else 1 - p_value / 2


def inside(margin: float, images: int) -> float:
    """What the interval has to lie within for equality: the margin less half a test image. ValueError: a
    margin below 0."""
    if not margin >= 0:
        raise ValueError(f"the margin must be at least 0, not {margin}")
    return max(0.0, margin - 1 / (2 * max(1, images)))


def what_would_decide(gain: Gain, margin: float) -> Need | None:
    """How many seeds, or test images, would decide an undecided gain, `margin` in its unit.

    The three variances are taken as known: what is said holds at this spread. None where there is no
    headline interval, no margin, or fewer than `FEWEST` seeds, whose spread says next to nothing.
    ValueError: a margin below 0.
    """
    inside(margin, gain.images)  # a wrong margin is an error for every gain
    if gain.error is None or margin == 0 or gain.seeds < FEWEST:
        return None

    def differ(now: Gain) -> bool:
        return _half(now, 0.95) < abs(gain.mean)

    def equal(now: Gain) -> bool:
        return large_enough(now.images, margin) and _half(now, 0.9) < inside(margin, now.images)

    def any_mean(now: Gain) -> bool:
        widths = _half(now, 0.95) + _half(now, 0.9)
        return large_enough(now.images, margin) and widths <= inside(margin, now.images)

    more = max(FEWEST, gain.seeds + 1)
    return Need(
        differ=_way(gain, differ, more) if gain.mean else None,
        equal=_way(gain, equal, max(FEWEST, gain.seeds)),
        any_mean=_way(gain, any_mean, more),
    )


def _way(gain: Gain, enough: Callable[[Gain], bool], fewest: int) -> Way:
    """The fewest seeds that are `enough`, from `fewest` on if it is on these images, on more where they
    must be."""
    assert gain.variance_images is not None
    # Half of the squared width is left to the images, so that the rest is within reach of seeds.
    doubled = replace(gain, variance_images=2 * gain.variance_images)
    images = None
    if not enough(_expected(gain, OUT_OF_REACH, gain.images)):
        images = _first(
            lambda size: enough(_expected(doubled, OUT_OF_REACH, size)), gain.images + 1
        )
    if gain.effective is not None and gain.effective < FEWEST_IMAGES:
        # As many as it takes for `FEWEST_IMAGES` of them to carry the gain.
        images = max(images or 0, math.ceil(gain.images * FEWEST_IMAGES / max(1, gain.effective)))
    size = images or gain.images
    if images is not None:
        fewest = FEWEST  # a new test set asks for a new study, of as few seeds as will do
    return Way(_first(lambda seeds: enough(_expected(gain, seeds, size)), fewest), images)


def _first(enough: Callable[[int], bool], start: int) -> int:
    """The least number from `start` on, `OUT_OF_REACH` at most, that is `enough`, as all above it are."""
    low, high = start - 1, start
    while not enough(high) and high < OUT_OF_REACH:
        low, high = high, min(2 * high, OUT_OF_REACH)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


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
