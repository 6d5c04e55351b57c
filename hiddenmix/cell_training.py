"""Trains one cell of a study from wherever it stands to its result: the wiring of the rooms."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_read
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from hiddenmix import atomic, checkpoints, evaluation, mixing, models, randomness
from hiddenmix.batches import normalise
from hiddenmix.cells import image_mixup, is_plain, model_name, plain, setting_key
from hiddenmix.config import Config, layers
from hiddenmix.data import Data
from hiddenmix.display import Display
from hiddenmix.interrupts import Interrupts
from hiddenmix.store import FORMAT, Cell, environment
from hiddenmix.tracking import CellBoard
from hiddenmix.training import Epoch, Training

CHECKPOINT_SHARE = 0.01
"""An epoch's end is saved where the last save took at most this share of the time since."""

EVALUATION_SHARE = 0.05
"""Share of the training time that the test curve may take where `evaluate_every` is null."""

PICTURED = 8
"""Samples in TensorBoard's picture of a mixed batch."""


@dataclass(frozen=True)
class Run:
    """What the cells of one command share."""

    command: str
    device: torch.device
    display: Display
    interrupts: Interrupts


def train_cell(cell: Cell, data: Data, run: Run) -> dict[str, Any]:
    """Train `cell`, resuming its checkpoint if there is one; writes and returns its result.

    `data` lies on the run's device. Raises `Interrupted` once a checkpoint is written, and whatever
    makes the training fail.
    """
    config = cell.config
    shape: tuple[int, int, int] = tuple(data.train.images.shape[1:])  # type: ignore[assignment]
    with randomness.default_generators(config.seed, "init"):
        network = models.build(config.model, shape, len(data.classes))
    training = Training(
        network, data.train.images, data.train.labels, data.mean, data.std, config, run.device
    )
    saved = checkpoints.load(cell.folder, cell.id, run.device)
    metrics: list[dict[str, float]] = []
    if saved is not None:
        training.load_state(saved["training"])
        metrics = saved["metrics"]
    cell.prepare()
    cell.write_metrics(metrics)
    run.display.begin(cell.id, config.epochs, training.epoch)
    saver = _Saver(cell, training, metrics)
    with CellBoard(cell.folder, training.epoch + 1) as board, run.interrupts.deferred():
        if training.epoch == 0:
            board.pictures(*mixed_pictures(network, data, config))
        _train(training, data, run, board, saver)
        result = _evaluate(training.network, data, run, cell, metrics)
        parameters = {
            key: result[key] for key in ("dataset", "model", "layer", "mode", "alpha", "seed")
        }
        board.result(parameters, headline(result), config.epochs)
    tensors = {name: value.contiguous() for name, value in training.network.state_dict().items()}
    atomic.write_bytes(cell.folder / "model.safetensors", safetensors_bytes(tensors))
    cell.finish(result)
    checkpoints.remove(cell.folder)
    return result


class _Saver:
    """Writes a cell's checkpoints at a bounded rate."""

    def __init__(self, cell: Cell, training: Training, metrics: list[dict[str, float]]) -> None:
        self._cell, self._training, self._metrics = cell, training, metrics
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def due(self, *, epoch_end: bool) -> bool:
        since = time.monotonic() - self._saved_at
        cheap = 0 < self._cost <= CHECKPOINT_SHARE * since
        return since >= self._cell.config.checkpoint_seconds or (epoch_end and cheap)

    def save(self) -> None:
        # A broken state must never replace a good one.
        self._training.finite_losses()
        started = time.monotonic()
        state = {"training": self._training.state(), "metrics": self._metrics}
        checkpoints.save(self._cell.folder, self._cell.id, state)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started


def _train(training: Training, data: Data, run: Run, board: CellBoard, saver: _Saver) -> None:
    cell, config = saver._cell, saver._cell.config
    every = config.evaluate_every or evaluation_interval(data)
    for epoch in training.run():
        if epoch is not None:
            last = epoch.number == config.epochs
            measured = epoch.number % every == 0 or last
            line = _metrics(epoch, training.network, data, config, measured=measured)
            saver._metrics.append(line)
            cell.append_metrics(line)
            board.epoch(line)
            run.display.epoch(
                cell.id, epoch.number, config.epochs, epoch.loss, epoch.images_per_second
            )
        try:
            run.interrupts.check()
        except BaseException:
            saver.save()
            raise
        if saver.due(epoch_end=epoch is not None):
            saver.save()


def _metrics(
    epoch: Epoch, network: nn.Module, data: Data, config: Config, *, measured: bool
) -> dict[str, float]:
    line: dict[str, float] = {
        "epoch": epoch.number,
        "loss": epoch.loss,
        "learning_rate": epoch.learning_rate,
        "seconds": round(epoch.seconds, 4),
        "images_per_second": round(epoch.images_per_second, 1),
    }
    if measured:
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
                line |= {f"{name}_accuracy": accuracy, f"{name}_nll": nll}
    return line


def evaluation_interval(data: Data) -> int:
    """Epochs between points of the test curve, so that they cost at most `EVALUATION_SHARE`.

    Counted in images, not in measured time, so that every run has the same points: a training step
    costs about three forward passes.
    """
    measured = len(data.test.images) + (len(data.validation.images) if data.validation else 0)
    return max(1, math.ceil(measured / (3 * EVALUATION_SHARE * len(data.train.images))))


def _evaluate(
    network: nn.Module, data: Data, run: Run, cell: Cell, metrics: list[dict[str, float]]
) -> dict[str, Any]:
    config = cell.config
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
        "title": config.dataset.title or config.dataset.name,
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
    result |= measure(network, data, config, run.interrupts, config.evaluation)
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


def measure(
    network: nn.Module, data: Data, config: Config, interrupts: Interrupts, which: str
) -> dict[str, Any]:
    """The evaluations that `which` selects, nested as in `result.json`; a signal ends them early."""
    pairs: list[tuple[str, float]] = []
    for name in evaluation.SELECTIONS[which]:
        evaluator = evaluation.EVALUATORS[name]
        test = data.test
        for pair in evaluator(
            network, test.images, test.labels, data.mean, data.std, precision=config.precision
        ):
            pairs.append(pair)
            interrupts.check()
    if data.validation is not None and "clean" in evaluation.SELECTIONS[which]:
        split = data.validation
        accuracy, nll = evaluation.accuracy(
            network, split.images, split.labels, data.mean, data.std, precision=config.precision
        )
        pairs += [("validation/accuracy", accuracy), ("validation/nll", nll)]
    # JSON has no NaN; a value that is not a number is absent, not zero.
    return evaluation.nested((name, value) for name, value in pairs if math.isfinite(value))


def add_evaluation(
    cell: Cell,
    result: dict[str, Any],
    data: Data,
    device: torch.device,
    interrupts: Interrupts,
) -> dict[str, Any]:
    """Measure a finished cell's stored network in full and write what `result` lacked.

    Raises `OSError` or `ValueError` where the weights cannot be read, `Interrupted` on a signal.
    """
    shape: tuple[int, int, int] = tuple(data.test.images.shape[1:])  # type: ignore[assignment]
    with randomness.default_generators(cell.config.seed, "init"):
        network = models.build(cell.config.model, shape, len(data.classes))
    try:
        weights = safetensors_read((cell.folder / "model.safetensors").read_bytes())
    except SafetensorError as error:
        raise ValueError(f"model.safetensors is damaged: {error}") from error
    network.load_state_dict(weights)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with interrupts.deferred():
        measured = measure(network, data, cell.config, interrupts, "full")
    # What the training run measured stays as it was.
    whole = measured | result
    cell.finish(whole)
    with CellBoard(cell.folder, cell.config.epochs + 1) as board:
        board.scalars(headline(whole), cell.config.epochs + 1)
    return whole


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a result that TensorBoard shows, by tag."""
    tags = {f"final/{name}": value for name, value in result["test"].items()}
    for family in ("shift", "adversarial"):
        for name, values in result.get(family, {}).items():
            tags[f"{family}/{name}"] = values["accuracy"]
    return tags


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def mixed_pictures(
    network: nn.Module, data: Data, config: Config
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Partner images, mixed images and mixed feature maps of a few training images, for TensorBoard.

    Draws from a stream of its own and leaves the network, its BatchNorm statistics included, as it was.
    """
    count = min(PICTURED, len(data.train.images))
    generator = randomness.stream(config.seed, "picture")
    draw = mixing.draw(generator, count, mode=config.mode, alpha=config.alpha, lam=config.lam).to(
        data.train.images.device
    )
    pixels = data.train.images[:count].float() / 255
    partners = torch.stack([pixels[row] for row in draw.index])
    if is_plain(config):
        return pixels[None], pixels, None
    layer = layers(config)[-1]
    maps: list[Tensor] = []
    if layer != "input":
        hook = network.get_submodule(layer).register_forward_hook(
            lambda module, args, output: maps.append(output)
        )
        training = network.training
        try:
            with torch.no_grad():
                network.eval()(normalise(data.train.images[:count], data.mean, data.std))
        finally:
            hook.remove()
            network.train(training)
    mixed_maps = mixing.mix(maps[0].contiguous(), draw) if maps else None
    return partners, mixing.mix(pixels, draw), mixed_maps
