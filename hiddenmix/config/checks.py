"""Whether a configuration's values are allowed: refused by name before any data is loaded. Imports no
torch."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from hiddenmix.config.allowed_values import AUTO, CHOICES, LISTS, RANGES, TEXTS, allowed
from hiddenmix.config.errors import ConfigError, refuse, show
from hiddenmix.config.key_types import fits, typed_values
from hiddenmix.config.modes import MODES, is_mode
from hiddenmix.config.schema import GROUPS, TRACKERS, Config, SgdConfig, layers, seeds, trackers


def check(config: Config) -> None:
    """Raise `ConfigError` for a value that is not allowed, `WrongValuesError` for several.

    Reads no data.
    """
    refuse(_mistakes(config))


def _mistakes(config: Config) -> list[ConfigError]:
    found = list(_wrong_types(config))
    wrong = {each.key for each in found}
    values = {key: value for key, value, _ in typed_values(config) if key not in wrong}
    found += _wrong_values(values)
    for keys, rule in _RULES:
        # What a mistake in another key has spoiled is not judged.
        known = {*values} - {each.key for each in found}
        if known.issuperset(keys) and (mistake := rule(config)):
            found.append(mistake)
    return found


def _wrong_types(config: Config) -> Iterator[ConfigError]:
    for group, kinds in GROUPS.items():
        node = getattr(config, group)
        if not isinstance(node, kinds):
            yield ConfigError(group, node, "a " + " or ".join(each.__name__ for each in kinds))
    for key, value, hint in typed_values(config):
        if not fits(value, hint):
            several = key in LISTS and not isinstance(value, list)
            shown = repr(value) if isinstance(value, str) else value  # "false" is no false
            yield ConfigError(key, shown, "a list, each " * several + allowed(key))


def _wrong_values(values: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Of keys whose values are judged alone; NaN is within no bounds."""
    for key, value in values.items():
        numbers = value if isinstance(value, list) else [value]
        low, high, inclusive = RANGES.get(key, (0, 0, True))
        if key in CHOICES:
            wrong = value not in CHOICES[key]
        elif key in AUTO and type(value) is not int:
            wrong = value != "auto"
        elif key in RANGES:
            wrong = not all(
                number is None or low < number <= high or (inclusive and number == low)
                for number in numbers
            )
        else:
            wrong = key in TEXTS and value is not None and not _is_text(value)
        if wrong:
            yield ConfigError(key, value, allowed(key))


def _is_text(text: str) -> bool:
    return 0 < len(text) <= 4096 and "\0" not in text


def _mode(config: Config) -> ConfigError | None:
    if is_mode(config.mode):
        return None
    near = get_close_matches(config.mode, MODES, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return ConfigError("mode", config.mode, allowed("mode") + meant)


def _compile(config: Config) -> ConfigError | None:
    if config.compile == "auto" or isinstance(config.compile, bool):
        return None
    return ConfigError("compile", config.compile, allowed("compile"))


def _tracker(config: Config) -> ConfigError | None:
    named = trackers(config)
    if all(name in TRACKERS for name in named) and len(set(named)) == len(named):
        return None
    return ConfigError("tracker", config.tracker, allowed("tracker"))


def _device(config: Config) -> ConfigError | None:
    if re.fullmatch(r"auto|cpu|[a-z][a-z0-9]*(:\d{1,3})?", config.device):
        return None
    return ConfigError("device", config.device, allowed("device"))


def _study(config: Config) -> ConfigError | None:
    """A folder's name of letters of any script, which no path hides in."""
    text, marks = config.study, ("Mn", "Mc")
    fine = all(s.isalnum() or s in "._-" or unicodedata.category(s) in marks for s in text)
    short = len(text) <= 100 and len(os.fsencode(text)) <= 240
    if text and text[0].isalnum() and fine and short:
        return None
    return ConfigError("study", text, allowed("study"))


def _auto(config: Config) -> ConfigError | None:
    if config.repeats == "auto" and not config.baseline:
        return ConfigError("baseline", False, "true with repeats=auto")
    return None


def _seeds(config: Config) -> ConfigError | None:
    if seeds(config)[-1] > RANGES["seed"][1]:
        return ConfigError("repeats", config.repeats, "seed + repeats below 2**32")
    return None


def _resize(config: Config) -> ConfigError | None:
    resize = config.dataset.resize
    sides = resize if isinstance(resize, list) else [resize, resize]
    whole = all(type(side) is int and 8 <= side <= 4096 for side in sides)
    if resize is None or (whole and len(sides) == 2):
        return None
    return ConfigError("dataset.resize", resize, allowed("dataset.resize"))


def _resample(config: Config) -> ConfigError | None:
    if config.dataset.resample and config.dataset.train_size is None:
        return ConfigError("dataset.resample", True, "true with dataset.train_size=<images a seed>")
    return None


def _outside(config: Config) -> ConfigError | None:
    sets = config.dataset.outside
    if sets is None:
        return None
    if not isinstance(sets, dict) or not all(isinstance(path, str) for path in sets.values()):
        return ConfigError("dataset.outside", sets, allowed("dataset.outside"))
    for name in sets:
        if not isinstance(name, str):  # such as 1.10, of which the text is lost
            rule = "names that are read as texts, such as {far_1.10: my_other_photos}"
            return ConfigError("dataset.outside", name, rule)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", name):
            rule = "names of at most 50 letters, digits, '.', '_', '-', the first a letter or digit"
            return ConfigError("dataset.outside", name, rule)
    return None


def _full(config: Config) -> ConfigError | None:
    if config.dataset.outside and config.evaluation != "full":
        return ConfigError("evaluation", config.evaluation, "full with dataset.outside")
    return None


def _layer(config: Config) -> ConfigError | None:
    """A module may have any name without a dot; which ones the network has is judged elsewhere."""
    names = layers(config)
    if not names or not all(
        isinstance(name, str) and name.isprintable() and all(name.split(".")) for name in names
    ):
        return ConfigError("layer", config.layer, allowed("layer"))
    if len(names) > 1 and "none" in names:
        return ConfigError("layer", config.layer, "none alone, or a list without none")
    if len(set(names)) < len(names):
        return ConfigError("layer", config.layer, "a list that names each layer once")
    return None


def _group(group: str) -> Callable[[Config], ConfigError | None]:
    def rule(config: Config) -> ConfigError | None:
        node = getattr(config, group)
        if node.name == type(node)().name:
            return None
        return ConfigError(f"{group}.name", node.name, f"{group}={show(node.name)} chooses it")

    return rule


def _arguments(config: Config) -> ConfigError | None:
    arguments = getattr(config.model, "arguments", None)
    if arguments is None or isinstance(arguments, dict):
        return None
    return ConfigError("model.arguments", arguments, allowed("model.arguments"))


def _target(config: Config) -> ConfigError | None:
    target = getattr(config.model, "target", "")
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target):
        return None
    return ConfigError("model.target", target, allowed("model.target"))


def _length(key: str, length: int, rule: str) -> Callable[[Config], ConfigError | None]:
    group, _, name = key.partition(".")

    def judge(config: Config) -> ConfigError | None:
        value = getattr(getattr(config, group), name)
        return None if len(value) == length else ConfigError(key, value, rule)

    return judge


def _nesterov(config: Config) -> ConfigError | None:
    optimizer = config.optimizer
    if isinstance(optimizer, SgdConfig) and optimizer.nesterov and optimizer.momentum == 0:
        return ConfigError("optimizer.nesterov", True, "false where optimizer.momentum=0")
    return None


def _milestones(config: Config) -> ConfigError | None:
    milestones = config.optimizer.milestones
    if sorted(milestones) == milestones:
        return None
    return ConfigError("optimizer.milestones", milestones, "rising fractions")


_RULES: tuple[tuple[tuple[str, ...], Callable[[Config], ConfigError | None]], ...] = (
    (("mode",), _mode),
    (("compile",), _compile),
    (("tracker",), _tracker),
    (("device",), _device),
    (("study",), _study),
    (("repeats", "baseline"), _auto),
    (("seed", "repeats", "max_repeats"), _seeds),
    (("dataset.resize",), _resize),
    (("dataset.resample", "dataset.train_size"), _resample),
    (("dataset.outside",), _outside),
    (("dataset.outside", "evaluation"), _full),
    (("layer",), _layer),
    (("model.name",), _group("model")),
    (("optimizer.name",), _group("optimizer")),
    (("model.arguments",), _arguments),
    (("model.target",), _target),
    (("model.channels",), _length("model.channels", 3, "three numbers, such as [32,64,128]")),
    (("optimizer.betas",), _length("optimizer.betas", 2, "two numbers, such as [0.9,0.999]")),
    (("optimizer.nesterov", "optimizer.momentum"), _nesterov),
    (("optimizer.milestones",), _milestones),
)
"""Each with the keys that it reads, and judges where their values are right in themselves."""
