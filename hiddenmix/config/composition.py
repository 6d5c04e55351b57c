"""Between Hydra and the plain dataclasses of `schema.py`: schemas, folder, and the conversions."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf, open_dict, read_write

from hiddenmix.config.allowed_values import allowed
from hiddenmix.config.checks import check
from hiddenmix.config.errors import ConfigError, UserError, show
from hiddenmix.config.key_types import normalised
from hiddenmix.config.schema import DATASETS, GROUPS, Config, DatasetConfig


def config_folder() -> Path:
    """The folder of YAML files: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def register() -> None:
    """Register the dataclasses as Hydra schemas, which the YAML files of `conf/` name."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    # Without the default network and optimizer, into which another one's keys could not be merged.
    schema = OmegaConf.structured(Config)
    schema.model, schema.optimizer = MISSING, MISSING
    # Among Hydra's own groups, so that --help and completion offer the YAML files alone.
    store.store(group="hydra/schema", name="hiddenmix", node=schema)
    store.store(group="hydra/schema/dataset", name="any", node=DatasetConfig)
    for group in ("model", "optimizer"):
        for node in GROUPS[group]:
            store.store(group=f"hydra/schema/{group}", name=node().name, node=node)


def from_hydra(composed: DictConfig) -> Config:
    """The one conversion from Hydra's composed configuration to checked plain dataclasses."""
    bare = deepcopy(composed)
    with read_write(bare), open_dict(bare):
        bare.pop("hydra", None)
    _refuse_other_keys(bare)
    config = OmegaConf.to_object(bare)
    if not isinstance(config, Config):
        raise TypeError(f"the composed configuration has the wrong type {type(config).__name__}")
    config = normalised(config)
    check(config)
    return config


def _refuse_other_keys(composed: DictConfig) -> None:
    """Refuse what `+key=value` added and `~key` took away: the dataclasses would not notice."""
    for name, node in [
        ("", composed),
        *((str(key) + ".", value) for key, value in composed.items()),
    ]:
        if not isinstance(node, DictConfig) or not is_dataclass(kind := OmegaConf.get_type(node)):
            continue
        known = [field.name for field in fields(kind)]
        for key in [str(each) for each in node.keys()]:  # noqa: SIM118 - a DictConfig
            if key not in known:
                text = ", ".join(f"{name}{each}" for each in known)
                raise UserError(
                    f"{name}{show(key)} is no key of the configuration\n  allowed: {text}"
                )
        for key in known:
            if OmegaConf.is_missing(node, key):
                raise ConfigError(f"{name}{key}", "???", allowed(f"{name}{key}"))
            if key not in node:
                raise UserError(f"~{name}{key} is not allowed\n  allowed: {name}{key}=<value>")


def from_plain(content: Mapping[str, Any]) -> Config:
    """The configuration that `dataclasses.asdict` made `content` of, as `result.json` holds it.

    Raises `UserError` where another version of the program wrote it, or nothing valid.
    """
    groups: dict[str, dict[str, type[Any]]] = {
        "dataset": dict.fromkeys(DATASETS, DatasetConfig),
        **{key: {node().name: node for node in GROUPS[key]} for key in ("model", "optimizer")},
    }
    try:
        nodes = {key: kinds[content[key]["name"]](**content[key]) for key, kinds in groups.items()}
        config = Config(**{**content, **nodes})
        check(config)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"a stored configuration cannot be read: {reason}") from error
    return config
