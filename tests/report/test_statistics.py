"""Intervals, paired tests and Holm's correction against scipy, by hand, and on made studies."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from hiddenmix.report.statistics import EXACT, holm, mean_interval, paired_gain, sign_flip_p

SEEDS = range(6)


def _pairs(seed: int, n: int = 6) -> tuple[dict[int, float], dict[int, float]]:
    generator = np.random.default_rng(seed)
    treated, baseline = generator.normal(0.7, 0.02, (2, n))
    return dict(enumerate(treated)), dict(enumerate(baseline))


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_is_scipys(n: int, confidence: float) -> None:
    values = np.random.default_rng(n).normal(0.6, 0.05, n)
    found = mean_interval(values, confidence)
    low, high = stats.t.interval(confidence, n - 1, values.mean(), stats.sem(values))
    assert found.n == n
    assert found.mean == pytest.approx(values.mean(), abs=1e-15)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, standard error 1/sqrt(3). With 2 degrees of freedom the
    # quantile has a closed form: 0.95 * sqrt(2 / (1 - 0.95**2)) = 4.3027.
    found = mean_interval([1.0, 2.0, 3.0])
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-12)


def test_a_single_value_has_no_interval() -> None:
    found = mean_interval([0.5])
    assert (found.n, found.mean, found.low, found.high) == (1, 0.5, None, None)


def test_equal_values_give_a_point() -> None:
    found = mean_interval([1.0, 1.0, 1.0])
    assert (found.low, found.high) == (1.0, 1.0)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_interval_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least one|finite"):
        mean_interval(values)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_paired_gain_is_scipys(seed: int, n: int) -> None:
    treated, baseline = _pairs(seed, n)
    a, b = np.array(list(treated.values())), np.array(list(baseline.values()))
    found = paired_gain(treated, baseline)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx((a - b).mean())
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_sign_flip_is_scipys_exact_permutation_test(seed: int) -> None:
    treated, baseline = _pairs(seed, 9)
    a, b = np.array(list(treated.values())), np.array(list(baseline.values()))
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_gain(treated, baseline).p_permutation == pytest.approx(expected.pvalue)


def test_sign_flip_by_hand() -> None:
    # |±1 ±2 ±3| reaches 6 in 2 of 8 patterns, and 4 (1 = -1 + 2 + 3) in 4 of 8.
    assert sign_flip_p([1, 2, 3]) == 2 / 8
    assert sign_flip_p([-1, 2, 3]) == 4 / 8
    assert sign_flip_p([0.5]) == 1
    assert sign_flip_p([1, -1]) == 1


def test_sign_flip_counts_ties_despite_rounding() -> None:
    differences = [0.1, 0.2, -0.3, 0.3, 0.2, 0.1]
    sums = [
        sum(s * round(10 * d) for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    assert sign_flip_p(differences) == np.mean([abs(total) >= 6 for total in sums])


def test_sign_flip_beyond_enumeration_is_close_and_never_zero() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, EXACT + 5)
    # The normal approximation is good at 25 pairs.
    z = abs(differences.sum()) / math.sqrt((differences**2).sum())
    assert sign_flip_p(differences) == pytest.approx(2 * stats.norm.sf(z), abs=0.02)
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert 0 < sign_flip_p(np.ones(EXACT + 5)) < 1e-4


def test_pairing_is_by_seed_not_by_position() -> None:
    treated = {2: 0.9, 0: 0.7, 1: 0.8}
    baseline = {0: 0.6, 1: 0.71, 2: 0.79}
    found = paired_gain(treated, baseline)
    assert found.mean == pytest.approx(0.1)
    assert found.p_value == pytest.approx(stats.ttest_1samp([0.1, 0.09, 0.11], 0).pvalue)


def test_unpaired_seeds_are_named() -> None:
    with pytest.raises(ValueError, match="without a partner: 1, 7"):
        paired_gain({0: 0.5, 7: 0.5}, {0: 0.5, 1: 0.5})
    with pytest.raises(ValueError, match="at least one"):
        paired_gain({}, {})


def test_a_single_pair_has_a_gain_and_nothing_else() -> None:
    found = paired_gain({3: 0.75}, {3: 0.5})
    assert (found.n, found.mean) == (1, 0.25)
    assert {found.low, found.high, found.p_value, found.p_permutation} == {None}


def test_identical_pairs() -> None:
    values = {0: 0.9, 1: 0.8, 2: 0.7}
    found = paired_gain(values, dict(values))
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert (found.p_value, found.p_permutation) == (1, 1)


def test_a_constant_difference_is_as_certain_as_its_number_of_pairs() -> None:
    # 1/360: one more test image right with each seed; the differences vary by rounding alone.
    baseline = {seed: (300 + 7 * seed) / 360 for seed in range(4)}
    treated = {seed: (301 + 7 * seed) / 360 for seed in range(4)}
    found = paired_gain(treated, baseline)
    assert found.p_value == found.p_permutation == 2 / 2**4
    assert found.low == found.high == pytest.approx(1 / 360)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04: times 3, 2, 1, then made monotone.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_holm_passes_over_what_was_not_tested() -> None:
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    with pytest.raises(ValueError, match="must lie in"):
        holm([0.5, math.nan])


def _rejections(gain: float, n: int, test: str) -> int:
    """Of 200 made studies of `n` seeds, how many find a difference at 5 %."""
    generator = np.random.default_rng(1906)
    rejections = 0
    for _ in range(200):
        luck = generator.normal(0.7, 0.02, n)  # a seed's own, common to both settings
        baseline = dict(enumerate(luck + generator.normal(0, 0.005, n)))
        treated = dict(enumerate(luck + gain + generator.normal(0, 0.005, n)))
        rejections += getattr(paired_gain(treated, baseline), test) < 0.05
    return rejections


@pytest.mark.parametrize(("n", "test"), [(5, "p_value"), (10, "p_value"), (10, "p_permutation")])
def test_made_studies_of_known_truth(n: int, test: str) -> None:
    assert 0.02 * 200 <= _rejections(0.0, n, test) <= 0.08 * 200
    assert _rejections(0.03, n, test) >= 0.98 * 200


def test_holm_holds_the_error_of_a_whole_table() -> None:
    """200 made tables of 24 settings without a gain: at most 8 % of them show any."""
    generator = np.random.default_rng(7)
    wrong = 0
    for _ in range(200):
        p_values = [
            paired_gain(dict(enumerate(generator.normal(0, 1, 5))), dict.fromkeys(range(5), 0.0))
            for _ in range(24)
        ]
        wrong += min(p for p in holm([gain.p_value for gain in p_values]) if p is not None) < 0.05
    assert wrong <= 0.08 * 200
