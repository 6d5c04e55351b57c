"""Arguments as people type them at a shell, made into what Hydra's grammar reads, or explained."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from hiddenmix.config import GROUPS, Config, UserError, choices, show

_SWEEP = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(.*\)$", re.DOTALL)

# A layer of nn.Sequential is called by its number, and `1.10` is no decimal fraction there.
_NUMBERS = re.compile(r"""(?<![\w.'"-])\d+(\.\d+)*(?![\w.'"])""")


def _all_keys() -> dict[str, Any]:
    """Every key of the configuration with its type."""
    found: dict[str, Any] = dict(get_type_hints(Config))
    for group, kinds in GROUPS.items():
        for kind in kinds:
            found |= {f"{group}.{key}": hint for key, hint in get_type_hints(kind).items()}
    return found


def as_hydra_reads(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the values of keys that hold text quoted as Hydra's grammar wants it: a folder
    `photos (1)`, `R&D` or `été` is typed as it is called.

    Raises `UserError` for an argument that is no `key=value`, or that Hydra could not read.
    """
    texts = {
        key
        for key, hint in _all_keys().items()
        if hint in (str, str | None) and "." in key and not choices(key)
    }
    sweep = any(each in ("-m", "--multirun") for each in arguments)
    parser = OverridesParser.create()
    read = []
    for number, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if argument.startswith("-"):
            read.append(argument)
            continue
        if not equals and not argument.startswith("~"):
            if number and arguments[number - 1].startswith("-"):
                read.append(argument)  # the value of a flag, such as --config-dir FOLDER
                continue
            around = [*arguments[max(number - 1, 0) : number + 3], "", ""]
            joined = "".join(around) if "=" in around else f"{argument}=<value>"
            raise UserError(
                f"{show(argument)} is no key=value\n  write {show(joined)}, without spaces around ="
            )
        text = f"{key}={_quoted(value, sweep=sweep)}" if key in texts else argument
        if key == "layer":
            text = "layer=" + _NUMBERS.sub(r"'\g<0>'", value)
        try:
            parser.parse_override(text)
        except HydraException:
            raise UserError(_unreadable(key, value)) from None
        read.append(text)
    return read


def _quoted(value: str, *, sweep: bool) -> str:
    own = value[:1] in ("'", '"') or "${" in value or value in ("", "null")
    if own or (sweep and _SWEEP.match(value)):
        return value
    parts = value.split(",") if sweep else [value]
    return ",".join(quoted_text(each) for each in parts)


def quoted_text(text: str) -> str:
    # Hydra's grammar: within quotes a backslash stands for itself, but before a quote.
    escaped = re.sub(r"(\\*)'", lambda found: found.group(1) * 2 + r"\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def _unreadable(key: str, value: str) -> str:
    pairs = {"bracket": ("[", "]"), "brace": ("{", "}"), "parenthesis": ("(", ")")}
    for what, (opening, closing) in pairs.items():
        if value.count(opening) != value.count(closing):
            return (
                f"{show(key)}={show(value)} has a {what} that is not closed or not opened\n"
                f"  one text with {opening} in it is written {show(key)}="
                f"{show(quoted_text(value))} within the shell's own quotes"
            )
    return (
        f"{show(key)}={show(value)} is not understood\n"
        f'  one text is written "{show(key)}={show(quoted_text(value))}", a list {show(key)}=[a,b]'
    )


def nearest(key: str, known: Iterable[str] | None = None) -> str:
    """`; did you mean ...?` where a key of the configuration is called nearly so, else nothing."""
    keys = list(known or _all_keys())
    last = key.rsplit(".", maxsplit=1)[-1]
    same = [each for each in keys if each.rsplit(".", maxsplit=1)[-1] == last]
    alike = difflib.get_close_matches(key, keys, 1, 0.75)
    ends = {each.rsplit(".", maxsplit=1)[-1]: each for each in reversed(keys)}
    alike += [ends[each] for each in difflib.get_close_matches(last, ends, 1, 0.75)]
    found = (same + alike)[:1]
    return f"; did you mean {found[0]}?" if found and found[0] != key else ""
