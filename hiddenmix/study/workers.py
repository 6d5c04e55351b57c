"""Who trains a command's cells: this process, or several workers at once, one thread each."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from os import kill
from signal import SIGTERM
from typing import Any, Protocol

import torch

from hiddenmix.config import Config, UserError
from hiddenmix.study.attempting import Outcome, attempt, record_failure
from hiddenmix.study.command import Run
from hiddenmix.study.devices import accelerators
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.shared_data import can_share
from hiddenmix.study.store import Cell
from hiddenmix.study.worker import Job, start, work
from hiddenmix.system import Interrupted, Interrupts, context, cores, free_memory, start_server
from hiddenmix.terminal import Display

LOOK_SECONDS = 0.2
"""Between two looks at signals while workers train."""

SPARE = 0.9
"""Share of the free memory that workers may take."""


class Team(Protocol):
    """Those who train."""

    def attempts(
        self, cells: Sequence[Cell], elsewhere: set[str], patience: float
    ) -> Iterator[Outcome]:
        """Attempt every one of `cells`, as `attempt` does. Raises `Interrupted`."""


class Here:
    """This process, one cell after another."""

    def __init__(self, loaded: LoadedData, run: Run) -> None:
        self._loaded, self._run = loaded, run

    def attempts(
        self, cells: Sequence[Cell], elsewhere: set[str], patience: float
    ) -> Iterator[Outcome]:
        for cell in cells:
            here = cell.id in elsewhere
            yield attempt(cell, self._loaded, self._run, patience, elsewhere=here)
            self._run.interrupts.check()


class Workers(AbstractContextManager["Workers"]):
    """`number` processes, each with a pool of its own, so that one which is killed breaks no other's.

    The first one begins alone: what memory its training takes decides how many join it, unless the user
    named the number. A cell whose process dies is tried once more, when all others are done.
    """

    def __init__(
        self, number: int, job: Job, display: Display, interrupts: Interrupts, *, measured: bool
    ) -> None:
        self._display, self._interrupts = display, interrupts
        start_server()
        self._seats = [_Seat(replace(job, number=each)) for each in range(number)]
        self._open = 1 if measured else number
        self._stopped = False

    def __exit__(self, *_: object) -> None:
        for seat in self._seats:
            seat.stop()  # where an error ends the command, of what is still trained a checkpoint stays
        for seat in self._seats:
            seat.close()

    def attempts(
        self, cells: Sequence[Cell], elsewhere: set[str], patience: float
    ) -> Iterator[Outcome]:
        with self._interrupts.deferred():
            died: list[Cell] = []
            for cell, outcome in self._side_by_side(deque(cells), elsewhere, patience):
                if outcome is not None:
                    yield outcome
                    continue
                died.append(cell)
                if not self._stopped:
                    self._display.say(
                        f"{cell.id}: its process was ended; it is tried once more, alone"
                    )
            for cell in died:
                for _, outcome in self._side_by_side(deque([cell]), elsewhere, patience, seats=1):
                    yield outcome or self._give_up(cell)

    def _give_up(self, cell: Cell) -> Outcome:
        error = RuntimeError(
            "its process was ended twice, the second time with no other beside it: most likely by "
            "the system, for want of memory"
        )
        with cell.locked() as mine:
            text = record_failure(cell, error) if mine else str(error)
        return Outcome(cell.id, "failed", text, True)

    def _side_by_side(
        self, waiting: deque[Cell], elsewhere: set[str], patience: float, seats: int | None = None
    ) -> Iterator[tuple[Cell, Outcome | None]]:
        """Each cell with its outcome, or with None where its process was ended.

        On so many `seats`, or those that are open. Raises `Interrupted` once all have ended.
        """
        while waiting or any(seat.cell for seat in self._seats):
            for seat in self._seats[: seats or self._open]:
                if waiting and seat.cell is None and not self._stopped:
                    cell = waiting.popleft()
                    seat.begin(cell, patience, cell.id in elsewhere)
            busy = [seat for seat in self._seats if seat.cell is not None]
            wait([each for seat in busy for each in seat.readers], timeout=LOOK_SECONDS)
            self._heed()
            for seat in busy:
                self._hear(seat)
                if seat.done():
                    cell, outcome = seat.end()
                    self._display.leave(cell.id)
                    yield cell, outcome
            if self._stopped and not any(seat.cell for seat in self._seats):
                self._interrupts.check()

    def _heed(self) -> None:
        """Hand a signal on to the workers, once."""
        if self._stopped:
            return
        try:
            self._interrupts.check()
        except Interrupted:
            self._stopped = True
            for seat in self._seats:
                seat.stop()

    def _hear(self, seat: "_Seat") -> None:
        for method, arguments in seat.said():
            if method == "started":
                [seat.process] = arguments
                if self._stopped:
                    seat.stop()
            elif method == "memory":
                self._let_in(int(arguments[0]))
            else:
                getattr(self._display, method)(*arguments)

    def _let_in(self, need: int) -> None:
        """Open as many seats as `need` bytes each fit into the free memory."""
        if self._open > 1:
            return
        fit = 1 + int(SPARE * free_memory() / max(need, 1))
        self._open = min(len(self._seats), fit)
        if self._open < len(self._seats):
            self._display.say(
                f"{self._open} of {len(self._seats)} workers train at once: a network takes "
                f"{need / 1e9:.1f} GB, and memory has room for no more"
            )


def how_many(config: Config, device: torch.device, networks: int) -> int:
    """Workers for so many `networks`: one an accelerator, else one for each `threads` physical cores."""
    if not can_share():
        return min(1, networks)
    if config.workers != "auto":
        return min(int(config.workers), networks)
    if device.type != "cpu":
        return min(accelerators() if config.device == "auto" else 1, networks)
    return min(max(1, cores() // config.threads), networks)


class _Seat:
    """One worker process at a time, what it trains, and what it says."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.process: int | None = None
        self.cell: Cell | None = None
        self.readers: list[Connection] = []
        """What the worker says, and a sign that its cell has ended."""

        self._pool: ProcessPoolExecutor | None = None
        self._future: Future[Outcome | None] | None = None

    def begin(self, cell: Cell, patience: float, elsewhere: bool) -> None:
        self.cell = cell
        if self._pool is None:
            hears, says = context().Pipe(duplex=False)
            ended, self._end = context().Pipe(duplex=False)
            self.readers = [hears, ended]
            self._pool = ProcessPoolExecutor(
                1, mp_context=context(), initializer=start, initargs=(self._job, says)
            )
            self._future = self._pool.submit(work, cell, patience, elsewhere)
            says.close()  # the worker has it now, and its death shall be heard
        else:
            self._future = self._pool.submit(work, cell, patience, elsewhere)
        self._future.add_done_callback(lambda _: self._end.send_bytes(b"."))

    def said(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What the worker has said since, as a method of `Display` and its arguments."""
        hears, ended = self.readers
        while ended.poll():
            ended.recv_bytes()
        try:
            while hears.poll():
                yield hears.recv()
        except (EOFError, OSError):  # killed, perhaps within a word
            return

    def done(self) -> bool:
        return self._future is not None and self._future.done()

    def end(self) -> tuple[Cell, Outcome | None]:
        """The cell with its outcome, or with None where a signal ended the process or the cell."""
        assert self.cell is not None
        assert self._future is not None
        cell, future = self.cell, self._future
        self.cell = self._future = None
        try:
            outcome = future.result()
        except BrokenProcessPool:
            if self.process is None:
                raise UserError(
                    "a worker process could not start, or was ended at once\n"
                    "  workers=1 trains in the command's own process"
                ) from None
            outcome = None
        if outcome is None:
            self.close()
        return cell, outcome

    def stop(self) -> None:
        """Let the worker write its checkpoint and end its cell."""
        if self.cell is not None and self.process is not None:
            with suppress(ProcessLookupError):
                kill(self.process, SIGTERM)

    def close(self) -> None:
        """End the worker; it must not be training."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            for each in (*self.readers, self._end):
                each.close()
        self._pool, self.process, self.readers = None, None, []
