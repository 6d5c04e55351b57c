"""What the terminal shows: bars where there is a terminal, a few plain lines a run elsewhere."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from hiddenmix.config import counted

PLAIN_SECONDS = 60.0
"""Seconds between two lines about one long network where the output is no terminal."""


_WIDE = 160
"""Columns of a file or a pipe without a terminal: a log holds every column of a table."""


_FEWEST = 10
"""Columns below which a terminal cannot be meant."""


def make_console(*, errors: bool = False) -> Console:
    """Of stdout, or of stderr for `errors`: text as it is, without emoji for `:dog:` or colours for
    numbers, as wide as the terminal, as COLUMNS says, or `_WIDE`."""
    found = Console(stderr=errors, highlight=False, emoji=False)
    # `| less` is as wide as the terminal it is read on.
    watched = found.is_jupyter or any(map(os.isatty, (0, 1, 2)))
    asked = os.environ.get("COLUMNS", "")
    # A terminal of no columns, as some containers and editors say, would show nothing at all.
    if found.width < _FEWEST or not (watched or asked.isdigit()):
        # rich takes the width alone for a wish where TERM=dumb, and both for an order.
        found.size = ConsoleDimensions(80 if watched else _WIDE, 25)
    return found


def interactive(console: Console) -> bool:
    """Whether somebody watches: FORCE_COLOR asks for colours in a file, not for bars that move."""
    # Another program's stream in the place of stdout may lack the method.
    isatty = getattr(console.file, "isatty", None)
    return console.is_terminal and isatty is not None and isatty()


def duration(seconds: float) -> str:
    """`75` seconds as `1 min 15 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


class Display:
    """Progress of a command over its networks."""

    def __init__(
        self, console: Console, networks: int, workers: int = 1, what: str = "network"
    ) -> None:
        """`workers`: how many of the `networks` are trained at once; `what` they are called."""
        self.console = console
        self._what = what
        self._networks, self._workers = networks, workers
        self._done = 0
        self._started = time.monotonic()
        self._trained = 0
        self._spoke: dict[str, float] = {}
        self._bars: Progress | None = None
        self._all: TaskID | None = None
        self._each: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Keep the bars on the terminal within the block."""
        if not interactive(self.console):
            yield self
            return
        # Not as markup: a layer's name may hold brackets.
        name, note = (
            TextColumn(f"{{task.{text}}}", markup=False) for text in ("description", "fields[note]")
        )
        columns = (name, BarColumn(), MofNCompleteColumn(), note)
        with Progress(*columns, console=self.console, transient=True) as bars:
            self._bars = bars
            self._all = bars.add_task(f"{self._what}s", total=self._networks, note="")
            yield self
            self._bars = None
            self._each = {}

    def say(self, text: str) -> None:
        """One line, as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, name: str, epochs: int, start: int, step: int = 0) -> None:
        """A network begins, or goes on after `start` epochs and `step` steps."""
        self._spoke[name] = time.monotonic()
        if start or step:
            steps = f" and {counted(step, 'step')}" if step else ""
            self.say(f"{name}: resumed after epoch {start} of {epochs}{steps}")
        if self._bars:
            self._each[name] = self._bars.add_task(
                name[:60], total=epochs, completed=start, note=""
            )

    def step(self) -> None:
        """A training step is done: too little to show."""

    def epoch(self, name: str, number: int, epochs: int, loss: float, rate: float) -> None:
        """An epoch is done: `loss`, and `rate` in images/s."""
        note = f"loss {loss:.3f}  {rate:,.0f} images/s"
        if self._bars and name in self._each:
            self._bars.update(self._each[name], completed=number, note=note)
        elif time.monotonic() - self._spoke[name] > PLAIN_SECONDS:
            self._spoke[name] = time.monotonic()
            self.say(f"{name}: epoch {number}/{epochs}  {note}")

    def leave(self, name: str) -> None:
        """A network is not trained any more."""
        self._spoke.pop(name, None)
        if self._bars and name in self._each:
            self._bars.remove_task(self._each.pop(name))

    def end(self, name: str, text: str, *, trained: bool) -> None:
        """A network is done; after one more than there are workers, how long the rest will take is said.

        Counted from the first one's end, since its time holds torch's own start-up.
        """
        self.leave(name)
        self._done += 1
        self._trained += trained
        self.say(f"[{self._done}/{self._networks}] {name}: {text}")
        left = self._networks - self._done
        if self._trained == 1 and trained:
            self._started = time.monotonic()
        each = (time.monotonic() - self._started) / max(self._trained - 1, 1)
        if trained and self._trained == self._workers + 1 and left:
            rest = self._what if left == 1 else f"{left} {self._what}s"
            self.say(f"about {duration(each * left)} for the {rest} to come")
        if self._bars and self._all is not None:
            rest = f"about {duration(each * left)} left" if self._trained > self._workers else ""
            self._bars.update(self._all, completed=self._done, note=rest)
