"""What a tuning searches: keys and the values that each may take, as a Hydra sweep writes them.

A list (`layer=conv1,conv2`) or `choice(...)` is a choice; `interval(low,high)` any number between, and
`tag(log,interval(low,high))` on a log scale, for which `log(low,high)` is short; `range(...)` its steps.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hiddenmix.config.allowed_values import allowed
from hiddenmix.config.errors import UserError, show
from hiddenmix.config.key_types import all_keys


@dataclass(frozen=True)
class Choice:
    """One of so many values."""

    values: tuple[str, ...]
    """As they are typed behind `key=`."""

    def __str__(self) -> str:
        return ",".join(self.values)

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are whole."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    """From `low` on; None is any number, or any whole one."""

    def __str__(self) -> str:
        low, high = f"{self.low:.6g}", f"{self.high:.6g}"
        if self.log:
            return f"log({low},{high})"
        return (
            f"interval({low},{high})" if self.step is None else f"{low} to {high} by {self.step:g}"
        )

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """How many numbers it holds; infinite for an interval."""
        step = 1 if self.whole and self.step is None else self.step
        return math.inf if step is None else 1 + round((self.high - self.low) / step)

    @property
    def ends(self) -> tuple[str, ...]:
        """The lowest and the highest number, as they are typed."""
        return (repr(self.low), repr(self.high))


Space = dict[str, Choice | Range]
"""What is searched, by key."""

_LOG = re.compile(r"(log|log_?uniform|uniform)\((.*)\)", re.DOTALL)
"""Short for Hydra's own form; the longer ones are what other programs call it."""


def without_log(overrides: Sequence[str]) -> list[str]:
    """`overrides` with `log(low,high)` written as Hydra's own grammar has it.

    Raises `UserError` for one without two numbers.
    """
    found = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not (short := _LOG.fullmatch(value.strip())):
            found.append(key + equals + value)
            continue
        name, inside = short.groups()
        if inside.count(",") != 1:
            raise _refused(key, value)
        interval = f"interval({inside})"
        found.append(f"{key}={interval if name == 'uniform' else f'tag(log,{interval})'}")
    return found


def read_space(overrides: Sequence[str]) -> tuple[list[str], Space]:
    """The overrides that give a key one value, and the space of those that give it several.

    In Hydra's grammar (`without_log`). Raises `UserError`, and what Hydra raises.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    fixed: list[str] = []
    space: Space = {}
    seen: set[str] = set()
    for text, each in zip(
        overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True
    ):
        key, value = each.key_or_group, text.partition("=")[2]
        if key in seen and (key in space or each.is_sweep_override()):
            raise UserError(f"{show(key)} is given twice\n  one of them is to be left out")
        seen.add(key)
        if not each.is_sweep_override():
            fixed.append(text)
            continue
        if each.type is not OverrideType.CHANGE or each.package is not None:
            raise UserError(f"{show(text)} is not allowed\n  allowed: {show(key)}={show(value)}")
        found = each.value()
        shuffled = getattr(found, "shuffle", False)
        if each.is_interval_sweep() or (each.is_range_sweep() and not shuffled):
            space[key] = _range(key, value, found)
            continue
        try:
            space[key] = Choice(tuple(dict.fromkeys(each.sweep_string_iterator())))
        except HydraException:  # glob(...), which has nothing to choose among
            raise _refused(key, value) from None
    return fixed, space


def _range(key: str, text: str, found: object) -> Range:
    low, tags = found.start, {str(tag) for tag in found.tags}  # type: ignore[attr-defined]
    step = getattr(found, "step", None)
    if step is None:
        high = found.end  # type: ignore[attr-defined]
    else:
        # As Python's, it stops before its end.
        count = math.ceil((found.stop - low) / step) if step else 0  # type: ignore[attr-defined]
        high = low + (count - 1) * step
        low, high, step = min(low, high), max(low, high), abs(step)
        if count < 1:
            raise _refused(key, text)
    log = "log" in tags
    numbers = all(isinstance(each, (int, float)) and math.isfinite(each) for each in (low, high))
    if tags - {"log"} or not numbers or low > high or (log and (low <= 0 or step is not None)):
        raise _refused(key, text)
    if _is_whole(key) and step is None:
        if not (float(low).is_integer() and float(high).is_integer()):
            raise UserError(
                f"{key}={show(_short(text))} has no whole ends\n  allowed: {allowed(key)}"
            )
        low, high = int(low), int(high)  # Hydra makes fractions of them
    return Range(low, high, log, step)


def _is_whole(key: str) -> bool:
    return key == "mode" or all_keys().get(key) in (int, int | None)


def _short(text: str) -> str:
    return re.sub(r"tag\(log,\s*interval\((.*)\)\)", r"log(\1)", text)


def _refused(key: str, text: str) -> UserError:
    return UserError(
        f"{key}={show(_short(text))} cannot be searched\n"
        "  allowed: a,b,c; interval(low,high); log(low,high) with low above 0; range(start,stop,step)"
    )
