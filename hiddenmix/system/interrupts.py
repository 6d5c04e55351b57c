"""Signals that end a run: remembered while a step is under way, raised where nothing can be lost."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SLURM sends SIGUSR1 before a time limit, if asked to, and submitit asks for SIGUSR2; a terminal that
# closes sends SIGHUP.
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
    if hasattr(signal, name)
)


class Interrupted(BaseException):  # like KeyboardInterrupt, not an error
    """A signal asked the run to end; `exit_code` is 128 plus its number, as shells report it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.exit_code = 128 + number

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[int]]:
        return Interrupted, (self.number,)


class Interrupts:
    """Turns the signals into `Interrupted`: at once, or inside `deferred` when `check` is called."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._all: list[int] = []
        self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT:
            # The second Ctrl-C: the user does not want to wait for a checkpoint.
            os._exit(128 + number)
        # SLURM sends a second one right after the first where a time limit is near.
        self._all.append(number)
        self._received = self._all[0]
        if not self._deferred:
            raise Interrupted(number)

    def check(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self._received is not None:
            raise Interrupted(self._received)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block signals wait for `check`."""
        former, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = former

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Within the block, inside a `deferred` one, signals raise at once: what it does may take
        minutes, and repeating it loses no training."""
        self._deferred = False
        try:
            self.check()
            yield
        finally:
            self._deferred = True

    @contextmanager
    def installed(self) -> Iterator["Interrupts"]:
        """Handle the signals within the block; the former handlers come back after it.

        Those that an engine has set, such as submitit's, which queues the job again, are told of the
        signals then: the checkpoint is written.
        """
        # Python hands signals to the main thread alone: a launcher's thread must do without.
        handled = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
        former = {number: signal.getsignal(number) for number in handled}
        try:
            for number, handler in former.items():
                # `nohup` has it ignored, and means it.
                if not (number == getattr(signal, "SIGHUP", None) and handler == signal.SIG_IGN):
                    signal.signal(number, self._handle)
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            for number in dict.fromkeys(self._all):
                told = former.get(number)
                if callable(told) and told is not signal.default_int_handler:
                    told(number, None)
