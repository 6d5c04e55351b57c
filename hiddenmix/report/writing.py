"""`python -m hiddenmix.report outputs/<study>`: a study's verdict, tables and figures.

Reads result files alone, and imports no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hiddenmix import atomic
from hiddenmix.command_line import guarded
from hiddenmix.comparison import condition_means, settings_table
from hiddenmix.config import UserError, show
from hiddenmix.report_markdown import (
    LEFT,
    LISTED,
    columns,
    escaped,
    identity,
    markdown,
    more,
    outcome,
)
from hiddenmix.results import Study, clean, read_study
from hiddenmix.verdict import judge

__all__ = [
    "main",
    "read_study",
    "settings_table",
    "terminal_table",
    "write_report",
    "write_summary",
]

_GROUPS = 3
"""Data sets, networks and variants that get figures of their own."""


def write_report(study: Path, title: str | None = None) -> Path:
    """Write `study`/summary.csv and `study`/report/ and return the path of report.md.

    `title` heads the report, by default the folder's name. An unfinished study is reported as far
    as it goes, with what is missing. `UserError`: no study, no results, or a folder that cannot be
    written.
    """
    return _write(_with_results(study), title)[0]


def write_summary(study: Path) -> Path:
    """Write `study`/summary.csv, a row for each setting, and return its path; errors as above."""
    found = _with_results(study)
    try:
        return _summary(found, settings_table(found.cells))
    except OSError as error:
        raise _unwritable(found, error) from None


def _with_results(folder: Path) -> Study:
    study = read_study(folder)
    if study.cells.empty:
        counts = f"{len(study.failures)} failed, {len(study.missing)} unfinished"
        first = f"; {study.problems[0]}" if study.problems else ""
        raise UserError(f"{show(folder)} holds no results to report\n  cells: {counts}{first}")
    return study


def _write(study: Study, title: str | None) -> tuple[Path, pd.DataFrame]:
    table = settings_table(study.cells)
    folder = study.folder / "report"
    try:
        folder.mkdir(exist_ok=True)
        if folder.resolve().parent != study.folder.resolve():
            raise UserError(f"{show(folder)} leads out of the study\n  remove that link")
        _summary(study, table)
        figures = _figures(study, table, folder)
        heading = clean(title or study.folder.resolve().name)
        path = folder / "report.md"
        atomic.write_bytes(
            path, markdown(study, table, heading, figures).encode("utf-8", "replace")
        )
    except OSError as error:
        raise _unwritable(study, error) from None
    return path, table


def _unwritable(study: Study, error: OSError) -> UserError:
    return UserError(f"the report of {show(study.folder)} cannot be written\n  {clean(error)}")


def _summary(study: Study, table: pd.DataFrame) -> Path:
    """summary.csv: the settings' table, then the mean accuracy under each shift and attack."""
    means = {str(key): condition_means(group) for key, group in study.cells.groupby("setting")}
    names = sorted({name for found in means.values() for name in found})
    columns = {
        f"{name}_accuracy_mean": [means[key].get(name) for key in table["setting"]]
        for name in names
    }
    wide = pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    path = study.folder / "summary.csv"
    atomic.write_bytes(path, wide.to_csv(index=False).encode("utf-8", "replace"))
    return path


def _figures(study: Study, table: pd.DataFrame, folder: Path) -> list[str]:
    """Save every figure and return the report's lines that show and explain them."""
    from hiddenmix.drawing import groups
    from hiddenmix.figures import draw

    lines: list[str] = []
    found = groups(study, table)
    for number, group in enumerate(found[:_GROUPS], start=1):
        if len(found) > 1:
            lines += [f"## {escaped(group.label)}", ""]
        for drawing in draw(group, study, f"{number}_" if len(found) > 1 else ""):
            for suffix in ("png", "svg"):
                atomic.write_bytes(folder / f"{drawing.name}.{suffix}", drawing.save(suffix))
            heading = "###" if len(found) > 1 else "##"
            lines += [f"{heading} {drawing.heading}", ""]
            lines += [f"![{drawing.heading}]({drawing.name}.png)", ""]
            lines += [f"{drawing.reading} ([SVG]({drawing.name}.svg))", ""]
    if len(found) > _GROUPS:
        lines += [f"{len(found) - _GROUPS} more groups of settings stand in the tables alone.", ""]
    return lines


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m hiddenmix.report",
        description="From a study's results: report/report.md with its figures, and summary.csv.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, such as outputs/default")
    parser.add_argument("--title", help="the report's heading (default: the folder's name)")
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options.study, options.title))


def _run(folder: Path, title: str | None) -> int:
    study = _with_results(folder)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in [*study.problems[:LISTED], *more(len(study.problems))]:
        errors.print(Text(f"warning: {problem}"))
    path, table = _write(study, title)
    console = Console(highlight=False)
    console.print(terminal_table(table))
    console.print(Text(judge(table).sentence.replace("*", "").replace("`", "")), soft_wrap=True)
    console.print(Text(f"report: {clean(path, 5000)}"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
