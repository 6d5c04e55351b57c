"""The type of each key: what the command line makes of its values, made of Python's values too."""

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hiddenmix.config.schema import GROUPS, Config


def all_keys() -> dict[str, Any]:
    """Every key of the configuration with its type, whatever is chosen of each group."""
    found: dict[str, Any] = dict(get_type_hints(Config))
    for group, kinds in GROUPS.items():
        for kind in kinds:
            found |= {f"{group}.{key}": hint for key, hint in get_type_hints(kind).items()}
    return found


def typed_values(config: Config) -> Iterator[tuple[str, Any, Any]]:
    """Each key of `config` with its value and type; a group that is none of its own has no keys."""
    for key, hint in get_type_hints(type(config)).items():
        node = getattr(config, key)
        if key not in GROUPS:
            yield key, node, hint
        elif isinstance(node, GROUPS[key]):
            for name, inner in get_type_hints(type(node)).items():
                yield f"{key}.{name}", getattr(node, name), inner


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: no fraction is a whole number, no number and no text a switch."""
    if isinstance(hint, UnionType):
        return any(fits(value, each) for each in get_args(hint))
    if get_origin(hint) is list:
        [inner] = get_args(hint)
        return isinstance(value, list) and all(fits(each, inner) for each in value)
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, bool):
        return type(value) is hint
    return hint is Any or isinstance(value, hint)


def normalised(config: Config) -> Config:
    """`config` with values of the types that the command line gives them, so that a network has the same
    identity from Python: a number of the key's type where nothing is lost by it, NumPy's included, a
    list for a tuple, a text for a path. What is of a wrong type stays, for `check`."""
    changed: Config = _normalised(config)
    return replace(changed, layer=_layer(config.layer))


def _layer(value: Any) -> Any:
    """A layer of nn.Sequential is called by its number; a fraction may be `1.10`, whose text is lost."""
    if isinstance(value, (list, tuple)):
        return [_layer(each) for each in value]
    return str(value) if _is_whole(value) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _normalised(node: Any) -> Any:
    hints = get_type_hints(type(node))
    values = {field.name: getattr(node, field.name) for field in fields(node)}
    return replace(node, **{key: _as(value, hints[key]) for key, value in values.items()})


def _as(value: Any, hint: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _normalised(value)
    if isinstance(value, (list, tuple)) and (hint is Any or get_origin(hint) is list):
        [inner] = get_args(hint) or [Any]
        return [_as(each, inner) for each in value]
    if isinstance(value, dict):
        # Names, as 0 is one in {0: photos}, which Hydra and YAML read as a number.
        return {
            str(key) if _is_whole(key) else key: os.fspath(each) if _is_path(each) else each
            for key, each in value.items()
        }
    kinds = get_args(hint) or (hint,)
    if _is_path(value) and str in kinds:
        return os.fspath(value)
    return _number(value, kinds) if isinstance(value, Real) else value


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike)


def _number(value: Real, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, bool):
        return value
    number: int | float
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
        if float in kinds:
            return float(number)
    except OverflowError:  # beyond what any key allows
        return value
    whole = isinstance(number, float) and number.is_integer() and (int in kinds or Any in kinds)
    return int(number) if whole else number
