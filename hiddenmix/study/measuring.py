"""The numbers of a finished network: its result, and evaluations added later."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_read
from torch import nn

from hiddenmix import evaluation, networks, randomness
from hiddenmix.config import Config, layers
from hiddenmix.data import Data
from hiddenmix.study.cells import data_title, image_mixup, is_plain, model_name, plain, setting_key
from hiddenmix.study.command import Run
from hiddenmix.study.devices import device_name
from hiddenmix.study.environment import environment
from hiddenmix.study.saving import Saver
from hiddenmix.study.store import FORMAT, Cell
from hiddenmix.study.tracking import CellBoard

EVALUATION_SHARE = 0.05
"""Share of the training time that the test curve may take where `evaluate_every` is null."""


def weights_digest(weights: bytes) -> str:
    return hashlib.blake2b(weights, digest_size=16).hexdigest()


def curve_point(network: nn.Module, data: Data, config: Config) -> dict[str, float]:
    point: dict[str, float] = {}
    for name, split in (("test", data.test), ("validation", data.validation)):
        if split is not None:
            accuracy, nll = evaluation.accuracy(
                network,
                split.images,
                split.labels,
                data.mean,
                data.std,
                precision=config.precision,
            )
            point |= {f"{name}_accuracy": accuracy, f"{name}_nll": nll}
    return point


def evaluation_interval(data: Data) -> int:
    """Epochs between points of the test curve, so that they cost at most `EVALUATION_SHARE`.

    Counted in images, not in measured time, so that every run has the same points: a training step
    costs about three forward passes.
    """
    measured = len(data.test.images) + (len(data.validation.images) if data.validation else 0)
    return max(1, math.ceil(measured / (3 * EVALUATION_SHARE * len(data.train.images))))


def finished_result(network: nn.Module, data: Data, run: Run, saver: Saver) -> dict[str, Any]:
    """The finished training's result."""
    cell, config, metrics = saver.cell, saver.cell.config, saver.metrics
    mixing_keys = (None, None) if is_plain(config) else (config.mode, config.alpha)
    seconds = math.fsum(line["seconds"] for line in metrics)
    images = len(data.train.images) * config.epochs
    result: dict[str, Any] = {
        "format": FORMAT,
        "status": "done",
        "cell": cell.id,
        "setting": setting_key(config),
        "baseline": None if is_plain(config) else setting_key(image_mixup(config)),
        "plain": setting_key(plain(config)),
        "dataset": config.dataset.name,
        "title": data_title(config),
        "model": model_name(config),
        "layer": "+".join(layers(config)),
        "mode": mixing_keys[0],
        "alpha": mixing_keys[1],
        "seed": config.seed,
        "epochs": config.epochs,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "train_size": len(data.train.images),
        "test_size": len(data.test.images),
    }
    if config.evaluation == "full":
        # It may take longer than the training: not even SIGKILL shall cost both.
        saver.save()
    with saver.measurement(run.interrupts):
        result |= measure(network, data, config, config.evaluation)
    if not {"nll", "ece"} <= result["test"].keys():
        raise FloatingPointError(
            "the trained network's outputs are not finite; lower optimizer.lr, or use "
            "precision=float32"
        )
    return result | {
        "train": {
            "loss": metrics[-1]["loss"],
            "seconds": round(seconds, 3),
            "images_per_second": round(images / max(seconds, 1e-9), 1),
        },
        "environment": environment()
        | {"device": device_name(run.device), "threads": torch.get_num_threads()},
        "config": asdict(config),
        "command": run.command,
    }


def measure(network: nn.Module, data: Data, config: Config, which: str) -> dict[str, Any]:
    """The evaluations that `which` selects, nested as in `result.json`."""
    pairs: list[tuple[str, float]] = []
    for name in evaluation.SELECTIONS[which]:
        evaluator = evaluation.EVALUATORS[name]
        test = data.test
        pairs += evaluator(
            network, test.images, test.labels, data.mean, data.std, precision=config.precision
        )
    if data.validation is not None and "clean" in evaluation.SELECTIONS[which]:
        split = data.validation
        accuracy, nll = evaluation.accuracy(
            network, split.images, split.labels, data.mean, data.std, precision=config.precision
        )
        pairs += [("validation/accuracy", accuracy), ("validation/nll", nll)]
    # JSON has no NaN; a value that is not a number is absent, not zero.
    return evaluation.nested((name, value) for name, value in pairs if math.isfinite(value))


def add_evaluation(
    cell: Cell, result: dict[str, Any], data: Data, device: torch.device
) -> dict[str, Any]:
    """Measure a finished cell's stored network in full and write what `result` lacked.

    Raises `OSError` or `ValueError` where the weights cannot be read or are not the result's own.
    """
    shape: tuple[int, int, int] = tuple(data.test.images.shape[1:])  # type: ignore[assignment]
    with randomness.default_generators(cell.config.seed, "init"):
        network = networks.build(cell.config.model, shape, len(data.classes))
    stored = (cell.folder / "model.safetensors").read_bytes()
    if result.get("weights") not in (None, weights_digest(stored)):
        raise ValueError("model.safetensors is damaged, or not of the run that wrote result.json")
    try:
        weights = safetensors_read(stored)
    except SafetensorError as error:
        raise ValueError(f"model.safetensors is damaged: {error}") from error
    network.load_state_dict(weights)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    measured = measure(network, data, cell.config, "full")
    # What the training run measured stays as it was.
    whole = measured | result
    cell.finish(whole)
    with CellBoard(cell.folder) as board:
        board.scalars(headline(whole), cell.config.epochs + 1)
    return whole


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a result that TensorBoard shows, by tag."""
    tags = {f"final/{name}": value for name, value in result["test"].items()}
    for family in ("shift", "adversarial"):
        for name, values in result.get(family, {}).items():
            tags[f"{family}/{name}"] = values["accuracy"]
    return tags
