"""Signs that word processors, chats, Asian keyboards and Windows' files put in the place of a shell's."""

import re
from collections.abc import Sequence
from pathlib import Path

_QUOTES = {**dict.fromkeys("“”„‟«»″＂", '"'), **dict.fromkeys("‘’‚‛′＇", "'")}
_DASHES = "‐‑‒–—―−－"
_FULL_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_NOTHING = dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", "")
_BLANKS = dict.fromkeys("\u00a0\u2007\u202f\u3000", " ")

_TABLE = str.maketrans(
    _FULL_WIDTH | _QUOTES | dict.fromkeys(_DASHES, "-") | _NOTHING | _BLANKS  # the later win
)


def plain(text: str) -> str:
    """`text` in a shell's own signs, for keys and for values that are no free text."""
    return text.translate(_TABLE).strip(" \t\r\n")


def has_typographic_quotes(text: str) -> bool:
    """Whether `text` holds quotes that no shell takes for quotes."""
    return any(sign in _QUOTES for sign in text)


def as_flags(arguments: Sequence[str]) -> list[str]:
    """`arguments` without a Windows line's carriage return; `–m` and `—multirun` are flags, and a folder
    after `--config-dir` may begin with `~`."""
    found = [
        re.sub(rf"^[{_DASHES}-]+(?=[a-zA-Z])", _dashes, each.rstrip("\r\n")) for each in arguments
    ]
    for number, each in enumerate(found):
        flag, equals, value = each.partition("=")
        if flag in ("--config-dir", "-cd") and equals:
            found[number] = f"{flag}={_at_home(value)}"
        elif flag in ("--config-dir", "-cd") and number + 1 < len(found):
            found[number + 1] = _at_home(found[number + 1])
    return found


def _dashes(found: re.Match[str]) -> str:
    typed = found.group()
    if set(typed) == {"-"}:
        return typed
    name = re.match(r"[\w-]*", found.string[found.end() :])
    assert name is not None
    return "-" if len(name.group()) <= 2 else "--"


def _at_home(folder: str) -> str:
    try:
        return str(Path(folder).expanduser()) if folder.startswith("~") else folder
    except RuntimeError:  # no such user
        return folder
