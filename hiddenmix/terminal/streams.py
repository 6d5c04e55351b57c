"""Standard streams of any encoding: what one cannot write is written in its like, and is no error."""

import codecs
import sys

_ALIKE = {
    **{
        "−": "-",
        "–": "-",
        "—": "-",
        "─": "-",
        "━": "-",
        "±": "+/-",
        "×": "x",
        "→": "->",
        "…": "...",
    },
    **{"α": "a", "λ": "l", "’": "'"},
}
"""What the program itself prints beyond ASCII; a number must not lose its minus."""

_NAME = "hiddenmix"


def write_any_text() -> None:
    """Have stdout and stderr write every text, whatever their encoding (PYTHONIOENCODING, LC_ALL=C).

    Letters without a like become `\\u65e5`, so that two names never look the same.
    """
    codecs.register_error(_NAME, _substitute)
    for stream in (sys.stdout, sys.stderr):
        # Another program's stream in their place may have no such method.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors=_NAME)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    text = "".join(
        _ALIKE.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lost
    )
    return text, error.end
