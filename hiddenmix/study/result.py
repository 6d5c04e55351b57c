"""The result of a finished network: what it is, was made with and found, as `result.json` holds it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from hiddenmix import networks
from hiddenmix.config import Config, layers
from hiddenmix.data import Data
from hiddenmix.study import measuring, predictions
from hiddenmix.study.cells import (
    data_title,
    image_mixup,
    is_plain,
    model_name,
    plain,
    setting_key,
    two_images,
)
from hiddenmix.study.command import Run
from hiddenmix.study.environment import environment, trained_in
from hiddenmix.study.saving import Saver
from hiddenmix.study.store import FORMAT, Cell


def finished_result(network: nn.Module, data: Data, run: Run, saver: Saver) -> dict[str, Any]:
    """The finished training's result; its predictions are written."""
    cell, config, metrics = saver.cell, saver.cell.config, saver.metrics
    mixing_keys = (None, None) if is_plain(config) else (config.mode, config.alpha)
    seconds = math.fsum(line["seconds"] for line in metrics)
    images = len(data.train.images) * config.epochs
    result: dict[str, Any] = {
        "format": FORMAT,
        "status": "done",
        "cell": cell.id,
        "setting": setting_key(config, data.digest),
        "baseline": None if is_plain(config) else setting_key(image_mixup(config), data.digest),
        "two_images": None if is_plain(config) else setting_key(two_images(config), data.digest),
        "plain": setting_key(plain(config), data.digest),
        "dataset": config.dataset.name,
        "title": data_title(config),
        "model": model_name(config),
        "layer": "+".join(layers(config)),
        **layer_facts(config, data),
        "mode": mixing_keys[0],
        "alpha": mixing_keys[1],
        "seed": config.seed,
        "epochs": config.epochs,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "train_size": len(data.train.images),
        "test_size": len(data.test.images),
        "data": {
            "digest": data.digest,
            "classes": data.classes,
            "mean": data.mean.tolist(),
            "std": data.std.tolist(),
            "leaks": data.leaks.as_dict(),
        },
    }
    if config.evaluation == "full":
        # It may take longer than the training: not even SIGKILL shall cost both.
        saver.save()
    with saver.measurement(run.interrupts):
        outside = run.outside(config)
        numbers, answers = measuring.measure(network, data, config, config.evaluation, outside)
    if not {"nll", "ece"} <= numbers["test"].keys():
        raise FloatingPointError(
            "the trained network's outputs are not finite; lower optimizer.lr, or use "
            "precision=float32"
        )
    result |= numbers
    result["predictions"] = predictions.write(
        cell.folder, answers, len(data.classes), about(cell, data)
    )
    return result | {
        "train": {
            "loss": metrics[-1]["loss"],
            "seconds": round(seconds, 3),
            "images_per_second": round(images / max(seconds, 1e-9), 1),
        },
        "environment": trained_in(saver.environments),
        "config": asdict(config),
        "command": run.command,
    }


def layer_facts(config: Config, data: Data) -> dict[str, Any]:
    """All layers that can be mixed, in the order in which the network executes them; of the setting's,
    those where mixing is image mixup in disguise, and those that images flow past, with the share of
    the difference between two of them that is left in the logits."""
    shape = data.test.shape
    classes, names = len(data.classes), layers(config)
    available = networks.layers_of(config.model, shape, classes)
    left = networks.bypassed(config.model, shape, classes, names)
    return {
        "layers": [each.name for each in available],
        "disguised": [each.name for each in available if each.disguise and each.name in names],
        "bypassed": {name: round(share, 4) for name, share in left.items()},
    }


def about(cell: Cell, data: Data) -> dict[str, str]:
    """What the files of a cell say of themselves: enough to use them without the study."""
    told = {
        "version": environment()["hiddenmix"],
        "cell": cell.id,
        "data": data.digest,
        "classes": data.classes,
        "shape": list(data.test.images.shape[1:]),
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }
    # One key: safetensors writes several in an order that changes from call to call.
    return {"hiddenmix": json.dumps(told)}


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a result that trackers show, by tag."""
    tags = {
        f"final/{name}": value
        for name, value in result["test"].items()
        if not isinstance(value, list)
    }
    for family in ("shift", "adversarial", "outside"):
        for name, values in result.get(family, {}).items():
            tags[f"{family}/{name}"] = values["accuracy"]
    return tags
