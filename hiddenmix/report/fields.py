"""The fields of one result file, each checked: a wrong one is named, never guessed."""

import json
import math
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hiddenmix.config import show
from hiddenmix.terminal import clean

FORMAT = 2
"""The version of result.json that this code reads."""

COLUMNS = (
    *(
        "cell",
        "setting",
        "baseline",
        "two_images",
        "plain",
        "dataset",
        "title",
        "model",
        "layer",
        "mode",
    ),
    *("alpha", "seed", "epochs", "parameters", "train_size", "test_size"),
    *("accuracy", "balanced_accuracy", "nll", "ece", "loss", "seconds", "images_per_second"),
    *("validation_accuracy", "validation_nll", "class_right", "class_count"),
    *("shift", "shift_nll", "adversarial", "outside", "outside_nll", "evaluated", "calibration"),
    *("layers", "disguised", "bypassed", "digest", "leaks", "classes", "predictions"),
    *("environment", "config", "command"),
)
"""Columns of `Study.cells`: result.json's fields, `test`, `train`, `validation` and `data` unfolded.
Accuracies are fractions; `shift`, `shift_nll`, `adversarial`, `outside` and `outside_nll` map a
condition's name to a number; `class_right` and `class_count` are counts of test images by class;
`layers` names all that the network executes, in that order (empty in results of earlier versions)."""

_LARGEST = 64 * 1024 * 1024  # bytes; a result file of more is none of ours


class UnusableError(Exception):
    """A file that cannot be used; its text says why."""


def reason(error: Exception) -> str:
    return clean(getattr(error, "strerror", None) or error)


def read_text(path: Path) -> str | None:
    """The text of a regular file, None where there is none; `UnusableError` if unreadable."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError(f"{path.name} is not a regular file")
        if status.st_size > _LARGEST:
            raise UnusableError(f"{path.name} has {status.st_size} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path.is_symlink():
            raise UnusableError(f"{path.name} is a link to nothing") from None
        return None
    except OSError as error:
        raise UnusableError(f"{path.name} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise UnusableError(f"{path.name} is not UTF-8 text") from None


def read_object(path: Path) -> dict[str, Any] | None:
    text = read_text(path)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: a deep nest of brackets
        state = "empty" if not text.strip() else "half-written or no JSON"
        raise UnusableError(f"{path.name} is {state}") from None
    if not isinstance(found, dict):
        raise UnusableError(f"{path.name} holds no JSON object")
    return found


def finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def _get(found: Mapping[str, Any], key: str) -> Any:
    node: Any = found
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise UnusableError(f"result.json lacks {key}")
        node = node[part]
    return node


def _string(found: Mapping[str, Any], key: str, optional: bool = False) -> str | None:
    value = found.get(key) if optional else _get(found, key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value:
        raise UnusableError(f"result.json: {key}={show(value)} is not a text")
    return clean(value)


def _number(found: Mapping[str, Any], key: str, highest: float = math.inf) -> float:
    value = _get(found, key)
    if not finite(value) or not (-math.inf if key == "train.loss" else 0) <= value <= highest:
        raise UnusableError(f"result.json: {key}={show(value)} is not an allowed number")
    return float(value)


def _whole(found: Mapping[str, Any], key: str) -> int:
    value = _get(found, key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise UnusableError(f"result.json: {key}={show(value)} is not a whole number")
    return value


def usable(found: dict[str, Any], cell: str) -> bool:
    """Whether a report can use the result of that `cell`: what it cannot use counts as not trained."""
    try:
        _required(found, cell)
    except UnusableError:
        return False
    return True


def _required(found: dict[str, Any], folder: str) -> dict[str, Any]:
    """Those of `COLUMNS` without which a result is none. Raises `UnusableError`."""
    version = found.get("format")
    if version != FORMAT or isinstance(version, bool):
        raise UnusableError(f"result.json has format {show(version)}; this version reads {FORMAT}")
    if found.get("status") != "done":
        raise UnusableError(f"result.json has status {show(found.get('status'))}, not done")
    if found.get("cell") != folder:
        raise UnusableError(f"result.json belongs to the cell {show(found.get('cell'))}")
    alpha = found.get("alpha")
    if alpha is not None and (not finite(alpha) or alpha <= 0):
        raise UnusableError(f"result.json: alpha={show(alpha)} is not a positive number")
    texts = ("cell", "setting", "plain", "dataset", "model", "layer")
    return {
        **{key: _string(found, key) for key in texts},
        **{key: _string(found, key, True) for key in ("baseline", "two_images", "mode", "command")},
        "title": _string(found, "title", True) or _string(found, "dataset"),
        "alpha": None if alpha is None else float(alpha),
        **{key: _whole(found, key) for key in ("seed", "epochs", "parameters")},
        **{key: _whole(found, key) for key in ("train_size", "test_size")},
        "accuracy": _number(found, "test.accuracy", 1),
        "nll": _number(found, "test.nll"),
        "ece": _number(found, "test.ece", 1),
        "balanced_accuracy": _number(found, "test.balanced_accuracy", 1),
        **{f"class_{key}": _counts(found, f"test.class_{key}") for key in ("right", "count")},
        **{
            f"validation_{key}": _number(found, f"validation.{key}", highest)
            if "validation" in found
            else None
            for key, highest in (("accuracy", 1), ("nll", math.inf))
        },
        **{key: _number(found, f"train.{key}") for key in ("loss", "seconds", "images_per_second")},
        "digest": _string(found, "data.digest"),
        "predictions": _string(found, "predictions", True),
        **{key: _object(found, key) for key in ("environment", "config")},
    }


def cell_row(found: dict[str, Any], folder: str, problems: list[str]) -> dict[str, Any]:
    """`COLUMNS` of a cell's result; `problems` gets what was left out. Raises `UnusableError`."""
    row = _required(found, folder) | {
        "shift": _conditions(found, "shift", "accuracy", 1, problems),
        "shift_nll": _conditions(found, "shift", "nll", math.inf, problems),
        "adversarial": _conditions(found, "adversarial", "accuracy", 1, problems),
        "outside": _conditions(found, "outside", "accuracy", 1, problems),
        "outside_nll": _conditions(found, "outside", "nll", math.inf, problems),
        "evaluated": mapping(found.get("evaluated")),
        "layers": _layers(found.get("layers"), folder, problems),
        "disguised": _texts(found.get("disguised")),
        "bypassed": _texts(list(mapping(found.get("bypassed")))),
        "leaks": {
            clean(key): int(value)
            for key, value in mapping(found["data"].get("leaks")).items()
            if finite(value)
        },
        "classes": _texts(found["data"].get("classes")),
        "calibration": _bins(found.get("calibration"), folder, problems),
    }
    assert set(row) == set(COLUMNS)
    return row


def _object(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = _get(found, key)
    if not isinstance(value, dict):
        raise UnusableError(f"result.json: {key} is no JSON object")
    return value


def _counts(found: Mapping[str, Any], key: str) -> list[int]:
    values = _get(found, key)
    if not isinstance(values, list) or not all(finite(each) and each >= 0 for each in values):
        raise UnusableError(f"result.json: {key} is no list of counts")
    return [int(each) for each in values]


def _texts(value: object) -> list[str]:
    return [clean(each) for each in value] if isinstance(value, list) else []


def _layers(found: object, where: str, problems: list[str]) -> tuple[str, ...]:
    if found is None:  # a result of an earlier version
        return ()
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return _cleaned(tuple(found))
    problems.append(f"{where}: layers was left out, not a list of names")
    return ()


@cache  # a large network has hundreds, and all its cells the same
def _cleaned(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(clean, names))


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The keys of a nested configuration as they are typed, `optimizer.lr`, with their values."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, dict)
        found |= leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _conditions(
    found: Mapping[str, Any], kind: str, key: str, highest: float, problems: list[str]
) -> dict[str, float]:
    """Condition -> number, of a `kind` of conditions, `key` naming the number where there are several
    for a condition."""
    numbers: dict[str, float] = {}
    conditions, where = found.get(kind), found["cell"]
    # Every kind has accuracies, with which it is said; the nll came later.
    if conditions is not None and not isinstance(conditions, dict) and key != "nll":
        problems.append(f"{where}: {kind} is no JSON object and was left out")
    for name, value in mapping(conditions).items():
        number: Any = mapping(value).get(key)
        if finite(number) and 0 <= number <= highest:
            numbers[clean(name)] = float(number)
        elif number is not None or key != "nll":
            problems.append(f"{where}: {clean(name)}={show(number)} was left out, a wrong number")
    return numbers


def _bins(found: object, where: str, problems: list[str]) -> dict[str, list[float]] | None:
    """The reliability bins as three lists of one length, or None. Empty bins may hold null."""
    if found is None:
        return None
    lists: list[Any] = [mapping(found).get(key) for key in ("confidence", "accuracy", "count")]
    if (
        all(isinstance(values, list) for values in lists)
        and len({len(part) for part in lists}) == 1
    ):
        numbers = [[float(value) if finite(value) else 0.0 for value in part] for part in lists]
        if min(map(min, numbers), default=0) >= 0:
            return dict(zip(("confidence", "accuracy", "count"), numbers, strict=True))
    problems.append(f"{where}: calibration was left out, not three lists of one length")
    return None
