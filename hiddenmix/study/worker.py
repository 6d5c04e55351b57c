"""What a worker process does: trains the cells it is handed, and tells its command how they go."""

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from rich.console import Console

from hiddenmix.study.attempting import Outcome, attempt
from hiddenmix.study.command import Run
from hiddenmix.study.devices import choose_device
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.shared_data import SharedWhole
from hiddenmix.study.store import Cell
from hiddenmix.system import Interrupted, Interrupts, keep_freed_memory, own_memory

MEMORY_AFTER = 2
"""Steps after which a worker tells how much memory it has: the first one makes the optimizer's state."""


@dataclass(frozen=True)
class Job:
    """What every worker of a command is given when it starts."""

    command: str
    device: str
    number: int
    """Of the worker, from 0: the accelerator that `device=auto` takes."""

    threads: int
    data: Mapping[tuple[object, ...], SharedWhole]


class Relay:
    """The display of a worker: everything goes to the command's own, as method and arguments."""

    def __init__(self, connection: Connection) -> None:
        self._steps = 0
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, method: str, *arguments: object) -> None:
        try:
            with self._lock:
                self._connection.send((method, arguments))
        except OSError:  # the command is gone, as `_follow` sees too
            pass

    def say(self, text: str) -> None:
        self.send("say", text)

    def begin(self, name: str, epochs: int, start: int, step: int = 0) -> None:
        self.send("begin", name, epochs, start, step)

    def step(self) -> None:
        self._steps += 1
        if self._steps == MEMORY_AFTER:
            self.send("memory", own_memory())

    def epoch(self, name: str, number: int, epochs: int, loss: float, rate: float) -> None:
        self.send("epoch", name, number, epochs, loss, rate)


class _Worker:
    def __init__(self, job: Job, connection: Connection) -> None:
        self.relay = Relay(connection)
        self.interrupts = Interrupts()
        # For good: between two cells a signal is the command's to answer.
        stack = ExitStack()
        stack.enter_context(self.interrupts.installed())
        stack.enter_context(self.interrupts.deferred())
        self._stack = stack
        device = choose_device(job.device, job.number)
        self.loaded = LoadedData(Console(quiet=True), device)
        for key, shared in job.data.items():
            LoadedData.put(key, shared.open())
            shared.close()
        self.run = Run(job.command, device, self.relay, self.interrupts, self.loaded.outside)
        self.busy = False


_worker: _Worker | None = None


def start(job: Job, connection: Connection) -> None:
    """Once in each worker process, before its first cell."""
    global _worker  # noqa: PLW0603  # a process's own state, which the pool gives no other place
    keep_freed_memory()
    torch.set_num_threads(job.threads)
    _worker = _Worker(job, connection)
    threading.Thread(target=_follow, args=(_worker,), daemon=True).start()
    _worker.relay.send("started", os.getpid())


def work(cell: Cell, patience: float, elsewhere: bool) -> Outcome | None:
    """Attempt `cell`; None where a signal ended it, its checkpoint written."""
    assert _worker is not None
    _worker.busy = True
    try:
        _worker.interrupts.check()
        return attempt(cell, _worker.loaded, _worker.run, patience, elsewhere=elsewhere)
    except Interrupted:
        return None
    finally:
        _worker.busy = False
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)


def _follow(worker: _Worker) -> None:
    """End with the command, whatever ended that."""
    parent: Any = parent_process()
    wait([parent.sentinel])
    if worker.busy:
        os.kill(os.getpid(), signal.SIGTERM)  # which writes a checkpoint
    else:
        os._exit(1)
