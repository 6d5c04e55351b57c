"""The verdict's word and what would decide it, by hand and against SciPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from hiddenmix.report.decision import (
    FEWEST,
    FEWEST_IMAGES,
    Need,
    Way,
    equality_p,
    too_few,
    what_would_decide,
    word,
)
from hiddenmix.report.two_way import Gain, seeds_alone, two_way

MARGIN = 0.005


def gain(
    mean: float, error: float, *, n: int = 10, p_flip: float = 0.01, effective: float = 500
) -> Gain:
    """A gain whose interval is Student's with 20 degrees of freedom, of 10,000 images."""
    found = Gain(
        mean, n, 10_000, p_flip=p_flip, error=error, degrees=20.0, seed_error=0.0,
        variance_seeds=0.002**2, variance_images=0.06**2, variance_rest=0.22**2,
        effective=effective,
    )  # fmt: skip
    return replace(found, p_value=found.p_of(0))


T95, T90 = stats.t.ppf(0.975, 20), stats.t.ppf(0.95, 20)
HALF_AN_IMAGE = 1 / 20_000


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (T95 * 0.001 + 1e-6, "supported"),
        (-T95 * 0.001 - 1e-6, "contradicted"),
        (T95 * 0.001 - 1e-6, "equal"),
        (0.0, "equal"),
    ],
)
def test_the_word_turns_where_the_interval_does(mean: float, expected: str) -> None:
    assert word(gain(mean, 0.001), MARGIN) == expected


def test_equal_turns_where_the_90_percent_interval_leaves_the_margin() -> None:
    error = 0.0024
    edge = MARGIN - HALF_AN_IMAGE - T90 * error
    assert 0 < edge < T95 * error
    for sign in (1, -1):
        assert word(gain(sign * (edge - 1e-6), error), MARGIN) == "equal"
        assert word(gain(sign * (edge + 1e-6), error), MARGIN) == "undecided"
    assert word(gain(0.0, error), 0.003) == "undecided"
    assert word(gain(0.0, error), 0) == "undecided"


def test_both_conditions_are_needed_for_a_difference() -> None:
    clear = gain(0.02, 0.001)
    assert word(clear, MARGIN) == "supported"
    assert word(replace(clear, p_flip=0.05), MARGIN) == "undecided"
    assert word(replace(clear, p_flip=0.0499), MARGIN) == "supported"
    # An interval that holds 0 outweighs any sign-flip p.
    assert word(gain(0.02, 0.01, p_flip=0.0001), MARGIN) == "undecided"


def test_a_small_and_certain_gain_is_a_gain_and_not_equality() -> None:
    small = gain(0.002, 0.0005)
    assert equality_p(small, MARGIN) == pytest.approx(
        stats.t.sf((0.003 - HALF_AN_IMAGE) / 0.0005, 20)
    )
    assert word(small, MARGIN) == "supported"


@pytest.mark.parametrize(
    "made",
    [
        gain(0.02, 0.001, n=FEWEST - 1),
        gain(0.0, 0.001, n=FEWEST - 1),
        gain(0.02, 0.001, effective=FEWEST_IMAGES - 0.1),
        gain(0.0, 0.001, effective=FEWEST_IMAGES - 0.1),
        seeds_alone([0.02, 0.021, 0.02, 0.022, 0.02, 0.021, 0.02]),
        two_way(np.zeros((10, 360))),
        two_way(np.ones((1, 360)) * 0.5),
    ],
)
def test_too_little_is_undecided(made: Gain) -> None:
    assert too_few(made)
    assert word(made, MARGIN) == "undecided"


def test_enough_is_not_too_little() -> None:
    assert not too_few(gain(0.0, 0.001, n=FEWEST, effective=FEWEST_IMAGES))


def test_smaller_levels_ask_for_more() -> None:
    found = gain(2.5 * 0.001, 0.001)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.5, 20))  # 0.021
    assert word(found, 0.001, level=0.03) == "supported"
    assert word(found, 0.001, level=0.02) == "undecided"
    near = gain(0.0, 0.002)
    p_equal = equality_p(near, MARGIN)
    assert p_equal is not None
    assert p_equal == pytest.approx(stats.t.sf((MARGIN - HALF_AN_IMAGE) / 0.002, 20))
    assert word(near, MARGIN, equal_level=p_equal + 1e-6) == "equal"
    assert word(near, MARGIN, equal_level=p_equal - 1e-6) == "undecided"


def test_equality_is_two_one_sided_t_tests() -> None:
    """On real numbers, where the seeds' own interval plays no part (20 seeds, many images)."""
    d = np.random.default_rng(5).normal(0.001, 0.3, (20, 400)).clip(-1, 1)
    d += np.random.default_rng(6).normal(0, 0.1, 400).clip(-0.3, 0.3)
    d = d.clip(-1, 1)
    found = two_way(d)
    assert found.error is not None
    assert found.degrees is not None
    for margin in (0.002, 0.02, 0.05):
        inside = margin - 1 / 800
        upper = stats.t.cdf((found.mean - inside) / found.error, found.degrees)
        lower = stats.t.sf((found.mean + inside) / found.error, found.degrees)
        assert equality_p(found, margin) == pytest.approx(max(upper, lower), rel=1e-6)
    assert equality_p(seeds_alone([0.1, 0.2]), MARGIN) is None


@pytest.mark.parametrize("margin", [-0.001, math.nan])
def test_a_margin_below_zero_is_refused(margin: float) -> None:
    for made in (gain(0.0, 0.001), seeds_alone([0.1, 0.2])):
        with pytest.raises(ValueError, match="margin"):
            word(made, margin)
        with pytest.raises(ValueError, match="margin"):
            what_would_decide(made, margin)


def half_width(found: Gain, n: int, size: int, confidence: float) -> float:
    """By the formulas of docs/statistics.md, of the variances as they are."""
    v_s, v_i, v_r = found.variance_seeds, found.variance_images, found.variance_rest
    assert v_s is not None
    assert v_i is not None
    assert v_r is not None
    squares = np.array([v_r + size * v_s, v_r + n * v_i, v_r])
    variance = v_s / n + v_i / size + v_r / (n * size)
    parts = squares**2 / [n - 1, size - 1, (n - 1) * (size - 1)]
    degrees = (variance * n * size) ** 2 / parts.sum()
    quantile = (1 + confidence) / 2
    seeds = stats.t.ppf(quantile, n - 1) * math.sqrt(v_s / n + v_r / (n * size))
    return float(max(stats.t.ppf(quantile, degrees) * math.sqrt(variance), seeds))


@pytest.mark.parametrize("mean", [0.0014, -0.002, 0.0031])
def test_the_seeds_asked_for_are_the_fewest_that_do(mean: float) -> None:
    found = gain(mean, 0.002, n=6)
    need = what_would_decide(found, MARGIN)
    assert isinstance(need, Need)
    assert need.differ is not None
    inside = MARGIN - HALF_AN_IMAGE

    def differ(n: int) -> bool:
        return half_width(found, n, 10_000, 0.95) < abs(mean)

    def equal(n: int) -> bool:
        return half_width(found, n, 10_000, 0.9) < inside

    def both(n: int) -> bool:
        widths = half_width(found, n, 10_000, 0.95) + half_width(found, n, 10_000, 0.9)
        return widths <= inside

    for way, enough, least in (
        (need.differ, differ, 7),
        (need.equal, equal, 6),
        (need.any_mean, both, 7),
    ):
        assert way.images is None
        assert way.seeds == next(n for n in range(least, 1000) if enough(n))
    assert need.any_mean.seeds > 7


def test_a_test_set_that_is_too_small_is_said_to_be() -> None:
    """0.06 / sqrt(360) alone gives a half-width of 0.62 points: no number of seeds shows 0.3."""
    found = replace(gain(0.003, 0.004, n=6), images=360)
    need = what_would_decide(found, MARGIN)
    assert need is not None
    for way, target, z in ((need.differ, 0.003, 1.96), (need.equal, MARGIN, 1.645)):
        assert way is not None
        assert way.images is not None
        # Half of the squared width is the images' part; equality pays half an image besides.
        inside = target if z > 1.9 else target - 1 / (2 * way.images)
        assert way.images == pytest.approx(2 * (z * 0.06 / inside) ** 2, rel=0.01)
        confidence = 0.95 if z > 1.9 else 0.9
        assert half_width(found, way.seeds, way.images, confidence) < inside
        assert half_width(found, way.seeds - 1, way.images, confidence) > inside


def test_a_large_test_set_needs_no_larger_one() -> None:
    found = replace(gain(0.003, 0.004, n=6), images=5000)
    need = what_would_decide(found, MARGIN)
    assert need is not None
    assert need.differ is not None
    assert need.differ.images is None
    assert half_width(found, need.differ.seeds, 5000, 0.95) < 0.003


def test_too_few_images_that_differ_ask_for_more() -> None:
    found = replace(gain(0.02, 0.006, n=6, effective=4.0), images=360, variance_images=0.0)
    need = what_would_decide(found, MARGIN)
    assert need is not None
    assert need.differ is not None
    assert need.differ.images == 900  # 360 * 10 / 4


def test_a_new_test_set_asks_for_as_few_seeds_as_will_do() -> None:
    """20 seeds are there, and would be needed on none of the larger test sets."""
    found = replace(gain(0.004, 0.004, n=20), images=360, variance_seeds=0.0)
    need = what_would_decide(found, MARGIN)
    assert need is not None
    for way in (need.differ, need.any_mean):
        assert way is not None
        assert way.images is not None
        assert way.seeds < 20


def test_an_effect_on_a_few_of_many_images_that_differ_is_no_effect_on_many() -> None:
    """26 images differ, 24 of them once in 20 seeds, and two always: 4.6 in effect."""
    d = np.zeros((20, 360))
    d[:, :2] = 1
    d[np.arange(24) % 20, np.arange(2, 26)] = 1
    found = two_way(d)
    assert found.differing == 26
    assert found.effective == pytest.approx((2 + 24 / 20) ** 2 / (2 + 24 / 400))
    assert found.p_value is not None
    assert too_few(found)
    alike = two_way(np.where(np.arange(360) < 26, 1.0, 0.0) * np.ones((20, 1)))
    assert alike.effective == pytest.approx(26)


def test_equality_takes_images_enough_to_have_seen_a_rare_kind() -> None:
    """The rule of three against its own probability: 3 in N are absent from N in 5 % of test sets."""
    assert pytest.approx(0.05, abs=0.001) == (1 - 3 / 600) ** 600
    sure = replace(gain(0.0, 0.0001, n=10), images=600)
    assert word(sure, MARGIN) == "equal"
    assert word(replace(sure, images=599), MARGIN) == "undecided"
    assert word(replace(gain(0.01, 0.0001), images=100), MARGIN) == "supported"
    need = what_would_decide(replace(sure, images=360), MARGIN)
    assert need is not None
    assert need.equal.images is not None
    assert need.equal.images >= 600


def test_nothing_to_say() -> None:
    assert what_would_decide(seeds_alone([0.01, 0.0, 0.02]), MARGIN) is None
    assert what_would_decide(two_way(np.zeros((6, 360))), MARGIN) is None
    assert what_would_decide(gain(0.01, 0.01), 0) is None
    need = what_would_decide(gain(0.0, 0.01), MARGIN)
    assert need is not None
    assert need.differ is None
    assert need.equal == Way(10, None)  # narrow enough already, if it were these variances


def test_out_of_reach_ends_too() -> None:
    need = what_would_decide(gain(1e-12, 0.002), 1e-12)
    assert need is not None
    assert need.differ == need.equal == Way(10**9, 10**9)
