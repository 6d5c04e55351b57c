"""A user's mistake in words, and how values and counts are shown in them."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

_TOLD = 10
"""So many wrong values of one configuration are told."""


class UserError(Exception):
    """A user's mistake. Its text, at most two lines, is all that the user sees; never a traceback."""


class ConfigError(UserError):
    """A configuration value that is not allowed: names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self._parts = (key, value, allowed)
        super().__init__(f"{key}={show(value)} is not allowed\n  allowed: {allowed}")

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, object, str]]:
        return ConfigError, self._parts  # it comes back from a launcher's workers as it left


class WrongValuesError(UserError):
    """Several values that are not allowed, two lines each."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        lines = [str(each) for each in self.errors[:_TOLD]]
        left = len(self.errors) - len(lines)
        super().__init__("\n".join([*lines, *([f"and {left} more"] if left else [])]))

    def __reduce__(self) -> tuple[type["WrongValuesError"], tuple[tuple[ConfigError, ...]]]:
        return WrongValuesError, (self.errors,)

    def as_typed(self, keys: Sequence[str]) -> "WrongValuesError":
        """The same in the order of `keys`; of those that are none of them, at the end."""
        place = {key: number for number, key in reversed(list(enumerate(keys)))}
        return WrongValuesError(
            sorted(self.errors, key=lambda each: place.get(each.key, len(keys)))
        )


def refuse(errors: Iterable[ConfigError]) -> None:
    """Raise those of `errors` that differ, if there are any: one as it is, or `WrongValuesError`."""
    different = list({str(each): each for each in errors}.values())
    if len(different) > 1:
        raise WrongValuesError(different)
    if different:
        raise different[0]


def show(value: object) -> str:
    """A value as the user would type it on the command line, on one line of at most 80 characters; of a
    longer path its end, which tells it from others."""
    if isinstance(value, (list, tuple)):
        text = "[" + ",".join(show(item) for item in value) + "]"
    elif isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        text = str(value)
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    if len(text) <= 80:
        return text
    return f"...{text[-77:]}" if isinstance(value, PurePath) else f"{text[:77]}..."


def counted(number: int, noun: str) -> str:
    """`1 network`, `2 networks`, `1,234 classes`; of `noun`'s last word, in the singular."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
