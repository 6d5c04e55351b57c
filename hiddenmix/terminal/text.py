"""Text for a line of a terminal or a report."""

import re
from collections.abc import Mapping

from hiddenmix.config import counted


def clean(text: object, limit: int = 200) -> str:
    """`text` on one line, without control characters or lone surrogates, at most `limit` long."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(text)).strip()
    line = line.encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= limit else line[: limit - 3] + "..."


def leaks_text(leaks: Mapping[str, int], tested: int) -> str:
    """What is known of equal images in a data set of `tested` test images, without a full stop.

    `leaks` counts images, as `Leaks` and `result.json` do.
    """
    said = {
        "test_in_train": ("stands", "stand", "in the training set too"),
        "test_twice": ("repeats", "repeat", "an earlier test image"),
        "two_labels": ("has", "have", "an equal image with another label"),
    }
    parts = [
        f"{leaks[key]:,} {one if leaks[key] == 1 else many} {rest}"
        for key, (one, many, rest) in said.items()
        if leaks.get(key)
    ]
    if not parts:
        return "no test image stands twice"
    text = f"of {counted(tested, 'test image')} {', '.join(parts)}"
    if leaks.get("dropped"):
        dropped = counted(leaks["dropped"], "training image")
        text += f"; {dropped} dropped for it (dataset.leaks=drop)"
    return text
