"""How a value of the configuration appears in a message."""

import pytest

from hiddenmix.config import show


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
    ],
)
def test_a_value_is_shown_as_it_was_typed(value: object, shown: str) -> None:
    """Letters of any script as they are; what would move the cursor or the text's direction is not."""
    assert show(value) == shown
