"""How values of the configuration and counts appear in a message."""

from pathlib import Path

import pytest

from hiddenmix.config import counted, show


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("été", "été"),
        ("データ (1)", "データ (1)"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("\u202eabc", "\\u202eabc"),
        ("C:\\x", "C:\\x"),
        (["é", True, None], "[é,true,null]"),
        ("x" * 90, "x" * 77 + "..."),
        (Path("/" + "x" * 90 + "/study.json"), "..." + "x" * 66 + "/study.json"),
    ],
)
def test_a_value_is_shown_as_it_was_typed(value: object, shown: str) -> None:
    """Letters of any script as they are; what would move the cursor or the text's direction is not."""
    assert show(value) == shown


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [
        (0, "network", "0 networks"),
        (1, "network", "1 network"),
        (1234, "test image", "1,234 test images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
    ],
)
def test_a_count_has_its_nouns_number(number: int, noun: str, shown: str) -> None:
    assert counted(number, noun) == shown
