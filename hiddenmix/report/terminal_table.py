"""The table of a study's settings on a terminal, of whatever width."""

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hiddenmix.report.tables import LEFT, columns, identity, outcome

_DROPPED = ("p (flip)", "p (t)", "p (Holm)", "accuracy, %")
"""What a narrow terminal goes without, in this order; report.md and summary.csv have it. What tells
rows apart always stays."""

WIDTH = 80


def terminal_table(table: pd.DataFrame, width: int = WIDTH) -> Table:
    """The rows of `settings_table` as a table for a rich console of `width` columns."""
    rows = [identity(row) | outcome(row) for _, row in table.iterrows()]
    names = [name for name in columns(rows) if name != _DROPPED[0]]
    for dropped in _DROPPED[1:]:
        if _wide(rows, names) > width:
            names = [name for name in names if name != dropped]
    heading = "accuracy, and gain over image mixup of as many images, paired by seed"
    if rows and "data" not in names:
        heading = f"{rows[0]['data']}: {heading}"
    view = Table(title=Text(heading), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    if (table["n"] > 1).any():
        view.caption = Text("± and [ ]: 95 %, Student t over n seeds; p (Holm): over these rows")
        view.caption_justify = "left"
    for name in names:
        # Folded, not cut: two long names that begin alike must not look alike.
        view.add_column(
            name,
            justify="left" if name in LEFT else "right",
            no_wrap=name not in LEFT,
            overflow="fold",
        )
    for row in rows:
        view.add_row(*(Text(row[name]) for name in names))  # Text: markup in names stays text
    return view


def _wide(rows: list[dict[str, str]], names: list[str]) -> int:
    """Columns of a terminal that the table takes, one between and one beside its own."""
    return sum(
        1 + max(cell_len(text) for text in (name, *(row[name] for row in rows))) for name in names
    )
