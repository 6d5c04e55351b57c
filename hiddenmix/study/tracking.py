"""Trackers: what a cell tells TensorBoard, MLflow and Weights & Biases while it trains.

The cell's own files, `metrics.jsonl` and `result.json`, hold all of it too. So a tracker that breaks, for
want of space or of its server, costs the training nothing: it is said, and the training goes on.
"""

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Protocol

from hiddenmix.config import Config, UserError, layers, show, trackers
from hiddenmix.data import Data
from hiddenmix.study.cells import data_title, identity, is_plain, model_name, setting_key
from hiddenmix.study.pictures import Picture
from hiddenmix.study.store import Cell
from hiddenmix.system import install_extra
from hiddenmix.terminal import clean

Value = bool | int | float | str
"""Of a hyperparameter: bool, number or text."""

Ended = Literal["done", "failed", "stopped"]
"""How the training of a cell ended; one that a signal stopped goes on at the next command."""

SCALARS = {
    "learning_rate": "train/learning_rate",
    "images_per_second": "train/images_per_second",
    "test_accuracy": "test/accuracy",
    "test_nll": "test/nll",
    "validation_accuracy": "validation/accuracy",
    "loss": "train/loss",
}
"""Names in a line of `metrics.jsonl`, and what trackers call them. Every line has a loss: where a tracker
has that, it has what stands before it."""

PATIENCE = {"done": 120.0, "failed": 120.0, "stopped": 2.0}
"""Seconds that a tracker gets for the rest when a cell has ended. A signal leaves 5 s for everything."""

# Neither asks the network for anything by itself, and a server that is gone is given up within a minute,
# where MLflow would try for many. What the user has set stands.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "WANDB_ERROR_REPORTING": "false",
}

_PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a cell when it begins."""

    study: Path
    """The study's folder."""

    folder: Path
    """The cell's folder."""

    setting: str
    """What the cell shares with its repeats; see `setting_key`."""

    parameters: Mapping[str, Value]
    lines: Sequence[Mapping[str, float]] = ()
    """The epochs that are done, as in `metrics.jsonl`."""

    state: Literal["new", "resumed", "done"] = "new"
    """Whether the training begins, or goes on from a checkpoint, or was done before and an evaluation is
    added."""


def moments(lines: Sequence[Mapping[str, float]]) -> Iterator[tuple[Mapping[str, float], float]]:
    """Each of the epochs `lines` with the time, in seconds since 1970, at which it would have been logged
    if their training had just ended and had not been disturbed."""
    left = math.fsum(line["seconds"] for line in lines)
    now = time.time()
    for line in lines:
        left -= line["seconds"]
        yield line, now - left


class Tracker(Protocol):
    """What each tracker does. It is made with a `Tracked`, whose `lines` it then holds, each once."""

    def epoch(self, line: Mapping[str, float]) -> None:
        """The scalars of one epoch, as in `metrics.jsonl`; a step is an epoch, counted from 1."""

    def pictures(self, pictures: Sequence[Picture]) -> None:
        """The pictures of a mixed batch, each with its title and description."""

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        """The metrics of the finished cell, by tag."""

    def close(self, ended: Ended) -> None:
        """The end; nothing is told afterwards."""


def tracked(
    cell: Cell,
    data: Data,
    lines: Sequence[Mapping[str, float]],
    state: Literal["new", "resumed", "done"],
) -> Tracked:
    """What trackers are told of `cell`."""
    return Tracked(
        study=cell.folder.parent.parent,
        folder=cell.folder,
        setting=setting_key(cell.config, data.digest),
        parameters=hyperparameters(cell.config, data),
        lines=tuple(lines),
        state=state,
    )


def check_trackers(config: Config) -> None:
    """Raise `UserError` where a tracker's package is not installed. Imports none of them."""
    for name in trackers(config):
        lacks = [each for each in _PACKAGES.get(name, ()) if find_spec(each) is None]
        if lacks:
            raise UserError(
                f"tracker={show(name)} needs {', '.join(lacks)}, not installed here\n"
                f"  {install_extra(name)}, or leave {name} out of tracker=[...]"
            )


def _open(name: str, cell: Tracked) -> Tracker:
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    # Imported where they are used: MLflow takes 2 s, Weights & Biases 1 s.
    match name:
        case "mlflow":
            from hiddenmix.study.mlflow_tracker import MLflow

            return MLflow(cell)
        case "wandb":
            from hiddenmix.study.wandb_tracker import WeightsAndBiases

            return WeightsAndBiases(cell)
    from hiddenmix.study.tensorboard_tracker import TensorBoard

    return TensorBoard(cell)


class _Aside:
    """A tracker whose calls a thread of its own makes, in their order: no server keeps the training, or
    its checkpoint at a signal, waiting. What went wrong there is raised by the next call."""

    def __init__(self, name: str, cell: Tracked) -> None:
        self._calls: SimpleQueue[Callable[[Tracker], None]] = SimpleQueue()
        self._error: Exception | None = None
        self._closed = False
        # A daemon: what hangs does not keep the process.
        self._thread = threading.Thread(target=self._work, args=(name, cell), daemon=True)
        self._thread.start()

    def _work(self, name: str, cell: Tracked) -> None:
        try:
            tracker = _open(name, cell)
            while not self._closed:
                self._calls.get()(tracker)
        except Exception as error:
            self._error = error
        except BaseException as error:  # such as an exit that a library asks for
            self._error = RuntimeError(repr(error))

    def _call(self, call: Callable[[Tracker], None]) -> None:
        if self._error is not None:
            raise self._error
        self._calls.put(call)

    def epoch(self, line: Mapping[str, float]) -> None:
        self._call(lambda tracker: tracker.epoch(line))

    def pictures(self, pictures: Sequence[Picture]) -> None:
        self._call(lambda tracker: tracker.pictures(pictures))

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        self._call(lambda tracker: tracker.result(metrics, step))

    def close(self, ended: Ended) -> None:
        def close(tracker: Tracker) -> None:
            self._closed = True
            tracker.close(ended)

        self._call(close)
        self._thread.join(PATIENCE[ended])
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {PATIENCE[ended]:.0f} s")


class Trackers:
    """The trackers of one cell's training. One that breaks is left, and said; the others go on."""

    def __init__(
        self,
        names: Sequence[str],
        cell: Tracked,
        say: Callable[[str], None],
        broken: Counter[str] | None = None,
    ) -> None:
        """`broken` counts the cells in a row in which a tracker broke; one that broke in two of them is
        not asked again, since a server that does not answer costs time."""
        self._cell, self._say = cell, say
        self._broken = Counter() if broken is None else broken
        self._trackers: dict[str, Tracker] = {}
        for name in names:
            if self._broken[name] < 2:
                self._try(name, partial(self._begin, name))

    def __bool__(self) -> bool:
        return bool(self._trackers)

    def _begin(self, name: str) -> None:
        begin = _Aside if name in _PACKAGES else _open
        self._trackers[name] = begin(name, self._cell)

    def _try(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # of whatever kind: these are other people's programs
            self._trackers.pop(name, None)
            rest = "this network"
            if name in _PACKAGES:
                self._broken[name] += 1
                rest += " and of the next ones" if self._broken[name] > 1 else ""
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            self._say(
                f"warning: {self._cell.folder.name}: {name} failed: "
                f"{clean(reason, 200) or type(error).__name__}; it is told no more of {rest} "
                "(metrics.jsonl has all of it)"
            )

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._try(name, partial(action, tracker))

    def epoch(self, line: Mapping[str, float]) -> None:
        self._each(lambda tracker: tracker.epoch(line))

    def pictures(self, pictures: Sequence[Picture]) -> None:
        self._each(lambda tracker: tracker.pictures(pictures))

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        self._each(lambda tracker: tracker.result(metrics, step))

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended: Ended = "done"
        if error is not None:
            ended = "failed" if isinstance(error, Exception) else "stopped"
        self._each(lambda tracker: tracker.close(ended))
        for name in self._trackers:
            self._broken[name] = 0


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
