"""TensorBoard: what a cell shows while it trains, and a setting beside its baselines."""

import math
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.data_compat import migrate_value
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import image

from hiddenmix.config import Config, layers, show
from hiddenmix.data import Data
from hiddenmix.study.cells import data_title, identity, is_plain, model_name
from hiddenmix.study.pictures import Picture

Value = bool | int | float | str
"""Of a hyperparameter: bool, number or text."""


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """A writing thread's error, such as a full disk, is raised again by the next call of its writer;
    within the block it is not printed besides."""
    former = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.thread, _AsyncWriterThread):
            former(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = former


EVENTS = "tb"
"""Folder of a cell's events. In the cell's own folder they would be the run `.` of a TensorBoard that is
shown this one cell, and for `.` the HParams dashboard finds no metrics."""


class CellBoard:
    """TensorBoard events of one cell; a step is an epoch, counted from 1."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the cell's, which gets a folder `EVENTS`."""
        with ExitStack() as stack:
            stack.enter_context(_quiet_threads())
            self._writer = SummaryWriter(str(_events(folder)), flush_secs=30)
            stack.callback(self._writer.close)
            self._ends = stack.pop_all()

    def __enter__(self) -> "CellBoard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.close()

    def replay(self, lines: Sequence[Mapping[str, float]]) -> None:
        """The epochs before a resume, at the times at which an undisturbed run would have logged
        them: a killed run's own events may lack some and hold others that are trained again."""
        left = math.fsum(line["seconds"] for line in lines)
        for line in lines:
            left -= line["seconds"]
            self.epoch(line, time.time() - left)

    def epoch(self, metrics: Mapping[str, float], at: float | None = None) -> None:
        """The scalars of one epoch, as in `metrics.jsonl`; `at` is in seconds since 1970."""
        step = int(metrics["epoch"])
        tags = {
            "loss": "train/loss",
            "learning_rate": "train/learning_rate",
            "images_per_second": "train/images_per_second",
            "test_accuracy": "test/accuracy",
            "test_nll": "test/nll",
            "validation_accuracy": "validation/accuracy",
        }
        for key, tag in tags.items():
            if key in metrics:
                self._writer.add_scalar(tag, metrics[key], step, walltime=at)

    def pictures(self, pictures: Sequence[Picture]) -> None:
        """The pictures of a mixed batch, each with its title and description."""
        for picture in pictures:
            [value] = image(picture.tag, picture.image, dataformats="CHW").value
            value.metadata.CopyFrom(create_summary_metadata(picture.title, picture.description))
            # TensorBoard's fast loader passes over the metadata of images that are no tensors.
            summary = Summary(value=[migrate_value(value)])
            self._writer._get_file_writer().add_summary(summary, 1)

    def result(
        self, parameters: Mapping[str, Value], metrics: Mapping[str, float], step: int
    ) -> None:
        """The finished cell: its row of the HParams dashboard, and its metrics as scalars.

        The plugin takes its columns from the first run that holds a summary of the *experiment*, as
        `SummaryWriter.add_hparams` writes one, whatever other runs hold. Without any it takes the
        union over all runs, those that differ first; and every scalar of a run as a metric.
        """
        self.scalars(metrics, step)
        start = SessionStartInfo(start_time_secs=time.time())
        kinds = {bool: "bool_value", str: "string_value"}
        for name, value in parameters.items():
            setattr(start.hparams[name], kinds.get(type(value), "number_value"), value)
        end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        for tag, content in (
            (hparams_metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
            (hparams_metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
        ):
            about = hparams_metadata.create_summary_metadata(content)
            summary = Summary(value=[Summary.Value(tag=tag, metadata=about)])
            self._writer._get_file_writer().add_summary(summary)

    def scalars(self, metrics: Mapping[str, float], step: int) -> None:
        """`metrics` by tag, at `step`."""
        for tag, value in metrics.items():
            self._writer.add_scalar(tag, value, step)


def clear(folder: Path) -> None:
    """Delete the events of the cell in `folder`, before a new run of it logs them afresh."""
    for path in _events(folder).glob("events.out.tfevents*"):
        path.unlink(missing_ok=True)


def _events(folder: Path) -> Path:
    """Where the events of the cell in `folder` lie. A link would lead out of the study: it is removed."""
    events = folder / EVENTS
    if events.is_symlink():
        events.unlink()
    return events


def hyperparameters(config: Config, data: Data) -> dict[str, Value]:
    """All that makes the cell of `config` and `data` the one it is, by configuration key.

    A key has one type in all cells, for TensorBoard makes text of a column of two and then loses its
    numbers in every filter. `dataset`, `model` and `optimizer` are names; what is null is left out.
    """
    found = identity(config, data.digest)
    del found["data"]
    flat: dict[str, Any] = {}
    for key, value in found.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{key}.{name}": each for name, each in inner} or {key: value}
    for key in ("dataset.name", "model.name", "model.arch", "optimizer.name"):
        flat.pop(key, None)
    # What an identity leaves out at its default: a column that only some cells have does not vary.
    dataset, weights = config.dataset, config.model.weights_digest
    flat |= {
        "dataset.test_fraction": dataset.test_fraction or 0.0,
        "dataset.resize_mode": dataset.resize_mode,
        "model.weights_digest": weights or "none",
    }
    flat |= {
        "dataset": data_title(config),
        # null is all images: their number puts it in one column with the others.
        "dataset.train_size": len(data.train.images),
        "model": model_name(config),
        "optimizer": config.optimizer.name,
        "layer": "+".join(layers(config)),
        "mode": str(config.mode),
        "compile": show(config.compile),
    }
    if config.dataset.name == "image_folder":
        # Folders of one name may hold other images.
        flat["dataset"] += f" {data.digest[:8]}"
        height, width = data.train.images.shape[-2:]
        flat["dataset.resize"] = width if height == width else f"{height}x{width}"
    if is_plain(config):
        # A blank would hide plain runs from the plots, and both columns where all others are equal.
        # No mixing is what mixing becomes for alpha -> 0.
        flat |= {"mode": "none", "alpha": 0.0}
    else:
        flat["operation"] = config.operation
    return {
        key: value if isinstance(value, Value) else show(value)
        for key, value in flat.items()
        if value is not None
    }


def compare(folder: Path, curves: Mapping[str, Mapping[str, Mapping[int, float]]]) -> None:
    """One chart for each setting: its test accuracy by epoch beside those of its baselines.

    `curves`: setting -> line (such as "image mixup") -> epoch -> accuracy in [0, 1]. Written afresh; the
    caller holds the study's lock.
    """
    shutil.rmtree(folder, ignore_errors=True)
    writers: dict[str, SummaryWriter] = {}
    with _quiet_threads(), ExitStack() as stack:
        for setting, lines in curves.items():
            for line, points in lines.items():
                if line not in writers:
                    writers[line] = SummaryWriter(str(folder / line))
                    stack.callback(writers[line].close)
                for epoch, value in points.items():
                    writers[line].add_scalar(f"comparison/{setting}", value, epoch)
