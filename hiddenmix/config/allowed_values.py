"""Which values each key may have, in tables, and what is allowed in words."""

from typing import Any

from hiddenmix.config.key_types import all_keys
from hiddenmix.config.modes import MODES, MOST_IMAGES
from hiddenmix.config.schema import DATASETS, MODELS, TRACKERS

CHOICES: dict[str, tuple[str, ...]] = {
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
RANGES: dict[str, tuple[float, float, bool]] = {
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


_HINTS = all_keys()


def _keys_of(*hints: Any) -> tuple[str, ...]:
    return tuple(key for key, hint in _HINTS.items() if hint in hints)


AUTO = ("repeats", "workers")
"""Numbers that may be `auto` instead."""

_WHOLE = (*_keys_of(int, int | None, list[int]), *AUTO)
_OPTIONAL = _keys_of(int | None, float | None)
"""Numbers that may be `null`."""

LISTS = _keys_of(list[int], list[float])
TEXTS = (*_keys_of(str | None), "model.arch")
_TEXT = "a text of 1 to 4096 characters without NUL"


def choices(key: str) -> tuple[str, ...]:
    """The values that `key` may have, where it has so few that they are listed, else none."""
    return CHOICES.get(key, ())


def allowed(key: str) -> str:
    """What `key` accepts, in words, for an error message."""
    if key in CHOICES:
        return ", ".join(CHOICES[key])
    if key in RANGES:
        low, high, inclusive = RANGES[key]
        kind = "whole number" if key in _WHOLE else "number"
        text = f"a {kind} {'from' if inclusive else 'above'} {low:g} to {high:.10g}"
        text += ", or null" if key in _OPTIONAL else ""
        return f"auto, or {text}" if key in AUTO else text
    return {
        "mode": f"{', '.join(MODES)}, or a whole number of images from 2 to {MOST_IMAGES}",
        "layer": "none, input, a layer's name, or a list such as [input,conv1]",
        "compile": "auto, true, false",
        "dataset.resize": "a side from 8 to 4096 pixels, or [height,width], or null",
        "dataset.outside": "names with paths, such as {far: my_other_photos}, or null",
        "model.arguments": "names with values, such as {width: 64}, or null",
        "device": "auto, cpu, or an accelerator as torch calls it: cuda, mps, xpu, cuda:<number>",
        "tracker": f"{', '.join(TRACKERS)}, a list such as [tensorboard,mlflow], or [] for none",
        "study": "a name of at most 100 letters, digits, '.', '_', '-' that starts with a letter "
        "or digit",
        "model.target": "module.Class, such as mynet.MyNet",
        **dict.fromkeys(_keys_of(bool), "true, false"),
        **dict.fromkeys(_keys_of(bool | None), "true, false, null"),
        **dict.fromkeys(TEXTS, f"{_TEXT}, or null"),
        "model.arch": _TEXT,
    }.get(key, "a value of the right type; see --help")


def takes_list(key: str) -> bool:
    """Whether one value of `key` may be a list."""
    return key in (*LISTS, "layer", "tracker", "dataset.resize")


def takes_number(key: str) -> bool:
    """Whether a value of `key` is a number."""
    return key in RANGES and key not in LISTS
