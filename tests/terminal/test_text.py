"""Sentences of a terminal and of a report."""

import pytest

from hiddenmix.terminal import leaks_text


@pytest.mark.parametrize(
    ("leaks", "tested", "said"),
    [
        ({}, 5, "no test image stands twice"),
        ({"test_in_train": 1}, 1, "of 1 test image 1 stands in the training set too"),
        (
            {"test_in_train": 1000, "test_twice": 1, "two_labels": 2, "dropped": 1},
            2000,
            "of 2,000 test images 1,000 stand in the training set too, 1 repeats an earlier test "
            "image, 2 have an equal image with another label; 1 training image dropped for it "
            "(dataset.leaks=drop)",
        ),
    ],
)
def test_leaks_are_counted_in_words(leaks: dict[str, int], tested: int, said: str) -> None:
    assert leaks_text(leaks, tested) == said
