"""A study's settings, questions and verdicts on a terminal, of whatever width."""

from collections.abc import Collection, Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.comparison import PLAIN, image_mixing
from hiddenmix.report.questions import Question
from hiddenmix.report.tables import LEFT, columns, identity, outcome, two_way_points
from hiddenmix.report.verdict import told

_DROPPED = ("p (flip)", "p (t)", "p (Holm)", "accuracy, %")
"""What a narrow terminal goes without, in this order; report.md and summary.csv have it. What tells
rows apart always stays."""

WIDTH = 80


def terminal_table(table: pd.DataFrame, width: int = WIDTH) -> Table:
    """The rows of `settings_table` as a table for a rich console of `width` columns."""
    rows = [identity(row) | outcome(row) for _, row in table.iterrows()]
    names = [name for name in columns(rows) if name != _DROPPED[0]]
    for dropped in _DROPPED[1:]:
        if wide(rows, names) > width:
            names = [name for name in names if name != dropped]
    images = image_mixing(table.loc[table["layer"] != PLAIN, "variant"])
    heading = f"accuracy, and gain over {images} of as many images, paired by seed"
    if rows and "data" not in names:
        heading = f"{rows[0]['data']}: {heading}"
    view = Table(title=Text(heading), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    if (table["n"] > 1).any():
        view.caption = Text("± and [ ]: 95 %, Student t over n seeds; p (Holm): over these rows")
        view.caption_justify = "left"
    _fill(view, rows, names)
    return view


def terminal_verdicts(questions: Sequence[Question], margin: float) -> Group:
    """The verdicts for a rich console: each on a line, and those on clean test images explained.

    Where the study asks more than one question of them, a table of all answers stands first.
    """
    parts: list[RenderableType] = []
    if sum(question.what == CLEAN for question in questions) > 1:
        parts.append(answers_table([answer_row(question, margin) for question in questions]))
    for question in questions:
        verdict, *rest = told(question, margin, markdown=False)
        parts.append(terminal_answer(verdict, rest if question.what == CLEAN else ()))
    return Group(*parts)


def terminal_answer(verdict: str, rest: Sequence[str]) -> Group:
    """A verdict, and indented below it what is to be said of it."""
    return Group(Text(verdict, style="bold"), *(_Indented(text) for text in rest))


class _Indented:
    """A paragraph two columns in; rich's own padding would fill its right side with blanks."""

    def __init__(self, text: str) -> None:
        self._text = Text(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.wrap(console, max(1, options.max_width - 2)):
            line.rstrip()
            yield Text("  ").append_text(line)


def answer_row(question: Question, margin: float) -> dict[str, str]:
    """What was asked, and the answer."""
    gain = question.gain
    about = {"data": question.title, "network": question.model, "differs in": question.variant}
    what = {"on": question.what, "layer": question.layer or ""}
    word = f"equal ±{100 * margin:g}" if question.word == "equal" else question.word
    found = {"verdict": word, "n": str(gain.seeds) if gain else ""}
    return about | what | found | {"gain, points [95 %]": two_way_points(gain)}


def answers_table(rows: list[dict[str, str]], keep: Collection[str] = ()) -> Table:
    """Rows of `answer_row`, with or without more columns, for a rich console."""
    view = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    _fill(view, rows, columns(rows, keep))
    return view


def _fill(view: Table, rows: list[dict[str, str]], names: list[str]) -> None:
    for name in names:
        # Folded, not cut: two long names that begin alike must not look alike.
        view.add_column(
            name,
            justify="left" if name in LEFT else "right",
            no_wrap=name not in LEFT or name == "verdict",
            overflow="fold",
        )
    for row in rows:
        view.add_row(*(Text(row[name]) for name in names))  # Text: markup in names stays text


def wide(rows: list[dict[str, str]], names: list[str]) -> int:
    """Columns of a terminal that the table takes, one between and one beside its own."""
    return sum(
        1 + max(cell_len(text) for text in (name, *(row[name] for row in rows))) for name in names
    )
