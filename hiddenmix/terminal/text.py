"""Text from files and errors, made fit for one line of a terminal."""

import re


def clean(text: object, limit: int = 200) -> str:
    """`text` on one line, without control characters or lone surrogates, at most `limit` long."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", str(text)).strip()
    line = line.encode("utf-8", "replace").decode("utf-8")
    return line if len(line) <= limit else line[: limit - 3] + "..."
