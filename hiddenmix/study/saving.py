"""When a cell's checkpoint is written: at a bounded rate, and whenever a signal ends the run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hiddenmix.study import checkpoints
from hiddenmix.study.store import Cell
from hiddenmix.system import Interrupted, Interrupts
from hiddenmix.training import Training

CHECKPOINT_SHARE = 0.01
"""An epoch's end is saved where the last save took at most this share of the time since."""

# Until a save was timed, it is taken to cost 10 ms and a second for each 100 MB of weights.
_FIRST_COST, _FIRST_RATE = 0.01, 1e8


class Saver:
    """Writes a cell's checkpoints at a bounded rate."""

    def __init__(
        self,
        cell: Cell,
        training: Training,
        metrics: list[dict[str, float]],
        measuring: dict[str, float] | None,
        environments: list[dict[str, Any]],
    ) -> None:
        self.cell, self.training, self.metrics = cell, training, metrics
        self.measuring = measuring
        """The last epoch's line of `metrics` while the test curve's point is not measured yet."""
        self.environments = environments
        """What the network was trained in, in turn, as `training_environment`; the last one is this."""
        self._saved_at = time.monotonic()
        values = training.network.state_dict().values()
        self._cost = _FIRST_COST + sum(value.nbytes for value in values) / _FIRST_RATE

    def due(self, *, epoch_end: bool) -> bool:
        since = time.monotonic() - self._saved_at
        cheap = self._cost <= CHECKPOINT_SHARE * since
        return since >= self.cell.config.checkpoint_seconds or (epoch_end and cheap)

    def save(self) -> None:
        # A broken state must never replace a good one.
        self.training.finite_losses()
        started = time.monotonic()
        state = {
            "training": self.training.state(),
            "metrics": self.metrics,
            "measuring": self.measuring,
            "environments": self.environments,
        }
        checkpoints.save(self.cell.folder, self.cell.id, state)
        self._saved_at = time.monotonic()
        # A slow save is remembered for a while, lest a fast one between slow ones mislead.
        self._cost = max(self._saved_at - started, self._cost / 2)

    @contextmanager
    def measurement(self, interrupts: Interrupts) -> Iterator[None]:
        """Around an evaluation: a signal ends it at once, and the next run repeats it alone."""
        try:
            with interrupts.immediate():
                yield
        except Interrupted:
            self.save()
            raise
