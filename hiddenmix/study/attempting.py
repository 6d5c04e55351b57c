"""One attempt at one cell: its lock, what it lacks, and what is said and recorded of it."""

import traceback
from dataclasses import dataclass
from functools import partial
from typing import Literal

from hiddenmix.study import failures
from hiddenmix.study.added_evaluation import add_evaluation, dropped, lacking
from hiddenmix.study.cell_training import CellError, train_cell
from hiddenmix.study.command import Run
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.store import Cell
from hiddenmix.terminal import clean, duration


@dataclass(frozen=True)
class Outcome:
    """How an attempt at the cell `cell` ended."""

    cell: str
    state: Literal["done", "failed", "busy"]
    """`busy`: another process holds the cell."""

    text: str = ""
    """What the line of the cell says; of a failure its message."""

    trained: bool = False
    """Whether time went into training."""


def attempt(
    cell: Cell, loaded: LoadedData, run: Run, patience: float, *, elsewhere: bool
) -> Outcome:
    """Train `cell`, or measure what its result lacks, under its lock.

    Waits for the lock for `patience` seconds. `elsewhere`: another process was seen to hold the cell,
    so that a failure found now is that one's. Raises `Interrupted`.
    """
    with cell.locked(timeout=patience) as mine:
        if not mine:
            return Outcome(cell.id, "busy")
        if elsewhere and (failure := cell.failure()) is not None:
            # Another process has tried it a moment ago; the next command will again.
            return Outcome(cell.id, "failed", clean(failure.get("message"), 500), True)
        return _attempt(cell, loaded, run)


def _attempt(cell: Cell, loaded: LoadedData, run: Run) -> Outcome:
    known = cell.result()
    if known is not None:
        text = f"already there, accuracy {known['test']['accuracy']:.4f}"
        full = cell.config.evaluation == "full"
        sets = partial(loaded.outside, cell.config)
        try:
            if (lacks := lacking(cell, known, full, sets)) is not None:
                data = loaded.get(cell.config)
                new = add_evaluation(cell, known, data, run.device, sets(), lacks, run.display.say)
                text += ", evaluated in full" if full else ", its predictions made again"
                text += dropped(known, new)
        except (OSError, ValueError, RuntimeError) as error:
            return Outcome(cell.id, "failed", clean(error, 500), True)
        return Outcome(cell.id, "done", text)
    try:
        result = train_cell(cell, loaded.get(cell.config), run)
    except Exception as error:
        outcome = Outcome(cell.id, "failed", record_failure(cell, error), True)
        if failures.out_of_memory(error.__cause__ or error):
            error.__traceback__ = None  # its frames hold the network
            error.__cause__ = None
            failures.release_memory()
        return outcome
    train = result["train"]
    text = (
        f"accuracy {result['test']['accuracy']:.4f}, {duration(train['seconds'])}, "
        f"{train['images_per_second']:,.0f} images/s"
    )
    return Outcome(cell.id, "done", text, True)


def record_failure(cell: Cell, error: Exception) -> str:
    """Write `failure.json`, if the disk lets it, and return the failure in one line."""
    position: dict[str, int] = {}
    cause: BaseException = error
    if isinstance(error, CellError) and error.__cause__ is not None:
        position = {"epoch": error.epoch, "step": error.step}
        cause = error.__cause__
    message = failures.describe(cause, cell.config)
    try:
        cell.fail(
            {
                "status": "failed",
                "cell": cell.id,
                "error": type(cause).__name__,
                "message": message,
                **position,
                "traceback": "".join(traceback.format_exception(cause)),
            }
        )
    except OSError as also:
        message += f" (and its failure.json could not be written: {also.strerror})"
    return message
