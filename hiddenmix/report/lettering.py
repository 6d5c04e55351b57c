"""Text that a figure can show: a font for every letter, and a readable substitute where none has it.

Nothing is downloaded: the fonts are those of the machine, and matplotlib's own, which has Latin,
Greek, Cyrillic, Arabic, Hebrew and many symbols, but no Chinese, Japanese or Korean.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from matplotlib import font_manager, ft2font

BASE = "DejaVu Sans"
"""matplotlib's own font, first in every figure."""

_UNFIT = re.compile(
    r"last ?resort|adobe blank|bmp fallback|tofu|notdef|cm[a-z]+10|stix", re.IGNORECASE
)
"""Fonts that have every character, as a box or as nothing; and matplotlib's own for mathematics,
with some letters of a script or other signs in a letter's place."""

_JOINS_LETTERS = hasattr(ft2font, "__libraqm_version__")
"""Whether matplotlib (3.11 or later) writes from right to left and joins Arabic letters."""

_FROM_RIGHT = {"R", "AL"}
_JOINERS = "\u200c\u200d"

_known: dict[str, list[str]] = {}
"""Character -> the families that can draw it, the preferred first."""


def families(text: str) -> list[str]:
    """The value of `font.family` with which `readable(text)` has all its glyphs."""
    text = readable(text)
    _look_up(text)
    found = [BASE]
    left = {sign for sign in text if _known[sign] and BASE not in _known[sign]}
    while left:
        # As few fonts as possible: each time the one that has most of what is left.
        names = dict.fromkeys(name for sign in sorted(left) for name in _known[sign])
        best = max(names, key=lambda name: sum(name in _known[sign] for sign in left))
        found.append(best)
        left = {sign for sign in left if best not in _known[sign]}
    return [*found, "sans-serif"]  # for who reads an SVG on a machine without these


def readable(text: str) -> str:
    """`text` with a substitute for each character that no installed font can draw."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    _look_up(text)
    return _tidy(sign if _known[sign] else _spelled(sign) for sign in _visible(text))


def file_part(text: str) -> str:
    """`text` for a file's name: ASCII letters, digits, '.' and '_', the same on every machine.

    Accents are dropped and other scripts spelled; what begins alike may end up the same.
    """
    text = "".join(s for s in unicodedata.normalize("NFKD", text) if not "\u0300" <= s <= "\u036f")
    signs = _visible(unicodedata.normalize("NFC", text))
    line = cut(_tidy(sign if sign.isascii() else _spelled(sign) for sign in signs), 60)
    return re.sub(r"[^a-z0-9.]+", "_", line.lower().replace("u+", "u")).strip("_.")


def _visible(text: str) -> Iterator[str]:
    """Without the signs that steer the layout, which could turn or hide the text beside it."""
    return (s for s in text if unicodedata.category(s) != "Cf" or s in _JOINERS)


def _tidy(parts: Iterable[str]) -> str:
    """Put together what `_spelled` set apart by spaces."""
    line = re.sub(rf"[{_JOINERS}]* [{_JOINERS} ]*", " ", "".join(parts)).strip()
    return re.sub(r" (?=[,.:;)\]])|(?<=[(]) ", "", line)


def _spelled(sign: str) -> str:
    """A character in ASCII: a syllable as it sounds, a symbol's name, otherwise U+ and its number."""
    alike = unicodedata.normalize("NFKC", sign)
    if alike.isascii():
        return alike
    name, kind = unicodedata.name(sign, ""), unicodedata.category(sign)
    syllable = re.match(
        r"(?:HIRAGANA LETTER|KATAKANA LETTER|HANGUL SYLLABLE) (?:SMALL )?(\w+)", name
    )
    flag = re.match(r"REGIONAL INDICATOR SYMBOL LETTER (\w)", name)
    if found := syllable or flag:
        return found.group(1).lower() if syllable else found.group(1)
    if name == "KATAKANA-HIRAGANA PROLONGED SOUND MARK":
        return "-"
    if kind in ("Mn", "Me", "Cf", "Sk"):  # it changes the look of the sign before it
        return ""
    if kind == "So" and name:
        return f" [{name.lower()}] "
    return f" U+{ord(sign):04X} "


def _look_up(text: str) -> None:
    """Have every character of `text` in `_known`."""
    new = set(text) - _known.keys()
    _known.update((sign, []) for sign in new)
    # What a number for private use means, no font can know.
    lost = {sign for sign in new if unicodedata.category(sign) != "Co"}
    if not _JOINS_LETTERS:
        lost = {sign for sign in lost if unicodedata.bidirectional(sign) not in _FROM_RIGHT}
    for name, path, options in _fonts() if lost else ():
        signs = _drawn_by(path, lost, options)
        for sign in signs:
            _known[sign].append(name)
        lost.difference_update(signs if name == BASE else ())
        if not lost:
            return
    lost = {sign for sign in lost if not _known[sign]}
    for path in _unlisted() if lost else ():
        if signs := _drawn_by(path, lost):
            font_manager.fontManager.addfont(path)
            name = font_manager.fontManager.ttflist[-1].name
            for sign in signs if not _UNFIT.search(name) else ():
                _known[sign].append(name)


@lru_cache(1)
def _fonts() -> list[tuple[str, str, dict[str, Any]]]:
    """Family, file and face of the fonts that matplotlib knows, `BASE` and sans serifs first."""
    entries = sorted(
        font_manager.fontManager.ttflist,
        key=lambda entry: (entry.style != "normal", entry.weight != 400, entry.fname),
    )
    found: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for entry in entries:
        face = getattr(entry, "index", 0)  # since matplotlib 3.11, for files of several fonts
        options = {"face_index": face} if face else {}
        if not _UNFIT.search(entry.name):
            found.setdefault(entry.name, (entry.name, entry.fname, options))
    return sorted(found.values(), key=lambda font: (font[0] != BASE, _odd(font[0]), font[0]))


def _odd(name: str) -> bool:
    """Whether a font looks unlike `BASE`, by its name."""
    lower = name.lower()
    serif = "serif" in lower and "sans" not in lower
    return serif or any(part in lower for part in ("mono", "mincho", "ming", "song", "batang"))


def _unlisted() -> list[str]:
    """Fonts that were installed after matplotlib made its list, which it does once."""
    listed = {entry.fname for entry in font_manager.fontManager.ttflist}
    return sorted(set(font_manager.findSystemFonts()) - listed)


def _drawn_by(path: str, signs: Iterable[str], options: dict[str, Any] | None = None) -> list[str]:
    try:
        font = ft2font.FT2Font(path, **(options or {}))
        return [sign for sign in signs if font.get_char_index(ord(sign)) and _has_ink(font, sign)]
    except (OSError, RuntimeError, ValueError):  # a damaged file, or one of bitmaps alone
        return []


def _has_ink(font: Any, sign: str) -> bool:
    """Whether the font's glyph is more than a blank: fonts of coloured emoji have no outlines."""
    if sign.isspace() or unicodedata.category(sign)[0] in "MC":
        return True
    _, bottom, _, top = font.load_char(ord(sign)).bbox
    return bool(top > bottom)


def width(text: str) -> int:
    """The columns of `text`, as letters of a terminal: Chinese and Japanese ones take two."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.category(sign) in ("Mn", "Cf") for sign in text)


def cut(text: str, room: int) -> str:
    """`text` in so many columns; of a longer one the middle is left out, by words where it can be."""
    if width(text) <= room:
        return text
    start, end = 0, len(text)
    while width(text[: start + 1]) <= (room - 1) // 2:
        start += 1
    while width(text[end - 1 :]) <= room - 1 - (room - 1) // 2:
        end -= 1
    head, tail = text[:start], text[end:]
    last = text[: start + 1].rfind(" ", start // 2)
    first = text[end - 1 :].find(" ", 0, len(tail) // 2 + 1)
    head = head[:last] if last > 0 else head
    tail = tail[first:] if first >= 0 else tail
    return f"{head.strip()}…{tail.strip()}"


def wrapped(text: str, room: int, most: int) -> str:
    """`text` in at most so many lines of so many columns, broken between words where it can be."""
    lines = [""]
    for allowed in range(room * most, 0, -max(1, room // 8)):
        lines = _broken(cut(text, allowed), room)
        if len(lines) <= most:
            break
    return "\n".join(lines)


def _broken(text: str, room: int) -> list[str]:
    lines = [""]
    for part in re.findall(r"\s*[^\s_/-]+[_/-]*|\s*[_/-]+", text):
        if width(lines[-1] + part) <= room:
            lines[-1] += part
            continue
        lines.append(part.lstrip())
        while width(lines[-1]) > room:  # a word of more than a line
            size = max(1, next(n for n in range(room, -1, -1) if width(lines[-1][:n]) <= room))
            lines[-1:] = [lines[-1][:size], lines[-1][size:]]
    return [line.strip() for line in lines if line.strip()]
