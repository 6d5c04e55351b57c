"""Effects of factors rest on settings that differ in nothing else."""

from hiddenmix.report.factors import _pairs

PLACES = {
    "a": {"layer": "input", "K": "2", "alpha": "1"},
    "b": {"layer": "conv1", "K": "2", "alpha": "1"},
    "c": {"layer": "conv1", "K": "3", "alpha": "1"},
    "d": {"layer": "input", "K": "2", "alpha": "0.2"},
    "e": {"layer": "conv1", "K": "2", "alpha": "0.5"},
}


def test_a_setting_without_its_like_is_no_pair() -> None:
    """c has no image mixup of three images beside it, and e none of its α."""
    assert _pairs(PLACES, "layer", "conv1", "input") == [("b", "a")]


def test_each_factor_has_pairs_of_its_own() -> None:
    assert _pairs(PLACES, "K", "3", "2") == [("c", "b")]
    assert _pairs(PLACES, "alpha", "0.2", "1") == [("d", "a")]
    assert _pairs(PLACES, "alpha", "0.5", "1") == [("e", "b")]
