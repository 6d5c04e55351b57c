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

import torch
from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams


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


class CellBoard:
    """TensorBoard events of one cell; a step is an epoch, counted from 1."""

    def __init__(self, folder: Path) -> None:
        with ExitStack() as stack:
            stack.enter_context(_quiet_threads())
            self._writer = SummaryWriter(str(folder), flush_secs=30)
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

    def pictures(self, partners: Tensor, mixed: Tensor, maps: Tensor | None) -> None:
        """One mixed batch: `partners` [K, n, C, H, W] and `mixed` [n, C, H, W] in [0, 1], and `maps`
        [n, C', H', W'], the mixed feature maps of the same samples at the chosen layer."""
        rows = torch.cat([*partners, mixed])
        self._writer.add_image("mixing/input", image_grid(rows, len(mixed)), 1)
        if maps is not None and maps.dim() == 4:
            channels = maps[:, :8].transpose(0, 1).reshape(-1, 1, *maps.shape[2:])
            low, high = channels.amin((2, 3), keepdim=True), channels.amax((2, 3), keepdim=True)
            scaled = (channels - low) / (high - low).clamp_min(1e-6)
            self._writer.add_image("mixing/feature_maps", image_grid(scaled, len(maps)), 1)

    def result(
        self, parameters: Mapping[str, Any], metrics: Mapping[str, float], step: int
    ) -> None:
        """The finished cell: its row of the HParams dashboard, and its metrics as scalars."""
        self.scalars(metrics, step)
        # SummaryWriter.add_hparams would open a run of its own for them.
        known = {key: value for key, value in parameters.items() if value is not None}
        for summary in hparams(known, dict.fromkeys(metrics, 0.0)):
            writer = self._writer._get_file_writer()
            writer.add_summary(summary)

    def scalars(self, metrics: Mapping[str, float], step: int) -> None:
        """`metrics` by tag, at `step`."""
        for tag, value in metrics.items():
            self._writer.add_scalar(tag, value, step)


def clear(folder: Path) -> None:
    """Delete a cell's events, before a new run of it logs them afresh."""
    for path in folder.glob("events.out.tfevents*"):
        path.unlink(missing_ok=True)


def image_grid(images: Tensor, columns: int) -> Tensor:
    """`images` [n, C, H, W] in [0, 1], row by row, as one picture [C, ...] with a line between them.

    Small images are magnified to at least 32 pixels a side, so that they can be looked at.
    """
    images = images.detach().float().cpu()
    factor = max(1, 32 // images.shape[-1])
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    images = torch.nn.functional.pad(images, (1, 1, 1, 1))
    _, channels, height, width = images.shape
    grid = images.reshape(-1, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, -1, columns * width)


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
