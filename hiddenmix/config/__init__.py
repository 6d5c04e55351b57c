"""Typed configuration: schema, checks, Hydra in and plain dataclasses out. Imports no torch."""

from hiddenmix.config.checks import allowed, check, choices
from hiddenmix.config.composition import config_folder, from_hydra, from_plain, register
from hiddenmix.config.files import source_digest, with_digests
from hiddenmix.config.meaning import check_meaning
from hiddenmix.config.schema import (
    DATASETS,
    MODELS,
    MODES,
    AdamConfig,
    CnnConfig,
    Config,
    ConfigError,
    DatasetConfig,
    ImportConfig,
    ModelConfig,
    OptimizerConfig,
    PreactResNet18Config,
    SgdConfig,
    TimmConfig,
    TorchvisionConfig,
    UserError,
    layers,
    seeds,
    show,
)
from hiddenmix.config.sweeps import compose_jobs, configurations, expand_jobs, refuse_grid

__all__ = [
    "DATASETS",
    "MODELS",
    "MODES",
    "AdamConfig",
    "CnnConfig",
    "Config",
    "ConfigError",
    "DatasetConfig",
    "ImportConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PreactResNet18Config",
    "SgdConfig",
    "TimmConfig",
    "TorchvisionConfig",
    "UserError",
    "allowed",
    "check",
    "check_meaning",
    "choices",
    "compose_jobs",
    "config_folder",
    "configurations",
    "expand_jobs",
    "from_hydra",
    "from_plain",
    "layers",
    "refuse_grid",
    "register",
    "seeds",
    "show",
    "source_digest",
    "with_digests",
]
