"""Whether settings gain alike, against a t-test by hand and against simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hiddenmix.report.heterogeneity import odd_one
from hiddenmix.report.two_way import two_way


def made(gain: float, seed: int, n: int = 8, images: int = 400) -> NDArray[np.float64]:
    """Differences of [n, N] right answers with a mean of about `gain`."""
    chance = np.random.default_rng(seed).random((n, images))
    return (chance < 0.1 + gain).astype(float) - (chance > 0.9)


def test_two_settings_are_one_test_of_their_difference() -> None:
    siamese, triplet = made(0.0, 1), made(0.08, 2)
    odd = odd_one({"siamese α=1": siamese, "triplet α=1": triplet})
    assert odd is not None
    assert (odd.setting, odd.others, odd.tests) == ("triplet α=1", "siamese α=1", 1)
    half = two_way((triplet - siamese) / 2)
    assert odd.mean == pytest.approx(triplet.mean() - siamese.mean())
    assert half.low is not None
    assert odd.low == pytest.approx(2 * half.low)
    assert odd.p_holm == half.p_value
    assert odd.low > 0
    turned = odd_one({"triplet α=1": triplet, "siamese α=1": siamese})
    assert turned == odd


def test_of_several_the_surest_is_told_and_corrected() -> None:
    settings = {f"siamese α={n}": made(0.0, n) for n in (1, 2, 3)} | {"triplet α=1": made(-0.09, 4)}
    odd = odd_one(settings)
    assert odd is not None
    assert (odd.setting, odd.others, odd.tests) == ("triplet α=1", "the mean of the other 3", 4)
    rest = np.mean([each for name, each in settings.items() if name != "triplet α=1"], axis=0)
    own = two_way((settings["triplet α=1"] - rest) / 2)
    assert own.p_value is not None
    assert odd.p_holm == pytest.approx(4 * own.p_value)
    assert odd.mean == pytest.approx(2 * own.mean)
    assert odd.high < 0


def test_nothing_to_test() -> None:
    one = made(0.1, 1)
    assert odd_one({}) is None
    assert odd_one({"a": one}) is None
    assert odd_one({"a": one, "b": one}) is None  # no spread between them
    assert odd_one({"a": one, "b": one[:, :10]}) is None
    assert odd_one({"a": one[:1], "b": made(0.2, 3)[:1]}) is None


def test_settings_that_gain_alike_are_seldom_told_apart() -> None:
    """5 % of studies, by either number of settings; three errors of 400 studies are 3.3 points."""
    for count in (2, 4):
        false = 0
        for study in range(400):
            settings = {str(k): made(0.03, 10 * study + k, 6, 100) for k in range(count)}
            odd = odd_one(settings)
            false += odd is not None and odd.p_holm < 0.05
        assert false / 400 <= 0.05 + 0.033
