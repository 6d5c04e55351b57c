"""The jobs of a Hydra sweep, each as a checked configuration."""

from copy import deepcopy
from dataclasses import fields

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config.composition import from_hydra
from hiddenmix.config.schema import Config


def sweep_jobs(config: DictConfig) -> list[list[str]]:
    """The overrides of each job of a sweep, the command line's before those of an experiment file."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*params, *config.hydra.overrides.task])
    [jobs] = BasicSweeper.split_arguments(overrides, None)
    return jobs


def compose_jobs(jobs: list[list[str]]) -> list[Config]:
    """The configurations of a sweep's jobs. Composing takes Hydra 50 ms, ten times as long as setting
    a value, so jobs that differ in plain values alone share one composition."""
    from hydra import compose
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType

    values = {field.name for field in fields(Config)} - {"dataset", "model", "optimizer"}
    parser = OverridesParser.create()
    composed: dict[tuple[str, ...], DictConfig] = {}

    def one(job: list[str]) -> DictConfig:
        overrides = parser.parse_overrides(job)
        plain = [
            each.key_or_group in values
            and each.package is None
            and each.type is OverrideType.CHANGE
            for each in overrides
        ]
        rest = tuple(text for text, is_plain in zip(job, plain, strict=True) if not is_plain)
        if rest not in composed:
            composed[rest] = compose(config_name="config", overrides=list(rest))
        config = deepcopy(composed[rest])
        try:
            for each, is_plain in zip(overrides, plain, strict=True):
                if is_plain:
                    OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
        except OmegaConfBaseException:
            return compose(config_name="config", overrides=job)  # raises with Hydra's explanation
        return config

    return [from_hydra(one(job)) for job in jobs]
