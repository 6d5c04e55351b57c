"""Trains one cell of a study from wherever it stands to its result: the wiring of the rooms."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_read
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from hiddenmix import atomic, checkpoints, evaluation, mixing, models, randomness, tracking
from hiddenmix.batches import normalise
from hiddenmix.cells import data_title, image_mixup, is_plain, model_name, plain, setting_key
from hiddenmix.config import Config, layers
from hiddenmix.data import Data
from hiddenmix.display import Display
from hiddenmix.interrupts import Interrupted, Interrupts
from hiddenmix.saving import Saver
from hiddenmix.store import FORMAT, Cell, environment
from hiddenmix.tracking import CellBoard
from hiddenmix.training import Training

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


class CellError(Exception):
    """Training a cell failed at `epoch` and `step`, both from 1; the cause says why."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(f"failed at epoch {epoch}, step {step}")
        self.epoch, self.step = epoch, step


def train_cell(cell: Cell, data: Data, run: Run) -> dict[str, Any]:
    """Train `cell`, resuming its checkpoint if there is one; writes and returns its result.

    `data` lies on the run's device and the caller holds the cell's lock. Raises `Interrupted` once a
    checkpoint is written, and `CellError` from whatever makes a training under way fail.
    """
    config = cell.config
    cell.prepare()
    training, saved, pictures = _start(cell, data, run)
    metrics: list[dict[str, float]] = saved["metrics"]
    cell.write_metrics(metrics)
    tracking.clear(cell.folder)
    run.display.begin(cell.id, config.epochs, training.epoch, training.step)
    saver = Saver(cell, training, metrics, saved["measuring"])
    try:
        with CellBoard(cell.folder) as board, run.interrupts.deferred():
            board.pictures(*pictures)
            board.replay(metrics)
            _train(training, data, run, board, saver)
            result = _measured(training.network, data, run, saver)
            parameters = {
                key: result[key] for key in ("dataset", "model", "layer", "mode", "alpha", "seed")
            }
            board.result(parameters, headline(result), config.epochs)
        tensors = {key: value.contiguous() for key, value in training.network.state_dict().items()}
        weights = safetensors_bytes(tensors)
        atomic.write_bytes(cell.folder / "model.safetensors", weights)
        # Whole again and on the disk, as the result will be: lines were appended without fsync.
        cell.write_metrics(metrics)
        result["weights"] = _digest(weights)
        cell.finish(result)
    except Exception as error:
        raise CellError(training.epoch + 1, training.step + 1) from error
    checkpoints.remove(cell.folder)
    return result


_Pictures = tuple[Tensor, Tensor, Tensor | None]


def _start(cell: Cell, data: Data, run: Run) -> tuple[Training, dict[str, Any], _Pictures]:
    """The training where its checkpoint left it, or at its beginning; the rest of that checkpoint;
    and pictures of the mixing in the untrained network."""

    def fresh() -> Training:
        shape: tuple[int, int, int] = tuple(data.train.images.shape[1:])  # type: ignore[assignment]
        with randomness.default_generators(cell.config.seed, "init"):
            network = models.build(cell.config.model, shape, len(data.classes))
        images, labels = data.train.images, data.train.labels
        return Training(
            network,
            images,
            labels,
            data.mean,
            data.std,
            cell.config,
            run.device,
            say=run.display.say,
        )

    def warn(text: str) -> None:
        run.display.say(f"warning: {text}")

    training = fresh()
    pictures = mixed_pictures(training.network, data, cell.config)
    saved = checkpoints.load(cell.folder, cell.id, warn)
    if saved is not None:
        try:
            training.load_state(saved["training"])
            rest = {"metrics": saved["metrics"], "measuring": saved.get("measuring")}
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            # Whole, but of a program whose networks or optimizers were others.
            reason = " ".join(str(error).split())[:200]
            warn(f"the checkpoint of {cell.id} does not fit and is not used: {reason}")
            training = fresh()
        else:
            return training, rest, pictures
    return training, {"metrics": [], "measuring": None}, pictures


def _digest(weights: bytes) -> str:
    return hashlib.blake2b(weights, digest_size=16).hexdigest()


def _train(training: Training, data: Data, run: Run, board: CellBoard, saver: Saver) -> None:
    if saver.measuring is not None:
        _end_epoch(saver.measuring, data, run, board, saver)
    for epoch in training.run():
        if epoch is not None:
            line = {
                "epoch": epoch.number,
                "loss": epoch.loss,
                "learning_rate": epoch.learning_rate,
                "seconds": round(epoch.seconds, 4),
                "images_per_second": round(epoch.images_per_second, 1),
            }
            _end_epoch(line, data, run, board, saver)
        try:
            run.interrupts.check()
        except Interrupted:
            saver.save()
            raise
        if saver.due(epoch_end=epoch is not None):
            saver.save()


def _end_epoch(
    line: dict[str, float], data: Data, run: Run, board: CellBoard, saver: Saver
) -> None:
    """Add the test curve's point to an epoch's `line`, where it is due, and log the line."""
    cell, config, number = saver.cell, saver.cell.config, int(line["epoch"])
    every = config.evaluate_every or evaluation_interval(data)
    if number % every == 0 or number == config.epochs:
        saver.measuring = line
        with saver.measurement(run.interrupts):
            line = line | _curve_point(saver.training.network, data, config)
        saver.measuring = None
    saver.metrics.append(line)
    cell.append_metrics(line)
    board.epoch(line)
    run.display.epoch(cell.id, number, config.epochs, line["loss"], line["images_per_second"])


def _curve_point(network: nn.Module, data: Data, config: Config) -> dict[str, float]:
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


def _measured(network: nn.Module, data: Data, run: Run, saver: Saver) -> dict[str, Any]:
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
        network = models.build(cell.config.model, shape, len(data.classes))
    stored = (cell.folder / "model.safetensors").read_bytes()
    if result.get("weights") not in (None, _digest(stored)):
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


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def mixed_pictures(network: nn.Module, data: Data, config: Config) -> _Pictures:
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
            # A copy, for the next module may write in place.
            lambda module, args, output: maps.append(output.clone())
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
