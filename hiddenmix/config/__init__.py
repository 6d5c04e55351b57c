"""Typed configuration: schema, checks, Hydra in and plain dataclasses out. Imports no torch."""

from hiddenmix.config.allowed_values import allowed, choices, takes_list, takes_number
from hiddenmix.config.checks import check
from hiddenmix.config.composition import config_folder, from_hydra, from_plain, register
from hiddenmix.config.errors import ConfigError, UserError, WrongValuesError, counted, show
from hiddenmix.config.files import at_home, check_current, source_digest, with_digests
from hiddenmix.config.key_types import all_keys, normalised
from hiddenmix.config.meaning import check_meaning, idle_keys
from hiddenmix.config.modes import MODES, images_of, mode_rank, mode_words
from hiddenmix.config.schema import (
    DATASETS,
    GROUPS,
    MODELS,
    AdamConfig,
    CnnConfig,
    Config,
    DatasetConfig,
    ImportConfig,
    ModelConfig,
    OptimizerConfig,
    PreactResNet18Config,
    SgdConfig,
    TimmConfig,
    TorchvisionConfig,
    layers,
    seeds,
    trackers,
)
from hiddenmix.config.space import Choice, Range, Space, read_space, without_log
from hiddenmix.config.sweeps import (
    Compositions,
    compose_each,
    compose_jobs,
    configurations,
    expand_jobs,
    refuse_grid,
)
from hiddenmix.config.training_keys import MIXING, NO_TRAINING

__all__ = [
    "DATASETS",
    "GROUPS",
    "MIXING",
    "MODELS",
    "MODES",
    "NO_TRAINING",
    "AdamConfig",
    "Choice",
    "CnnConfig",
    "Compositions",
    "Config",
    "ConfigError",
    "DatasetConfig",
    "ImportConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PreactResNet18Config",
    "Range",
    "SgdConfig",
    "Space",
    "TimmConfig",
    "TorchvisionConfig",
    "UserError",
    "WrongValuesError",
    "all_keys",
    "allowed",
    "at_home",
    "check",
    "check_current",
    "check_meaning",
    "choices",
    "compose_each",
    "compose_jobs",
    "config_folder",
    "configurations",
    "counted",
    "expand_jobs",
    "from_hydra",
    "from_plain",
    "idle_keys",
    "images_of",
    "layers",
    "mode_rank",
    "mode_words",
    "normalised",
    "read_space",
    "refuse_grid",
    "register",
    "seeds",
    "show",
    "source_digest",
    "takes_list",
    "takes_number",
    "trackers",
    "with_digests",
    "without_log",
]
