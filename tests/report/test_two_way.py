"""The interval for new seeds and new test images: by hand, by least squares, on made studies."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import stdtr

from hiddenmix.report.statistics import sign_flip_p
from hiddenmix.report.two_way import (
    Gain,
    mean_squares,
    seeds_alone,
    standard_error,
    two_way,
)

Array = NDArray[np.float64]
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
BY_HAND = np.array([[1, 0, 0, -1], [1, 1, 1, -1], [1, 1, 1, 1]], dtype=float)


def made(
    seed: int, n: int, images: int, deviations: tuple[float, float, float], gain: float = 0.0
) -> Array:
    """Normal effects of seeds, images and the rest, in points; far from the ends of [-1, 1]."""
    random = np.random.default_rng(seed)
    shapes = ((n, 1), (1, images), (n, images))
    parts = [sd / 100 * random.standard_normal(s) for sd, s in zip(deviations, shapes, strict=True)]
    return np.asarray(gain + sum(parts), dtype=np.float64)


def residual_square(d: Array, seeds: bool, images: bool) -> float:
    """Sum of squares that least squares leaves with these factors, dummies and all."""
    n, size = d.shape
    columns = [np.ones(n * size)]
    if seeds:
        columns += [np.repeat(np.arange(n) == s, size) for s in range(n)]
    if images:
        columns += [np.tile(np.arange(size) == i, n) for i in range(size)]
    design = np.stack(columns, axis=1).astype(float)
    fitted = design @ np.linalg.lstsq(design, d.ravel(), rcond=None)[0]
    return float(((d.ravel() - fitted) ** 2).sum())


@pytest.mark.parametrize(("n", "images"), [(2, 2), (3, 4), (6, 25), (12, 7)])
def test_mean_squares_are_those_of_least_squares(n: int, images: int) -> None:
    """Each effect's sum of squares is what the residual loses when the factor joins the model."""
    d = np.random.default_rng([n, images]).choice((-1.0, 0.0, 1.0), (n, images))
    full = residual_square(d, seeds=True, images=True)
    found = mean_squares(d)
    without_seeds = residual_square(d, seeds=False, images=True)
    without_images = residual_square(d, seeds=True, images=False)
    assert found.seeds == pytest.approx((without_seeds - full) / (n - 1))
    assert found.images == pytest.approx((without_images - full) / (images - 1))
    assert found.rest == pytest.approx(full / ((n - 1) * (images - 1)))


def test_by_hand() -> None:
    # Means of the seeds 0, 1/2, 1, of the images 1, 2/3, 2/3, -1/3, of all 1/2.
    # SS_s = 4 (1/4 + 0 + 1/4) = 2; SS_i = 3 (1/4 + 1/36 + 1/36 + 25/36) = 3;
    # all = 10 - 12/4 = 7; SS_r = 7 - 2 - 3 = 2.
    squares = mean_squares(BY_HAND)
    assert (squares.seeds, squares.images, squares.rest) == pytest.approx((1, 1, 1 / 3))
    found = two_way(BY_HAND)
    assert (found.mean, found.seeds, found.images, found.differing) == (0.5, 3, 4, 4)
    assert found.variance_seeds == pytest.approx(1 / 6)
    assert found.variance_images == pytest.approx(2 / 9)
    assert found.variance_rest == pytest.approx(1 / 3)
    assert found.error == pytest.approx(math.sqrt(5 / 36))
    assert found.degrees == pytest.approx(75 / 23)
    assert found.seed_error == pytest.approx(math.sqrt(1 / 12))
    # At 95 % the interval over the seeds is the wider one, at 90 % the other.
    t2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))
    assert found.high == pytest.approx(0.5 + t2 * math.sqrt(1 / 12))
    assert found.high == pytest.approx(found.seed_high)
    assert found.low90 == pytest.approx(0.5 - stats.t.ppf(0.95, 75 / 23) * math.sqrt(5 / 36))
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.5 / math.sqrt(5 / 36), 75 / 23))
    assert found.p_seeds == pytest.approx(stats.ttest_1samp([0, 0.5, 1], 0).pvalue)
    assert found.p_flip == sign_flip_p([0, 0.5, 1]) == 4 / 8


def test_the_page_has_the_example_by_hand() -> None:
    """Every number of the worked example in docs/statistics.md."""
    text = PAGE.read_text().partition("## A worked example")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| seed \d \|([^|]+)\|([^|]+)\|([^|]+)\|([^|]+)\|", text, re.MULTILINE)
    d = np.array([[float(value.replace("−", "-")) for value in row] for row in rows])
    assert d.shape == (3, 4)
    found, squares = two_way(d), mean_squares(d)
    expected: dict[str, float | None] = {
        "MS_s": squares.seeds,
        "MS_i": squares.images,
        "MS_r": squares.rest,
        **{name: value for name, value in vars(found).items() if name not in {"seeds", "images"}},
    }
    shown = dict(re.findall(r"^\| `(\w+)` \|.*\| (−?[\d.]+) \|$", text, re.MULTILINE))
    assert len(shown) >= 15
    for name, value in shown.items():
        assert float(value.replace("−", "-")) == pytest.approx(expected[name], abs=6e-5), name


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_and_the_p_say_the_same(seed: int) -> None:
    found = two_way(made(seed, 5, 40, (2, 10, 20), gain=0.02))
    assert found.low is not None
    assert found.high is not None
    assert found.low90 is not None
    assert found.p_of(found.low) == pytest.approx(0.05)
    assert found.p_of(found.high) == pytest.approx(0.05)
    assert found.p_of(found.low90) == pytest.approx(0.1)
    assert found.p_of(0) == found.p_value
    assert (found.p_value or 0) < 0.05 or found.low < 0 < found.high
    assert found.low < found.low90 < found.mean


@pytest.mark.parametrize("deviations", [(0, 6, 22), (0.2, 6, 22), (3, 0, 10), (0, 0, 22)])
def test_new_images_never_make_it_surer(deviations: tuple[float, float, float]) -> None:
    """Never narrower than the interval over seeds alone, at any confidence."""
    for seed, n in itertools.product(range(20), (2, 3, 6)):
        found = two_way(made(seed, n, 50, deviations))
        for confidence in (0.5, 0.9, 0.95, 0.99):
            half = found.half_width(confidence)
            assert half is not None
            assert found.seed_error is not None
            assert half >= stats.t.ppf((1 + confidence) / 2, n - 1) * found.seed_error * (1 - 1e-9)
        assert (found.p_value or 0) >= (found.p_seeds or 0) * (1 - 1e-9)
        assert found.degrees is not None
        assert found.degrees >= n - 1


def test_order_and_sign_do_not_matter() -> None:
    d = made(3, 4, 30, (2, 10, 20), gain=0.03)
    one, other = two_way(d), two_way(-d[::-1, ::-1])
    assert other.mean == pytest.approx(-one.mean)
    assert other.p_value == pytest.approx(one.p_value)
    assert other.low == pytest.approx(-(one.high or 0))
    assert other.variance_images == pytest.approx(one.variance_images)


def test_images_that_spread_less_than_chance_count_as_not_spreading() -> None:
    # Each image is right once with each method: no image effect at all, and MS_i = 0.
    d = np.array([[1.0, 0.0], [0.0, 1.0]]) + np.array([[0.0], [-0.5]])
    squares = mean_squares(d)
    assert squares.images == 0 < squares.rest
    found = two_way(d)
    assert found.variance_images == 0
    assert found.error == pytest.approx(found.seed_error)
    assert found.degrees == 1
    assert found.high == pytest.approx(found.seed_high)


def test_seeds_without_spread_count_as_spreading_by_chance() -> None:
    """Two images right with each seed, others each time: the t-test over seeds sees no error."""
    d = np.zeros((6, 360))
    for seed in range(6):
        d[seed, [2 * seed, 2 * seed + 1]] = 1
    squares = mean_squares(d)
    assert squares.seeds == 0
    found = two_way(d)
    assert (found.seed_low, found.seed_high) == pytest.approx((2 / 360, 2 / 360))
    assert found.error == pytest.approx(math.sqrt(squares.rest / d.size))
    assert found.degrees == pytest.approx(5, rel=0.5)
    assert found.low is not None
    assert 0 < found.low < 2 / 360
    assert found.p_flip == 2 / 64
    assert found.differing == 12


def test_one_seed_has_a_mean_alone() -> None:
    found = two_way([[1.0, 0.0, 0.0, 0.0]])
    assert found == Gain(0.25, 1, 4)
    assert found.half_width(0.95) is None
    assert found.p_of(0) is None


def test_one_image_tells_nothing_of_new_images() -> None:
    found = two_way([[1.0], [0.0], [1.0]])
    expected = seeds_alone([1, 0, 1])
    assert (found.images, expected.images) == (1, 0)
    assert (found.seed_low, found.seed_high) == (expected.seed_low, expected.seed_high)
    assert {found.low, found.low90, found.p_value, found.error, found.differing} == {None}


@pytest.mark.parametrize("value", [0.0, 0.1, -1.0])
def test_no_spread_at_all_tells_nothing_of_new_images(value: float) -> None:
    """Ten equal answers of 0.1 have a mean that differs from 0.1 by rounding."""
    found = two_way(np.full((6, 10), value))
    assert found.mean == pytest.approx(value)
    assert {found.low, found.high, found.p_value, found.error, found.degrees} == {None}
    assert found.p_flip == (1 if value == 0 else 2 / 64)


def test_seeds_alone_is_the_paired_t_test() -> None:
    differences = [0.01, 0.002, -0.004, 0.006, 0.003]
    found = seeds_alone(differences)
    expected = stats.ttest_1samp(differences, 0)
    interval = expected.confidence_interval(0.95)
    assert found.seeds == 5
    assert found.mean == pytest.approx(np.mean(differences))
    assert (found.seed_low, found.seed_high) == pytest.approx((interval.low, interval.high))
    assert found.p_seeds == pytest.approx(expected.pvalue)
    assert found.p_flip == sign_flip_p(differences)
    assert {found.low, found.high, found.p_value, found.variance_rest} == {None}
    assert seeds_alone([0.01]) == Gain(0.01, 1, 0)


@pytest.mark.parametrize(
    "d", [[], [[]], [0.1, 0.2], [[[0.1]]], [[0.0, math.nan]], [[0.0, math.inf]], [[0.5, 1.2]]]
)
def test_refuses(d: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must be \[seeds, images\]|must lie in"):
        two_way(d)


def test_the_mean_squares_expect_what_is_said() -> None:
    """Means over 400 made studies against V_r + N V_s, V_r + n V_i and V_r, within 4 errors."""
    n, images = 4, 30
    found = [mean_squares(made(seed, n, images, (3, 10, 20))) for seed in range(400)]
    for name, expected in (
        ("seeds", 0.2**2 + images * 0.03**2),
        ("images", 0.2**2 + n * 0.1**2),
        ("rest", 0.2**2),
    ):
        values = np.array([getattr(each, name) for each in found])
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))


def test_standard_errors_of_many_studies_at_once() -> None:
    studies = [made(seed, 5, 20, (1, 10, 20)) for seed in range(7)]
    squares = [mean_squares(d) for d in studies]
    columns = np.array([[each.seeds, each.images, each.rest] for each in squares]).T
    error, degrees = standard_error(columns[0], columns[1], columns[2], 5, 20)
    single = [two_way(d) for d in studies]
    assert error == pytest.approx([each.error for each in single])
    assert degrees == pytest.approx([each.degrees for each in single])


def coverages(n: int, images: int, deviations: tuple[float, float, float]) -> dict[str, float]:
    """In percent, of the rule and of what was not chosen, of 40,000 studies with normal effects: the
    mean squares are then multiples of chi-squared, and independent of the mean."""
    random, studies = np.random.default_rng(1946), 40_000
    v_s, v_i, v_r = (np.array(deviations) / 100) ** 2
    degrees = np.array([n - 1, images - 1, (n - 1) * (images - 1)])
    expected = np.array([v_r + images * v_s, v_r + n * v_i, v_r])
    seeds, by_image, rest = (
        each * random.chisquare(df, studies) / df
        for each, df in zip(expected, degrees, strict=True)
    )
    size = n * images
    off = np.abs(random.normal(0, math.sqrt((expected[0] + expected[1] - v_r) / size), studies))

    def inside(error: Array, df: Array | float) -> NDArray[np.bool_]:
        return np.asarray(2 * stdtr(df, -off / error) >= 0.05)

    def with_degrees(least: Array) -> NDArray[np.bool_]:
        """Satterthwaite's degrees of `least` in the place of MS_s, with the rule's error."""
        error, _ = standard_error(seeds, by_image, rest, n, images)
        beyond = np.maximum(by_image - rest, 0)
        parts = np.array([least, by_image, rest]) ** 2 / degrees[:, None]
        return inside(error, np.maximum((least + beyond) ** 2 / parts.sum(0), n - 1))

    alone = inside(np.sqrt(seeds / size), n - 1)
    rule = inside(*standard_error(seeds, by_image, rest, n, images)) | alone
    raised = inside(*standard_error(np.maximum(seeds, rest), by_image, rest, n, images))
    found = {
        "satterthwaite": with_degrees(seeds),
        "degrees as they come": with_degrees(seeds) | alone,
        "degrees of all MS_r": with_degrees(np.maximum(seeds, rest)) | alone,
        "rule": rule,
        "raised": raised,
        "images too": rule | inside(np.sqrt(by_image / size), images - 1),
    }
    return {name: 100 * float(values.mean()) for name, values in found.items()}


@pytest.mark.parametrize(
    ("n", "images", "deviations", "expected"),
    [
        (3, 10_000, (0.2, 6, 22), {"satterthwaite": 92.2, "rule": 95.7}),
        (
            *(3, 10_000, (0, 6, 22)),
            {"rule": 96.4, "degrees of all MS_r": 97.4, "raised": 99.9, "images too": 98.6},
        ),
        (3, 360, (0.2, 2, 22), {"rule": 95.8}),
        (6, 10_000, (0, 6, 22), {"degrees as they come": 94.5, "rule": 95.0, "raised": 98.0}),
        (6, 10_000, (0.2, 6, 22), {"degrees as they come": 94.4, "rule": 94.6}),
        (6, 360, (0, 0, 22), {"rule": 95.4}),
        (6, 360, (0.2, 2, 22), {"images too": 97.6}),
    ],
)
def test_the_choices_cover_what_the_page_says(
    n: int, images: int, deviations: tuple[float, float, float], expected: dict[str, float]
) -> None:
    found = coverages(n, images, deviations)
    for name, percent in expected.items():
        assert found[name] == pytest.approx(percent, abs=0.35), name  # 3 errors of simulation


@pytest.mark.parametrize(
    ("n", "deviations"),
    [(3, (0.2, 6, 22)), (6, (0, 6, 22)), (6, (1, 6, 22)), (20, (0, 6, 22)), (20, (0.2, 6, 22))],
)
def test_coverage_over_new_seeds_and_new_images(
    n: int, deviations: tuple[float, float, float]
) -> None:
    """1,500 made studies: 93 to 97 % of the intervals hold the true gain, within 2 errors (1.1)."""
    random = np.random.default_rng(n)
    images, studies, gain = 360, 1500, 0.01
    covered = covered_by_seeds = 0
    for _ in range(studies):
        d = made(int(random.integers(2**60)), n, images, deviations, gain)
        squares = mean_squares(d)
        error, degrees = standard_error(squares.seeds, squares.images, squares.rest, n, images)
        seeds = math.sqrt(squares.seeds / d.size)
        off = abs(d.mean() - gain)
        by_seeds = 2 * stats.t.sf(off / seeds, n - 1) >= 0.05
        covered += by_seeds or 2 * stats.t.sf(off / error, degrees) >= 0.05
        covered_by_seeds += by_seeds
    assert 0.93 - 0.011 <= covered / studies <= 0.97 + 0.011
    # Seeds alone are too sure of new images, the more so the more seeds there are.
    if n == 20:
        assert covered_by_seeds / studies < 0.88


def test_the_ends_are_those_for_new_images_or_else_for_new_seeds() -> None:
    whole, alone = two_way([[1, 0, 0], [0, 0, 1], [1, 0, 0]]), seeds_alone([0.1, 0.2, 0.4])
    assert whole.low is not None
    assert whole.ends == (whole.low, whole.high)
    assert alone.low is None
    assert alone.ends == (alone.seed_low, alone.seed_high)
    assert two_way([[1, 0]]).ends == (None, None)
