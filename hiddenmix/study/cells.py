"""Cells: what makes one network to train the same as another, their ids, and their baselines."""

import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hiddenmix.config import (
    MIXING,
    NO_TRAINING,
    Config,
    DatasetConfig,
    ImportConfig,
    TimmConfig,
    TorchvisionConfig,
    layers,
)


def identity(config: Config, data: str) -> dict[str, Any]:
    """What a cell is: its training configuration, seed included, and its data by their content.

    `data` is the data set's digest (`Data.digest`), so that a moved folder is the same data and changed
    images are other data. Paths, devices and what is measured afterwards are left out; with
    `layer=none` the keys of mixing too, which mean nothing there.
    """
    found = asdict(config)
    found["layer"] = layers(config)
    for key in (*NO_TRAINING, *(MIXING if is_plain(config) else ())):
        group, _, name = key.rpartition(".")
        del (found[group] if group else found)[name]
    # Newer keys, which make no other cells of former ones where they have their default.
    if found.get("operation") == Config().operation:
        del found["operation"]
    if config.dataset.test_fraction is None:
        del found["dataset"]["test_fraction"]
    if config.dataset.resize is None or config.dataset.resize_mode == DatasetConfig().resize_mode:
        del found["dataset"]["resize_mode"]
    match config.dataset.resize:
        case [height, width] if height == width:
            found["dataset"]["resize"] = height
    if found["model"]["weights_digest"] is None:
        del found["model"]["weights_digest"]
    return found | {"data": data}


def data_title(config: Config) -> str:
    """What reports call the data: the title, the name of the folder, file or module, or the set's."""
    dataset = config.dataset
    if dataset.title is not None:
        return dataset.title
    place = Path(dataset.root or "data").expanduser().absolute()
    match dataset.name:
        case "image_folder":
            return place.name or dataset.name
        case "arrays":
            return place.stem or dataset.name
        case "import":
            return str(dataset.target).partition(".")[0]
        case _:
            return dataset.name


def is_plain(config: Config) -> bool:
    """Whether the setting trains without mixing ("ERM")."""
    return layers(config) == ["none"]


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def model_name(config: Config) -> str:
    """`cnn`, `preact_resnet18`, torchvision's own name of the network, `timm.` and timm's, or what was
    imported."""
    match config.model:
        case TorchvisionConfig(arch=arch):
            return arch
        case TimmConfig(arch=arch):
            return f"timm.{arch}"
        case ImportConfig(target=target):
            return target
    return config.model.name


def _label(config: Config) -> str:
    model, layer = _short(model_name(config)), _as_folder("+".join(layers(config)))
    label = f"{config.dataset.name}-{model}-{layer}"
    if is_plain(config):
        return label
    operation = "" if config.operation == Config().operation else f"-{config.operation}"
    return f"{label}{operation}-{config.mode}-a{config.alpha:g}"


def _short(name: str) -> str:
    # A file name holds at most 255 bytes, and a list of dotted layer names has no such limit.
    return name if len(name) <= 80 else name[:72] + hashlib.sha256(name.encode()).hexdigest()[:8]


def _as_folder(layer: str) -> str:
    """A layer's name, in which a module's may hold any sign, as part of a folder's: `_` for a sign that
    none should hold, and cut by bytes. The digest behind it tells apart what is then equal."""
    safe = re.sub(r"[^\w.+-]", "_", layer)
    if safe.isascii():
        return _short(safe)
    cut = safe.encode()[:72].decode(errors="ignore")
    return (
        safe if len(safe.encode()) <= 80 else cut + hashlib.sha256(layer.encode()).hexdigest()[:8]
    )


def cell_id(config: Config, data: str) -> str:
    """`<dataset>-<model>-<layer>-<mode>-a<alpha>-s<seed>-<8 hex>`, without mode and alpha for none, with
    the operation behind the layer where it is not mixup."""
    return f"{_label(config)}-s{config.seed}-{_digest(identity(config, data))}"


def setting_key(config: Config, data: str) -> str:
    """The cell's id without its seed: equal for repeats, and for nothing else."""
    content = identity(config, data)
    del content["seed"]
    return f"{_label(config)}-{_digest(content)}"


def question_key(config: Config, data: str) -> str:
    """Equal for the settings of one question: those that differ in layer, K and alpha alone."""
    content = identity(config, data)
    for key in ("seed", "layer", "mode", "alpha"):
        del content[key]
    return _digest(content)


def image_mixup(config: Config) -> Config:
    """The baseline of `config`: as many images mixed at the input, by the same operation, so that the
    layer alone differs."""
    return replace(config, layer="input")


def two_images(config: Config) -> Config:
    """Image mixup as Zhang et al. (2018) have it, or CutMix as Yun et al. (2019), of two images: beside
    `image_mixup`, the number of images alone differs."""
    return replace(config, layer="input", mode="siamese")


def plain(config: Config) -> Config:
    """The baseline of `config` without any mixing, everything else equal.

    The keys that mean nothing then take their defaults, however the sweep was written.
    """
    return replace(config, layer="none", **{key: getattr(Config(), key) for key in MIXING})
