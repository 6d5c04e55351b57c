"""TensorBoard: what a cell shows while it trains, and a setting beside its baselines."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

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

from hiddenmix.study.pictures import Picture
from hiddenmix.study.tracking import SCALARS, Ended, Tracked, moments


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


class TensorBoard:
    """TensorBoard events of one cell, as `Tracker`; a step is an epoch, counted from 1."""

    def __init__(self, cell: Tracked) -> None:
        """A training's events are written afresh: a killed run's own may lack epochs and hold others that
        are trained again. The epochs before a resume come at the times at which an undisturbed run would
        have logged them."""
        self._cell = cell
        events = _events(cell.folder)
        if cell.state != "done":
            for path in events.glob("events.out.tfevents*"):
                path.unlink(missing_ok=True)
        with ExitStack() as stack:
            stack.enter_context(_quiet_threads())
            self._writer = SummaryWriter(str(events), flush_secs=30)
            stack.callback(self._writer.close)
            self._ends = stack.pop_all()
        if cell.state != "done":
            for line, at in moments(cell.lines):
                self._scalars(line, at)

    def epoch(self, line: Mapping[str, float]) -> None:
        self._scalars(line, None)

    def _scalars(self, line: Mapping[str, float], at: float | None) -> None:
        for key, tag in SCALARS.items():
            if key in line:
                self._writer.add_scalar(tag, line[key], int(line["epoch"]), walltime=at)

    def pictures(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            [value] = image(picture.tag, picture.image, dataformats="CHW").value
            value.metadata.CopyFrom(create_summary_metadata(picture.title, picture.description))
            # TensorBoard's fast loader passes over the metadata of images that are no tensors.
            summary = Summary(value=[migrate_value(value)])
            self._writer._get_file_writer().add_summary(summary, 1)

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        """The metrics as scalars, and the row of the HParams dashboard, which a cell has once.

        The plugin takes its columns from the first run that holds a summary of the *experiment*, as
        `SummaryWriter.add_hparams` writes one, whatever other runs hold. Without any it takes the
        union over all runs, those that differ first; and every scalar of a run as a metric.
        """
        for tag, value in metrics.items():
            self._writer.add_scalar(tag, value, step)
        if self._cell.state == "done":
            return
        start = SessionStartInfo(start_time_secs=time.time())
        kinds = {bool: "bool_value", str: "string_value"}
        for name, parameter in self._cell.parameters.items():
            setattr(start.hparams[name], kinds.get(type(parameter), "number_value"), parameter)
        end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        for tag, content in (
            (hparams_metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
            (hparams_metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
        ):
            about = hparams_metadata.create_summary_metadata(content)
            summary = Summary(value=[Summary.Value(tag=tag, metadata=about)])
            self._writer._get_file_writer().add_summary(summary)

    def close(self, ended: Ended) -> None:
        self._ends.close()


def _events(folder: Path) -> Path:
    """Where the events of the cell in `folder` lie. A link would lead out of the study: it is removed."""
    events = folder / EVENTS
    if events.is_symlink():
        events.unlink()
    return events


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
