"""Signals that end a run: remembered while a step is under way, raised where nothing can be lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SLURM sends SIGUSR1 before a time limit, if asked to.
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class Interrupted(BaseException):  # like KeyboardInterrupt, not an error
    """A signal asked the run to end; `exit_code` is 128 plus its number, as shells report it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Interrupts:
    """Turns the signals into `Interrupted`: at once, or inside `deferred` when `check` is called."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT:
            # The second Ctrl-C: the user does not want to wait for a checkpoint.
            os._exit(128 + number)
        self._received = number
        if not self._deferred:
            raise Interrupted(number)

    def check(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self._received is not None:
            raise Interrupted(self._received)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block signals wait for `check`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @contextmanager
    def installed(self) -> Iterator["Interrupts"]:
        """Handle the signals within the block; the former handlers come back after it."""
        former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
