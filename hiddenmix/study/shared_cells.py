"""Networks that several jobs of a command ask for, as they do for baselines: trained once, and measured
as all of them ask. What is measured makes no other network (`NO_TRAINING`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hiddenmix.config import Config, ConfigError, show


def united(first: Config, second: Config, name: str, *, apart: bool = False) -> Config:
    """The configuration of the cell `name` that gives both what they ask: all outside sets, and the full
    evaluation where one asks for it. `apart`: each of them is trained by a process of its own, and the
    later one measures what the earlier one left.

    Raises `ConfigError` where one network cannot serve both.
    """
    for key in ("evaluate_every", "margin"):
        _check_same(key, [getattr(first, key), getattr(second, key)], name)
    seconds = min(first.checkpoint_seconds, second.checkpoint_seconds)
    first = replace(first, checkpoint_seconds=seconds)
    full = [each for each in (first, second) if each.evaluation == "full"]
    if not full:
        return first
    images = [each.evaluation_images for each in full]
    _check_same("evaluation_images", images, name)
    return replace(
        first,
        evaluation="full",
        evaluation_images=images[0],
        dataset=replace(first.dataset, outside=_outside(full, name, apart=apart)),
    )


def _outside(configs: list[Config], name: str, *, apart: bool) -> dict[str, str] | None:
    """The outside sets of all `configs`; None where none of them names any."""
    asked = [each.dataset.outside for each in configs if each.dataset.outside is not None]
    sets: dict[str, str] = {}
    for more in asked:
        for key, path in more.items():
            known = sets.setdefault(key, path)
            if Path(known) != Path(path):
                _check_same(f"dataset.outside.{key}", [known, path], name)
    if apart and any(each.keys() != sets.keys() for each in asked):
        # The later job would measure its own sets in place of the earlier one's.
        _check_same("dataset.outside", [list(each) for each in asked], name)
    return sets if asked else None


def _check_same(key: str, values: list[Any], name: str) -> None:
    if any(value != values[0] for value in values):
        label = show(name.rpartition("-")[0])
        allowed = f"one value for all jobs that share a network, such as {label}"
        raise ConfigError(key, values, allowed)
