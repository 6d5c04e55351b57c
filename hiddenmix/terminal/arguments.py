"""Arguments as people type them at a shell, made into what Hydra's grammar reads, or explained."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from hiddenmix.config import GROUPS, MODES, UserError, all_keys, allowed, choices, show, takes_list
from hiddenmix.terminal.hints import nearest_key, network, no_hydra, unknown_flag
from hiddenmix.terminal.signs import as_flags, has_typographic_quotes, plain

_SWEEP = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(.*\)$", re.DOTALL)
_FILES = (*GROUPS, "experiment")
"""Keys that name a file of `conf/`."""

_FREE = ("dataset.outside", "model.arguments")
"""Keys whose values hold free text in braces."""

_NULL = ("dataset.resize", *_FREE)
"""Keys of any type that are null by default."""

_LAYERS = re.compile(
    r"""'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|\brange\([^()]*\)|\$\{[^}]*\}|[^\s,\[\](){}'":=\\]+"""
)
"""In a value of `layer`: what Hydra reads as it is (quotes, a range, `${...}`), and words."""

_LAYER = r"none|input|(conv|pool|fc|layer|stage|block)[.\d]*"
"""What is typed as a layer without its key."""

_COUNTED = ("repeats", "max_repeats", "workers")


def as_hydra_reads(arguments: Sequence[str], command: str = "train") -> list[str]:
    """`arguments` with flags first, and values as Hydra's grammar wants them: a folder `photos (1)`,
    `R&D` or `été` is typed as it is called, and so are `1e3` epochs, `–m` and `“conv1”`.

    Raises `UserError` for an argument that is no `key=value`, or that Hydra could not read.
    """
    flags, overrides = _apart(as_flags(arguments), command)
    if {"-h", "--help"} & set(flags):
        return ["--help"]
    keys = all_keys()
    sweep = bool({"-m", "--multirun"} & set(flags)) or "hydra.mode=MULTIRUN" in overrides
    read = [_override(number, overrides, keys, sweep=sweep) for number in range(len(overrides))]
    return [*flags, *(each for each in read if each is not None)]


def _apart(arguments: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Flags with their values, and overrides: argparse takes these from one side of a flag alone."""
    takes = {
        flag: action for action in get_args_parser()._actions for flag in action.option_strings
    }
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        each = rest.pop(0)
        name, equals, value = each.partition("=" if "=" in each else " ")
        if not name.startswith("-"):
            overrides.append(each)
            continue
        if each == "--":
            continue
        begun = [flag for flag in takes if name.startswith("--") and flag.startswith(name)]
        name = begun[0] if name not in takes and len(begun) == 1 else name
        if name not in takes:
            following = rest[0] if rest and not equals and "=" not in rest[0] else value
            raise unknown_flag(name, following, command, takes)
        flags.append(name + equals + value)
        wants = takes[name].nargs
        optional = wants == "?" and rest and rest[0] in (takes[name].choices or ())
        if not equals and rest and (wants is None or optional):
            flags.append(rest.pop(0))
    return flags, overrides


def _override(
    number: int, overrides: Sequence[str], keys: dict[str, Any], *, sweep: bool
) -> str | None:
    """One of `overrides` as Hydra reads it; None where there is nothing to be overridden."""
    key, equals, value = overrides[number].partition("=")
    key = plain(key).lstrip("\\^`")  # where one shell's long line is pasted into another
    if not key and not equals:
        return None  # such as "$OPTIONS" of a script, of which there are none
    if not key:
        raise UserError(f"={show(value)} has no key\n  see python -m hiddenmix.train --help")
    if value.endswith(",") and "=" not in "".join(overrides[number + 1 : number + 2] or "="):
        raise UserError(_no_value(number + 1, overrides, keys))
    if not equals and not key.startswith("~"):
        raise UserError(_no_value(number, overrides, keys))
    bare = key.lstrip("+~")
    if "@" in key or (key.startswith("~") and (bare in keys or bare.split(".")[0] in GROUPS)):
        meant = bare.split("@")[0]
        value = value or "<value>"
        raise UserError(f"{show(key)} is not allowed\n  allowed: {show(meant)}={show(value)}")
    if bare in keys or bare in _FILES:
        key = bare if not key.startswith("~") else key
    if key == "experiment" and value.lower() in ("", "null", "none"):
        return None
    if not bare.startswith("hydra") and re.search(r"\$\{\s*hydra[.:]", value):
        raise UserError(no_hydra(key))
    hint = keys.get(key)
    if hint in (str, str | None) and not choices(key):
        if "." in key or sweep or "," not in value:  # no name or device has a comma
            value = _text(value, optional=hint is not str, sweep=sweep)
    else:
        value = _other(key, value, hint, overrides[number])
    text = f"{key}={value}" if equals else key
    if _parses(text):
        _check_glob(key, value)
        return text
    if key in _FREE and (quoted := _quoted_inside(value)) and _parses(f"{key}={quoted}"):
        return f"{key}={quoted}"
    raise UserError(_unreadable(key, value))


def _parses(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def _text(value: str, *, optional: bool, sweep: bool) -> str:
    """A value of free text, quoted unless it is Hydra's own already."""
    if value == "" or (optional and (value.lower() == "null" or value == "None")):
        return value and "null"
    own = (value[0] in ("'", '"') and _parses(f"key={value}")) or "${" in value
    if own or (sweep and _SWEEP.match(value)):
        return value
    parts = re.split(r"(?<!\\),", value) if sweep else [value]
    texts = (each.replace("\\,", ",") if sweep else each for each in parts)
    return ",".join(each if _is_word(each) else quoted_text(each) for each in texts)


def _is_word(text: str) -> bool:
    """Whether it is a text to Hydra without quotes, which messages and lists of jobs then show."""
    own = ("null", "none", "true", "false", "nan", "inf")
    return re.fullmatch("[A-Za-z]+[0-9]*", text) is not None and text.lower() not in own


def _other(key: str, value: str, hint: Any, typed: str) -> str:
    """A value that is no free text, in a shell's own signs; of whole numbers also 1e3 and 10.0."""
    if key not in _FREE and not key.startswith("hydra"):
        value = plain(value)
    if value == "None" and (key in _NULL or type(None) in getattr(hint, "__args__", ())):
        value = "null"
    if hint in (int, int | None) or key in _COUNTED:
        value = re.sub(
            r"(?<![\w.+-])\+?\d[\d_]*(\.\d*([eE]\+?\d)?|[eE]\+?\d)(?![\w.])", _whole, value
        )
    if key == "layer":
        value = _LAYERS.sub(lambda found: _layer_name(found.group()), _listed(value))
    if key in GROUPS and value.startswith("[") and "," in value:
        inside = value.strip("[]")
        raise UserError(f"{show(typed)} is not allowed\n  one of them, or -m {key}={show(inside)}")
    return value


def _listed(value: str) -> str:
    """`choice(a,b)` as `a,b`, which is the same but that Hydra keeps quotes in it."""
    found = re.fullmatch(r"choice\(([^()]+)\)", value)
    return found.group(1) if found and "," in re.sub(r"\[.*?\]", "", found.group(1)) else value


def _layer_name(word: str) -> str:
    """A word of a value of `layer`, quoted where Hydra would not read it as a text: a layer of
    nn.Sequential is called by its number, and `1.10` is no decimal fraction there."""
    own = word[0] in "'\"$" or word.startswith("range(")
    number = re.fullmatch(r"\d+(\.\d+)*", word)
    return quoted_text(word) if not own and (number or not word.isascii()) else word


def layer_text(name: str) -> str:
    """A layer's name as it is typed behind `layer=`."""
    return name if re.fullmatch(r"[A-Za-z_][\w./-]*", name, re.ASCII) else quoted_text(name)


def _whole(found: re.Match[str]) -> str:
    number = Decimal(found.group().rstrip("."))
    return str(int(number)) if number == int(number) else found.group()


def _quoted_inside(value: str) -> str | None:
    """`{a: b c}` with its values quoted."""
    if not (inside := re.fullmatch(r"\{(.*)\}", value)):
        return None
    pairs = [each.partition(":") for each in inside.group(1).split(",")]
    return "{" + ",".join(f"{k.strip()}:{quoted_text(v.strip(' '))}" for k, _, v in pairs) + "}"


def _check_glob(key: str, value: str) -> None:
    if re.search(r"\bglob\(", value) and key not in _FILES and not key.startswith("hydra"):
        raise UserError(
            f"{show(key)}={show(value)} is not allowed: glob(...) finds files of conf/ alone\n"
            f"  write the values, {show(key)}=<one>,<two>"
        )


def quoted_text(text: str) -> str:
    # Hydra's grammar: within quotes a backslash stands for itself, but before a quote.
    escaped = re.sub(r"(\\*)'", lambda found: found.group(1) * 2 + r"\'", text)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def _no_value(number: int, overrides: Sequence[str], keys: dict[str, Any]) -> str:
    argument = overrides[number]
    head = f"{show(argument)} is no key=value"
    before = overrides[number - 1] if number else ""
    if plain(argument).lower() in ("help", "version", "?", "/?", "/h"):
        word = "version" if plain(argument).lower() == "version" else "help"
        return f"{head}\n  write --{word}"
    if any(has_typographic_quotes(each) for each in (before, argument)):
        return (
            f"{head}\n  the shell takes “ ” ‘ ’ for letters: type \" or ' around the whole argument"
        )
    if "=" in before and (before.endswith(",") or argument.startswith(",")):
        return f"{head}\n  write {show(before + argument)}, without spaces around the comma"
    key, colon, value = argument.partition(":")
    if colon and plain(key) in (*keys, *_FILES):
        return f"{head}\n  write {show(plain(key))}={show(value.lstrip('=') or '<value>')}"
    if found := network(argument):
        return f"{head}\n  write {found}"
    if re.fullmatch(r"[^=]+=", before):
        return f"{head}\n  write {show(before + argument)}, without spaces around ="
    around = [*overrides[max(number - 1, 0) : number + 3], "", ""]
    joined = "".join(around) if "=" in around else f"{argument}=<value>"
    if "=" in before and "=" not in around:
        return f"{head}\n  with a space in the value write {show(repr(f'{before} {argument}'))}"
    if "=" not in around and argument in MODES:
        joined = f"mode={argument}"
    elif "=" not in around and re.fullmatch(_LAYER, argument):
        joined = f"layer={argument}"
    return f"{head}\n  write {show(joined)}, without spaces around ="


def _unreadable(key: str, value: str) -> str:
    head = f"{show(key)}={show(value)} is not understood"
    pairs = {"bracket": ("[", "]"), "brace": ("{", "}"), "parenthesis": ("(", ")")}
    for what, (opening, closing) in pairs.items():
        if value.count(opening) != value.count(closing):
            head = f"{show(key)}={show(value)} has a {what} that is not closed or not opened"
    for text in _repaired(key, value):
        if _parses(f"{key}={text}"):
            return f"{head}\n  write {show(key)}={show(text)}"
    known = key if key in all_keys() else nearest_key(key)
    if known is None:
        return f"{head}\n  see python -m hiddenmix.train --help"
    if known != key:
        return f"{head}\n  did you mean {known}=<value>?"
    return f"{head}\n  allowed: {allowed(key)}"


def _repaired(key: str, value: str) -> Iterator[str]:
    """What a value that Hydra cannot read may have been meant to be."""
    bare = value.strip(" =").strip(",")
    yield bare
    for opening, closing in ("[]", "{}"):
        if bare.count(opening) > bare.count(closing):
            yield bare + closing
        if bare.count(opening) < bare.count(closing):
            yield opening + bare
    inside = bare.strip("(){}[] ,;").replace(";", ",")
    if "," in inside:
        yield f"[{inside}]" if takes_list(key) else inside


def decimal_commas(arguments: Sequence[str]) -> list[str]:
    """A line for each fraction that may have been meant by two values: `alpha=1,5` of a sweep."""
    keys = all_keys()
    notes = []
    for each in as_flags(arguments):
        key, _, value = each.partition("=")
        if found := re.fullmatch(r"(\d+),(\d+)", value):
            first, second = found.groups()
            if keys.get(plain(key).lstrip("+")) in (float, float | None):
                fraction = f"{show(key)}={first}.{second}"
                notes.append(
                    f"{show(each)} are two values, {first} and {second}; a fraction is {fraction}"
                )
    return notes


def given_twice(arguments: Sequence[str]) -> list[str]:
    """A line for each key that was given several values: the last one counts."""
    found: dict[str, str] = {}
    notes = []
    for each in as_flags(arguments):
        key, equals, value = each.partition("=")
        key = plain(key).lstrip("+")
        if not equals or key.startswith(("-", "hydra.")) or value.startswith("{"):
            continue
        if key in found and found[key] != value:
            notes.append(
                f"{show(key)} is given twice: {show(value)} is taken, {show(found[key])} is not "
                f"(both: {show(key)}={show(found[key])},{show(value)} with -m)"
            )
        found[key] = value
    return notes
