"""The table of a study's settings on a terminal."""

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from hiddenmix.report.markdown import LEFT, columns, identity, outcome


def terminal_table(table: pd.DataFrame) -> Table:
    """The rows of `settings_table` as a table for a rich console."""
    rows = [identity(row) | outcome(row) for _, row in table.iterrows()]
    for row in rows:  # report.md has it; a terminal of 80 columns has no room
        del row["p (flip)"]
    names = columns(rows)
    heading = "accuracy, and gain over image mixup paired by seed"
    if rows and "data" not in names:
        heading = f"{rows[0]['data']}: {heading}"
    view = Table(title=Text(heading), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    if (table["n"] > 1).any():
        view.caption = Text("± and [ ]: 95 %, Student t over n seeds; p (Holm): over these rows")
        view.caption_justify = "left"
    for name in names:
        view.add_column(name, justify="left" if name in LEFT else "right", no_wrap=name not in LEFT)
    for row in rows:
        view.add_row(*(Text(row[name]) for name in names))  # Text: markup in names stays text
    return view
