"""Trains one cell of a study from wherever it stands to its result: the wiring of the rooms."""

from typing import Any

from safetensors.torch import save as safetensors_bytes

from hiddenmix import networks, randomness
from hiddenmix.config import show, trackers
from hiddenmix.data import Data
from hiddenmix.study import checkpoints, predictions, tracking
from hiddenmix.study.command import Run
from hiddenmix.study.environment import training_environment
from hiddenmix.study.measuring import curve_point, evaluation_interval
from hiddenmix.study.pictures import Pictures, mixed_pictures
from hiddenmix.study.result import about, finished_result, headline
from hiddenmix.study.saving import Saver
from hiddenmix.study.store import Cell
from hiddenmix.study.tracking import Trackers
from hiddenmix.system import Interrupted, atomic
from hiddenmix.training import Training


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
    run.display.begin(cell.id, config.epochs, training.epoch, training.step)
    environments = _environments(cell, saved["environments"], run)
    saver = Saver(cell, training, metrics, saved["measuring"], environments)
    tracked = tracking.tracked(
        cell, data, metrics, "resumed" if training.epoch or training.step else "new"
    )
    try:
        with (
            Trackers(trackers(config), tracked, run.display.say, run.broken) as told,
            run.interrupts.deferred(),
        ):
            told.pictures(pictures)
            _train(training, data, run, told, saver)
            result = finished_result(training.network, data, run, saver)
            told.result(headline(result), config.epochs)
        tensors = {key: value.contiguous() for key, value in training.network.state_dict().items()}
        weights = safetensors_bytes(tensors, metadata=about(cell, data))
        atomic.write_bytes(cell.folder / "model.safetensors", weights)
        # Whole again and on the disk, as the result will be: lines were appended without fsync.
        cell.write_metrics(metrics)
        result["weights"] = predictions.digest(weights)
        cell.finish(result)
    except Exception as error:
        raise CellError(training.epoch + 1, training.step + 1) from error
    checkpoints.remove(cell.folder)
    return result


def _start(cell: Cell, data: Data, run: Run) -> tuple[Training, dict[str, Any], Pictures]:
    """The training where its checkpoint left it, or at its beginning; the rest of that checkpoint;
    and pictures of the mixing in the untrained network."""

    def fresh() -> Training:
        model = cell.config.model
        shape = data.train.shape
        with randomness.default_generators(cell.config.seed, "init"):
            network = networks.build(model, shape, len(data.classes))
        images, labels = data.train.images, data.train.labels
        return Training(
            network,
            images,
            labels,
            data.mean,
            data.std,
            cell.config,
            run.device,
            memory_format=networks.layout_of(model, shape, len(data.classes)),
            say=run.display.say,
        )

    def warn(text: str) -> None:
        run.display.say(f"warning: {text}")

    training = fresh()
    pictures = []
    if trackers(cell.config):
        pictures = mixed_pictures(training.network, data, cell.config)
    saved = checkpoints.load(cell.folder, cell.id, warn)
    if saved is not None:
        try:
            training.load_state(saved["training"])
            rest = {
                "metrics": saved["metrics"],
                "measuring": saved.get("measuring"),
                "environments": saved.get("environments", []),  # of former versions, none
            }
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            # Whole, but of a program whose networks or optimizers were others.
            reason = " ".join(str(error).split())[:200]
            warn(f"the checkpoint of {cell.id} does not fit and is not used: {reason}")
            training = fresh()
        else:
            return training, rest, pictures
    return training, {"metrics": [], "measuring": None, "environments": []}, pictures


def _environments(cell: Cell, former: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """The `former` environments of the training and this one; says where they differ."""
    here = training_environment(run.device)
    if not former or former[-1] == here:
        return former or [here]
    before = former[-1]
    changed = [key for key in here if before.get(key) != here[key]]
    told = "; ".join(f"{key} {show(before.get(key))}, now {show(here[key])}" for key in changed)
    run.display.say(
        f"warning: {cell.id} goes on in another environment than it began in ({told}): its numbers "
        "may differ from those of a training in one"
    )
    return [*former, here]


def _train(training: Training, data: Data, run: Run, told: Trackers, saver: Saver) -> None:
    if saver.measuring is not None:
        _end_epoch(saver.measuring, data, run, told, saver)
    for epoch in training.run():
        run.display.step()
        if epoch is not None:
            line = {
                "epoch": epoch.number,
                "loss": epoch.loss,
                "learning_rate": epoch.learning_rate,
                "seconds": round(epoch.seconds, 4),
                "images_per_second": round(epoch.images_per_second, 1),
            }
            _end_epoch(line, data, run, told, saver)
        try:
            run.interrupts.check()
        except Interrupted:
            saver.save()
            raise
        if saver.due(epoch_end=epoch is not None):
            saver.save()


def _end_epoch(line: dict[str, float], data: Data, run: Run, told: Trackers, saver: Saver) -> None:
    """Add the test curve's point to an epoch's `line`, where it is due, and log the line."""
    cell, config, number = saver.cell, saver.cell.config, int(line["epoch"])
    every = config.evaluate_every or evaluation_interval(data)
    if number % every == 0 or number == config.epochs:
        saver.measuring = line
        with saver.measurement(run.interrupts):
            line = line | curve_point(saver.training.network, data, config)
        saver.measuring = None
    saver.metrics.append(line)
    cell.append_metrics(line)
    told.epoch(line)
    run.display.epoch(cell.id, number, config.epochs, line["loss"], line["images_per_second"])
