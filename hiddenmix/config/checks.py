"""Which values a configuration may hold: refused by name before any data is loaded. Imports no torch."""

import os
import re
import unicodedata
from difflib import get_close_matches
from typing import Any, get_type_hints

from hiddenmix.config.errors import ConfigError, show
from hiddenmix.config.modes import MODES, MOST_IMAGES, is_mode
from hiddenmix.config.schema import (
    DATASETS,
    MODELS,
    TRACKERS,
    AdamConfig,
    CnnConfig,
    Config,
    DatasetConfig,
    ImportConfig,
    SgdConfig,
    layers,
    seeds,
    trackers,
)

_CHOICES: dict[str, tuple[str, ...]] = {
    "lam": ("batch", "sample"),
    "partners": ("permutation", "independent"),
    "operation": ("mixup", "cutmix"),
    "precision": ("float32", "bf16"),
    "evaluation": ("clean", "full"),
    "dataset.name": DATASETS,
    "dataset.augment": ("none", "flip_crop"),
    "dataset.leaks": ("keep", "drop"),
    "dataset.resize_mode": ("squash", "crop", "pad"),
    "model.name": tuple(node().name for node in MODELS),
    "optimizer.name": ("sgd", "adam"),
    "optimizer.schedule": ("one_cycle", "cosine", "step", "constant"),
}

# key: lowest allowed, highest allowed, whether the lowest itself is allowed
_RANGES: dict[str, tuple[float, float, bool]] = {
    "alpha": (0, 1e6, False),
    "originals": (0, 1e6, True),
    "seed": (0, 2**32 - 1, True),
    "repeats": (1, 10_000, True),
    "max_repeats": (6, 10_000, True),
    "workers": (1, 1024, True),
    "threads": (1, 1024, True),
    "margin": (0, 100, False),
    "epochs": (1, 1_000_000, True),
    "batch_size": (2, 1_000_000, True),
    "evaluate_every": (1, 1_000_000, True),
    "evaluation_images": (1, 1e9, True),
    "checkpoint_seconds": (0, 1e9, True),
    "dataset.validation": (0, 0.9, True),
    "dataset.train_size": (1, 1e9, True),
    "dataset.split_seed": (0, 2**32 - 1, True),
    "dataset.test_fraction": (0, 0.9, False),
    "model.width": (1, 65_536, True),
    "model.channels": (1, 65_536, True),
    "model.dropout": (0, 0.99, True),
    "optimizer.lr": (0, 1e6, False),
    "optimizer.weight_decay": (0, 1e6, True),
    "optimizer.warmup": (0, 1, False),
    "optimizer.milestones": (0, 1, False),
    "optimizer.gamma": (0, 1, False),
    "optimizer.momentum": (0, 0.9999, True),
    "optimizer.betas": (0, 0.99999, True),
}


_WHOLE = (
    *(
        "seed",
        "repeats",
        "max_repeats",
        "workers",
        "threads",
        "epochs",
        "batch_size",
        "evaluate_every",
        "evaluation_images",
    ),
    *(
        "dataset.train_size",
        "dataset.split_seed",
        "model.width",
        "model.channels",
    ),
)

_AUTO = ("repeats", "workers")
"""Numbers that may be `auto` instead."""

_OPTIONAL = (
    *("evaluate_every", "evaluation_images"),
    *("dataset.train_size", "dataset.test_fraction"),
)
"""Numbers that may be `null`."""

_LISTS = ("model.channels", "optimizer.milestones", "optimizer.betas")

_SWITCHES = tuple(
    prefix + key
    for prefix, kinds in (
        ("", (Config,)),
        ("dataset.", (DatasetConfig,)),
        ("model.", MODELS),
        ("optimizer.", (SgdConfig, AdamConfig)),
    )
    for kind in kinds
    for key, hint in get_type_hints(kind).items()
    if hint in (bool, bool | None)
)


def choices(key: str) -> tuple[str, ...]:
    """The values that `key` may have, where it has so few that they are listed, else none."""
    return _CHOICES.get(key, ())


def allowed(key: str) -> str:
    """What `key` accepts, in words, for an error message."""
    if key in _CHOICES:
        return ", ".join(_CHOICES[key])
    if key in _RANGES:
        low, high, inclusive = _RANGES[key]
        kind = "whole number" if key in _WHOLE else "number"
        text = f"a {kind} {'from' if inclusive else 'above'} {low:g} to {high:.10g}"
        text += ", or null" if key in _OPTIONAL else ""
        return f"auto, or {text}" if key in _AUTO else text
    return {
        "mode": f"{', '.join(MODES)}, or a whole number of images from 2 to {MOST_IMAGES}",
        "layer": "none, input, a layer's name, or a list such as [input,conv1]",
        "compile": "auto, true, false",
        "dataset.resize": "a side from 8 to 4096 pixels, or [height,width]",
        "device": "auto, cpu, or an accelerator as torch calls it: cuda, mps, xpu, cuda:<number>",
        "tracker": f"{', '.join(TRACKERS)}, a list such as [tensorboard,mlflow], or [] for none",
        "study": "a name of at most 100 letters, digits, '.', '_', '-' that starts with a letter "
        "or digit",
        **dict.fromkeys(_SWITCHES, "true, false"),
    }.get(key, "a value of the right type; see --help")


def takes_list(key: str) -> bool:
    """Whether one value of `key` may be a list."""
    return key in (*_LISTS, "layer", "tracker", "dataset.resize")


def takes_number(key: str) -> bool:
    """Whether a value of `key` is a number."""
    return key in _RANGES and key not in _LISTS


def _value(config: Config, key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not hasattr(node, part):
            return None
        node = getattr(node, part)
    return node


def check(config: Config) -> None:
    """Raise `ConfigError` for the first value that is not allowed. Reads no data."""
    for key, choices in _CHOICES.items():
        if _value(config, key) not in choices:
            raise ConfigError(key, _value(config, key), allowed(key))
    for key in _AUTO:
        if _value(config, key) != "auto" and type(_value(config, key)) is not int:
            raise ConfigError(key, _value(config, key), allowed(key))
    for key, (low, high, inclusive) in _RANGES.items():
        value = _value(config, key)
        if key in _AUTO and value == "auto":
            continue
        numbers = value if isinstance(value, list) else [value]
        # An interpolation may put anything in the place of a list.
        if value is not None and isinstance(value, list) != (key in _LISTS):
            raise ConfigError(key, value, allowed(key))
        for number in numbers:
            if number is None:
                continue
            if not isinstance(number, (int, float)):
                raise ConfigError(key, value, allowed(key))
            # NaN is within no bounds.
            if not low <= number <= high or (number == low and not inclusive):
                raise ConfigError(key, value, allowed(key))
    if not is_mode(config.mode):
        near = get_close_matches(str(config.mode), MODES, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError("mode", config.mode, allowed("mode") + meant)
    if config.compile != "auto" and not isinstance(config.compile, bool):
        raise ConfigError("compile", config.compile, allowed("compile"))
    named = trackers(config)
    if any(name not in TRACKERS for name in named) or len(set(named)) < len(named):
        raise ConfigError("tracker", config.tracker, allowed("tracker"))
    if not re.fullmatch(r"auto|cpu|[a-z][a-z0-9]*(:\d{1,3})?", config.device):
        raise ConfigError("device", config.device, allowed("device"))
    if not _is_name(config.study):
        raise ConfigError("study", config.study, allowed("study"))
    if config.repeats == "auto" and not config.baseline:
        raise ConfigError("baseline", False, "true with repeats=auto")
    if seeds(config)[-1] > _RANGES["seed"][1]:
        raise ConfigError("repeats", config.repeats, "seed + repeats below 2**32")
    _check_resize(config.dataset.resize)
    if config.dataset.resample and config.dataset.train_size is None:
        raise ConfigError("dataset.resample", True, "true with dataset.train_size=<images a seed>")
    _check_outside(config)
    texts = [f"dataset.{name}" for name in ("root", "title", "train", "test", "target")]
    for key in [*texts, "model.weights"]:
        text = _value(config, key)
        if text is not None and (not text or "\0" in text or len(text) > 4096):
            raise ConfigError(key, text, "a text of 1 to 4096 characters without NUL")
    _check_layer(config)
    _check_groups(config)


def _is_name(text: str) -> bool:
    """Whether `text` is a folder's name of letters of any script, which no path hides in."""
    marks = ("Mn", "Mc")
    fits = all(s.isalnum() or s in "._-" or unicodedata.category(s) in marks for s in text)
    short = len(text) <= 100 and len(os.fsencode(text)) <= 240
    return bool(text) and text[0].isalnum() and fits and short


def _check_resize(resize: Any) -> None:
    sides = resize if isinstance(resize, list) else [resize, resize]
    whole = all(type(side) is int and 8 <= side <= 4096 for side in sides)
    if resize is not None and not (whole and len(sides) == 2):
        raise ConfigError("dataset.resize", resize, allowed("dataset.resize"))


def _check_outside(config: Config) -> None:
    sets = config.dataset.outside
    if sets is None:
        return
    if not isinstance(sets, dict) or not all(isinstance(path, str) for path in sets.values()):
        raise ConfigError(
            "dataset.outside", sets, "names with paths, such as {far: my_other_photos}"
        )
    for name in sets:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", name):
            rule = "names of at most 50 letters, digits, '.', '_', '-', the first a letter or digit"
            raise ConfigError("dataset.outside", name, rule)
    if sets and config.evaluation != "full":
        raise ConfigError("evaluation", config.evaluation, "full with dataset.outside")


def _check_layer(config: Config) -> None:
    names = layers(config)
    if not names or any(
        not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", name)
        for name in names
    ):
        raise ConfigError("layer", config.layer, allowed("layer"))
    if len(names) > 1 and "none" in names:
        raise ConfigError("layer", config.layer, "none alone, or a list without none")
    if len(set(names)) < len(names):
        raise ConfigError("layer", config.layer, "a list that names each layer once")


def _check_groups(config: Config) -> None:
    model, optimizer = config.model, config.optimizer
    for group, node in (("model", model), ("optimizer", optimizer)):
        if node.name != type(node)().name:
            raise ConfigError(f"{group}.name", node.name, f"{group}={show(node.name)} chooses it")
    arguments = _value(config, "model.arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise ConfigError("model.arguments", arguments, "names with values, such as {width: 64}")
    if isinstance(model, ImportConfig) and not re.fullmatch(
        r"[^\W\d]\w*(\.[^\W\d]\w*)+", model.target
    ):
        raise ConfigError("model.target", model.target, "module.Class, such as mynet.MyNet")
    if isinstance(model, CnnConfig) and len(model.channels) != 3:
        raise ConfigError("model.channels", model.channels, "three numbers, such as [32,64,128]")
    if isinstance(optimizer, AdamConfig) and len(optimizer.betas) != 2:
        raise ConfigError("optimizer.betas", optimizer.betas, "two numbers, such as [0.9,0.999]")
    if isinstance(optimizer, SgdConfig) and optimizer.nesterov and optimizer.momentum == 0:
        raise ConfigError("optimizer.nesterov", True, "false where optimizer.momentum=0")
    if sorted(optimizer.milestones) != optimizer.milestones:
        raise ConfigError("optimizer.milestones", optimizer.milestones, "rising fractions")
