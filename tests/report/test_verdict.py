"""The verdict in words: what is said of an undecided one, and of a planned look."""

from dataclasses import replace

import pandas as pd
import pytest

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.decision import what_would_decide, word
from hiddenmix.report.questions import Question
from hiddenmix.report.sequential import Look, should_stop
from hiddenmix.report.tables import points, signed
from hiddenmix.report.two_way import Gain
from hiddenmix.report.verdict import spoken

GAIN = Gain(
    mean=0.004,
    seeds=6,
    images=1000,
    low=0.0001,
    high=0.0079,
    low90=0.0007,
    high90=0.0073,
    p_value=0.046,
    degrees=500.0,
    seed_low=0.001,
    seed_high=0.007,
    p_flip=0.062,
    variance_seeds=0.0,
    variance_images=0.003,
    variance_rest=0.001,
    error=0.002,
    seed_error=0.001,
    differing=90,
    effective=40.0,
)


def undecided(gain: Gain, look: Look | None = None) -> Question:
    """A question that is answered by `gain` and undecided."""
    return Question(
        title="a < b",
        model="cnn",
        variant="",
        layer="conv1",
        what=CLEAN,
        rows=pd.DataFrame({"setting": ["x"]}),
        gain=gain,
        word="undecided",
        need=what_would_decide(gain, 0.005),
        mixup=None,
        look=look,
        left_out=(),
        without_predictions=0,
        by_seed={},
    )


def test_undecided_says_which_condition_is_not_met() -> None:
    """An interval that excludes 0 beside the word undecided would be a riddle."""
    text = spoken(undecided(GAIN), 0.005)
    assert text.startswith("Undecided (a < b, cnn; clean test images): ")  # no Markdown
    assert "with p below 0.05, and has 0.062." in text
    text = spoken(undecided(replace(GAIN, low=-0.001, p_value=0.0503)), 0.005)
    assert "p = 0.0503, " in text  # rounded, it would be 0.050
    why = "Why undecided: the interval includes 0, and equality within ±0.5 is not shown either"
    assert f"{why} (90 % interval [+0.07, +0.73])." in text


def test_an_interval_within_the_margin_that_is_not_equal_is_no_riddle() -> None:
    """1.648 errors to each side; half of 360 images is 0.14 points."""
    gain = replace(GAIN, mean=0.0005, images=360, error=0.0045, low=-0.0083, p_value=0.9)
    assert word(gain, 0.009) == "undecided"
    assert (
        "equality within ±0.9 is not shown either (90 % interval [−0.69, +0.79], which has to lie within "
        "the margin less half a test image, ±0.76)."
    ) in spoken(undecided(gain), 0.009)


def test_few_images_say_how_many_equality_takes() -> None:
    """Of 360, 3 of a rare kind may be absent: 0.83 points."""
    gain = replace(GAIN, mean=0.0, images=360, error=0.001, low=-0.002, p_value=1.0)
    text = spoken(undecided(gain), 0.005)
    assert (
        "equality within ±0.5 is not shown either (that takes at least 600 test images, as a rare kind "
        "of them may be absent from 360)."
    ) in text
    need = undecided(gain).need
    assert need is not None
    assert need.equal.images is not None
    assert need.equal.images >= 600
    assert word(replace(gain, images=600), 0.005) == "equal"
    assert word(replace(gain, images=599), 0.005) == "undecided"


def test_the_interval_of_equality_is_that_of_the_looks_level() -> None:
    gain = replace(GAIN, seeds=10, mean=0.001, low=-0.003, p_value=0.6)
    look = should_stop(gain, 0.005)
    half = gain.half_width(1 - 2 * look.equal_level)
    assert half is not None
    assert half > 0.004 > (gain.half_width(0.9) or 0)
    interval = points(0, gain.mean - half, gain.mean + half)[6:]
    assert f"({100 - 200 * look.equal_level:.3g} % interval {interval})" in (
        spoken(undecided(gain, look), 0.005)
    )


def test_undecided_names_three_ways_to_a_verdict() -> None:
    need = what_would_decide(GAIN, 0.005)
    assert need is not None
    assert need.differ is not None
    assert need.differ.images is None
    assert need.any_mean.images is not None
    text = spoken(undecided(GAIN), 0.005)
    differ = f"{need.differ.seeds} seeds to show this difference, if it is found again; "
    assert differ in text
    more = f"{need.any_mean.seeds} seeds on {need.any_mean.images:,} test images"
    assert f"{more} to show one of the two, whatever is found" in text
    assert "Where more test images are named, no number of seeds on these 1,000 would do." in text


def test_a_planned_look_names_the_interval_that_holds_over_all_looks() -> None:
    look = should_stop(GAIN, 0.005)
    assert look.low is not None
    assert look.high is not None
    assert (look.word, look.low < GAIN.mean - 0.00392) == (
        "undecided",
        True,
    )  # wider than 1.96 errors
    text = spoken(undecided(GAIN, look), 0.005)
    bounds = f"[{100 * look.low:+.2f}, {100 * look.high:+.2f}]".replace("-", "−")
    assert f"the interval that holds over all looks is {bounds}." in text
    assert "Why undecided: p is not below 0.015, " in text


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (-1e-18, -0.0434, 0.0434, "+0.00 [−4.34, +4.34]"),
        (0.0044, -0.00001, 0.0088, "+0.44 [−0.001, +0.88]"),
        (-0.00003, -0.01, 0.01, "−0.003 [−1.00, +1.00]"),
        (0.0, -0.0, 0.0, "+0.00 [no spread]"),
    ],
)
def test_numbers_near_zero_show_their_side_and_noise_has_none(
    mean: float, low: float, high: float, text: str
) -> None:
    assert points(mean, low, high) == text


def test_no_number_of_seeds_is_named_for_a_difference_that_is_noise() -> None:
    gain = replace(GAIN, mean=-1e-17)
    text = spoken(undecided(gain), 0.005)
    assert "to show this difference" not in text
    assert "6 seeds to show equality within ±0.5, as here had the mean been 0" in text
    assert "1,000,000,000" not in text


def test_a_number_has_one_minus_and_nothing_is_no_loss() -> None:
    assert [signed(each) for each in (-0.5, 0.25, -0.001, 0.0)] == [
        "−0.50",
        "+0.25",
        "+0.00",
        "+0.00",
    ]
    assert signed(-0.001, 3) == "−0.001"
