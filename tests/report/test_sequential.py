"""Planned looks: published bounds, an independent integral, and made studies."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from hiddenmix.report.decision import FEWEST, LEVEL
from hiddenmix.report.sequential import (
    LOOKS,
    Between,
    _one_sided,
    equal_level,
    judge,
    level,
    looks,
    should_stop,
    spent,
)
from hiddenmix.report.two_way import Gain, seeds_alone, two_way

MARGIN = 0.005


def crossing(tails: list[float], information: list[float], sides: int = 2) -> float:
    """The probability that any look's normal statistic passes its bound, by SciPy's integral over
    the whole vector: looks correlate by the root of the share of information."""
    bounds = stats.norm.isf(tails)
    pairs = itertools.product(information, repeat=2)
    correlation = [math.sqrt(min(a, b) / max(a, b)) for a, b in pairs]
    matrix = np.reshape(correlation, (len(tails), len(tails)))
    normal = stats.multivariate_normal(cov=matrix, maxpts=1_000_000, abseps=5e-6)
    lower = -bounds if sides == 2 else np.full(len(bounds), -np.inf)
    return 1 - float(normal.cdf(bounds, lower_limit=lower))


def test_bounds_are_the_published_ones() -> None:
    """Five equal looks at two-sided 5 %: 2.438, 2.427, 2.410, 2.397, 2.386 (Lan and DeMets' bounds
    for Pocock's spending, as in the R packages ldbounds and gsDesign)."""
    tails = _one_sided((6, 12, 18, 24, 30), 0.05, 2)
    assert stats.norm.isf(tails) == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=6e-4)


@pytest.mark.parametrize("most", [6, 8, 10, 20, 30, 50])
def test_all_looks_together_spend_five_percent(most: int) -> None:
    at = list(looks(most))
    information = [float(n) for n in at]
    two_sided = [level(n, most) / 2 for n in at]
    assert crossing(two_sided, information) == pytest.approx(0.05, abs=2e-5)
    one_sided = [equal_level(n, most) for n in at]
    assert crossing(one_sided, information, sides=1) == pytest.approx(0.05, abs=2e-5)


def test_every_look_spends_what_it_may() -> None:
    information = [float(n) for n in LOOKS]
    tails = [level(n) / 2 for n in LOOKS]
    for count in range(1, len(LOOKS) + 1):
        allowed = 0.05 * math.log(1 + (math.e - 1) * LOOKS[count - 1] / 30)
        assert crossing(tails[:count], information[:count]) == pytest.approx(allowed, abs=2e-5)
    assert spent(0, 0.05) == 0
    assert spent(1, 0.05) == pytest.approx(0.05)


def test_the_page_has_the_levels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
    for name, found in (
        ("p of a difference", level),
        ("both one-sided p of equality", equal_level),
    ):
        [row] = re.findall(rf"^\| {name} below \|(.+)\|$", page, re.MULTILINE)
        assert [float(cell) for cell in row.split("|")] == pytest.approx(
            [found(n) for n in LOOKS], abs=5.1e-5
        )


def test_without_bounds_looks_go_wrong() -> None:
    """What the docstring says of five looks at 5 %, and that one look needs no smaller level."""
    assert crossing([0.025] * 5, [float(n) for n in LOOKS]) == pytest.approx(0.14, abs=0.005)
    assert (level(6, 6), equal_level(6, 6)) == pytest.approx((LEVEL, LEVEL))


@pytest.mark.parametrize("images", [0.1, 1.0, 10.0])
def test_a_fixed_test_set_makes_looks_alike_and_the_error_smaller(images: float) -> None:
    """The variance at n seeds is the images' part, which stays, plus the seeds', which is 1 at 6."""
    information = [1 / (images + FEWEST / n) for n in LOOKS]
    assert crossing([level(n) / 2 for n in LOOKS], information) < 0.05
    assert crossing([equal_level(n) for n in LOOKS], information, sides=1) < 0.05


def test_looks_and_levels_refuse_what_was_not_planned() -> None:
    assert looks() == LOOKS == (6, 10, 15, 20, 30)
    assert looks(12) == (6, 10, 12)
    assert looks(15) == (6, 10, 15)
    assert looks(40) == (6, 10, 15, 20, 30, 40)
    with pytest.raises(ValueError, match="at least 6"):
        looks(5)
    for wrong in (7, 40, 0):
        with pytest.raises(ValueError, match="no look was planned"):
            level(wrong)
        with pytest.raises(ValueError, match="no look was planned"):
            equal_level(wrong)


def gain(mean: float, error: float, n: int) -> Gain:
    found = Gain(
        mean, n, 10_000, p_flip=0.01, error=error, degrees=1e6, seed_error=0.0, effective=500,
        variance_seeds=0.0, variance_images=0.0, variance_rest=0.05,
    )  # fmt: skip
    return replace(found, p_value=found.p_of(0))


def test_a_look_asks_for_more_than_a_single_test() -> None:
    # p = 0.03 would do at one look, but not at the first of five.
    z = stats.norm.isf(0.015)
    doubtful = should_stop(gain(z * 0.01, 0.01, 6), MARGIN)
    assert (doubtful.word, doubtful.stop, doubtful.then) == ("undecided", False, 10)
    assert should_stop(gain(z * 0.01, 0.01, 6), MARGIN, most=6).word == "supported"
    clear = should_stop(gain(-0.026, 0.01, 6), MARGIN)
    assert (clear.word, clear.stop, clear.then) == ("contradicted", True, None)
    assert should_stop(gain(0.0, 0.002, 10), MARGIN).word == "equal"
    last = should_stop(gain(0.0, 0.01, 30), MARGIN)
    assert (last.word, last.stop, last.then) == ("undecided", True, None)


def test_the_interval_of_a_look_is_that_of_its_level() -> None:
    look = should_stop(gain(0.01, 0.004, 15), MARGIN)
    z = stats.norm.isf(level(15) / 2)
    assert (look.low, look.high) == pytest.approx((0.01 - z * 0.004, 0.01 + z * 0.004), rel=1e-3)
    assert (look.level, look.equal_level) == (level(15), equal_level(15))


def test_without_predictions_nothing_stops_before_the_end() -> None:
    found = seeds_alone(np.linspace(0.01, 0.02, 6))
    look = should_stop(found, MARGIN)
    assert (look.word, look.stop, look.then, look.low) == ("undecided", False, 10, None)


def made_studies(gain: float, seeds: int, images: int, studies: int) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(20)
    found = []
    for _ in range(studies):
        d = gain + 0.002 * random.standard_normal((seeds, 1))
        d = (
            d
            + 0.03 * random.standard_normal(images)
            + 0.1 * random.standard_normal((seeds, images))
        )
        found.append(d)
    return found


@pytest.mark.parametrize("gain", [0.0, MARGIN])
def test_made_studies_go_wrong_in_at_most_five_percent(gain: float) -> None:
    """600 studies of at most 15 seeds that stop by the rule; 5 % and two errors of simulation.
    Looking three times at 5 % would go wrong clearly more often."""
    wrong = naive = 0
    refused = {0.0: ("supported", "contradicted"), MARGIN: ("equal", "contradicted")}[gain]
    for d in made_studies(gain, 15, 300, 600):
        founds = [two_way(d[:n]) for n in looks(15)]
        words = [should_stop(found, MARGIN, 15).word for found in founds]
        first = next((word for word in words if word != "undecided"), "undecided")
        wrong += first in refused
        naive += any((found.p_value or 0) < LEVEL for found in founds)
    assert wrong <= 0.05 * 600 + 2 * math.sqrt(0.05 * 0.95 * 600)
    if gain == 0:
        assert naive > 0.07 * 600


def test_reading_after_every_seed_makes_no_more_false_words() -> None:
    """250 studies without a gain, read at 6, 7, ..., 15 seeds: words are drawn at the planned looks
    alone. Words at 5 % between them would be false clearly more often."""
    wrong = naive = 0
    for d in made_studies(0.0, 15, 100, 250):
        founds = [two_way(d[:n]) for n in range(FEWEST, 16)]
        differ = ("supported", "contradicted")
        wrong += any(judge(found, MARGIN, 15)[0] in differ for found in founds)
        naive += any(
            judge(found, MARGIN, 15 if found.seeds in looks(15) else None)[0] in differ
            for found in founds
        )
    assert wrong <= 0.05 * 250 + 2 * math.sqrt(0.05 * 0.95 * 250)
    assert naive > 0.08 * 250


@pytest.mark.parametrize(
    ("seeds", "between"),
    [(4, Between(None, 6)), (6, None), (8, Between(6, 10)), (12, None), (13, Between(12, None))],
)
def test_no_word_is_drawn_where_no_look_was_planned(seeds: int, between: Between | None) -> None:
    """A gain that nobody could doubt."""
    random = np.random.default_rng(1)
    gain = two_way(0.2 + 0.1 * random.standard_normal((seeds, 400)))
    said, look, found = judge(gain, MARGIN, 12)
    assert found == between
    assert (look is None) == (between is not None)
    assert said == ("supported" if between is None else "undecided")
    assert judge(gain, MARGIN, None)[0] == ("supported" if seeds >= FEWEST else "undecided")
