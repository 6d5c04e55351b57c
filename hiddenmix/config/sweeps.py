"""The jobs of a Hydra sweep, each as a checked configuration."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from itertools import product
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config.composition import config_folder, from_hydra, register
from hiddenmix.config.errors import ConfigError, UserError, WrongValuesError, refuse, show
from hiddenmix.config.schema import GROUPS, Config

_VALUES = {field.name for field in fields(Config)} - {"dataset", "model", "optimizer"}
"""Keys that hold a plain value, where the others name a file of `conf/`."""

Compose = Callable[[list[str]], DictConfig]
"""Composes the configuration of one job from its overrides."""

Compositions = dict[tuple[str, ...], DictConfig]
"""Configurations that were composed, by those overrides that are no plain values."""


def expand_jobs(jobs: Sequence[list[str]], sweep: DictConfig, compose: Compose) -> list[list[str]]:
    """`jobs`, and in the place of one whose experiment file brings a grid of its own, that grid.

    Hydra reads the grid of a file that is named once. Of files that are swept over themselves
    (`experiment=a,b`), it would drop the grids without a word.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    known = _params(sweep)
    grids: dict[tuple[str, ...], dict[str, list[str]]] = {}
    expanded = []
    for job in jobs:
        overrides = parser.parse_overrides(job)
        files = tuple(
            text
            for text, each in zip(job, overrides, strict=True)
            if each.key_or_group not in _VALUES and "." not in each.key_or_group
        )
        if files not in grids:
            own = _params(compose(list(files))) if files else {}
            grids[files] = {
                key: _values(key, text) for key, text in own.items() if key not in known
            }
        given = {each.get_key_element() for each in overrides}
        grid = {key: values for key, values in grids[files].items() if key not in given}
        expanded += [[*job, *more] for more in product(*grid.values())]
    return expanded


def refuse_grid(config: DictConfig, advice: str = "add -m to train all of it") -> None:
    """Raise `UserError` where one run is asked for, and an experiment file brings a grid."""
    if grid := _params(config):
        text = ", ".join(f"{key}={value}" for key, value in grid.items())
        raise UserError(
            f"the experiment file has a grid, of which one run takes nothing: {show(text)}\n"
            f"  {advice}"
        )


def configurations(overrides: list[str]) -> list[Config]:
    """The checked configurations of `overrides`, as the command line takes them with -m.

    Raises `UserError`, and what Hydra and OmegaConf raise. Hydra's state is left as it was.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with _composer() as compose_one:
        parsed = OverridesParser.create().parse_overrides(overrides)
        values = [
            _values(each.get_key_element(), text.partition("=")[2])
            if each.is_sweep_override()
            else [text]
            for text, each in zip(overrides, parsed, strict=True)
        ]
        jobs = [list(each) for each in product(*values)]
        whole = expand_jobs(jobs, OmegaConf.create(), compose_one)
        return compose_jobs(whole, compose_one)


def compose_each(jobs: Sequence[list[str]], composed: Compositions | None = None) -> list[Config]:
    """The checked configuration of each of `jobs`, whose overrides give every key one value.

    `composed` keeps what was composed for the next call. Raises `UserError`, also for an experiment file
    with a grid, and what Hydra and OmegaConf raise. Hydra's state is left as it was.
    """

    def compose_alone(job: list[str]) -> DictConfig:
        with _composer() as compose_one:
            config = compose_one(job)
        refuse_grid(config, "use a file without hydra.sweeper.params here")
        return config

    return compose_jobs(jobs, compose_alone, composed)


@contextmanager
def _composer() -> Iterator[Compose]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    held = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder().absolute()), version_base="1.3"):
            yield lambda job: compose("config", overrides=job, return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = held


def _params(config: DictConfig) -> dict[str, str]:
    """The grid in an experiment file, as key and text."""
    found = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return {str(key): str(value) for key, value in found.items()}


def _values(key: str, text: str) -> list[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(f"{key}={text}")
    if not override.is_sweep_override():
        return [f"{key}={text}"]
    if not override.is_discrete_sweep():
        raise UserError(
            f"{key}={show(text)} has no end\n  allowed in a grid: values, range, choice"
        )
    return [f"{key}={each}" for each in override.sweep_string_iterator()]


def compose_jobs(
    jobs: Sequence[list[str]], compose: Compose, composed: Compositions | None = None
) -> list[Config]:
    """The configurations of a sweep's jobs. Composing takes Hydra 50 ms, ten times as long as setting
    a value, so jobs that differ in plain values alone share one composition; those in `composed`
    serve too."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    found: Compositions = {} if composed is None else composed

    def one(job: list[str]) -> DictConfig:
        overrides = parser.parse_overrides(job)
        plain = [_is_plain(each) for each in overrides]
        rest = tuple(text for text, is_plain in zip(job, plain, strict=True) if not is_plain)
        if rest not in found:
            bare = compose(list(rest))
            with read_write(bare), open_dict(bare):
                bare.pop("hydra", None)  # most of what would be copied below
            found[rest] = bare
        config = deepcopy(found[rest])
        try:
            for each, is_plain in zip(overrides, plain, strict=True):
                if is_plain:
                    OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
        except OmegaConfBaseException:
            return compose(job)  # raises with Hydra's explanation
        return config

    configs: list[Config] = []
    mistakes: list[ConfigError] = []
    for job in jobs:
        try:
            configs.append(from_hydra(one(job)))
        except ConfigError as error:
            mistakes.append(error)
        except WrongValuesError as errors:
            mistakes += errors.errors
    refuse(mistakes)
    return configs


def _is_plain(override: Any) -> bool:
    """Whether an override sets a value, which no other part of the composition depends on."""
    from hydra.core.override_parser.types import OverrideType

    group, dot, _ = override.key_or_group.partition(".")
    value = override.key_or_group in _VALUES or (dot and group in GROUPS)
    return bool(value) and override.package is None and override.type is OverrideType.CHANGE
