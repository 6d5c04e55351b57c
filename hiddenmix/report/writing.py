"""Writes a study's report: summary.csv, and report/ with report.md and its figures."""

from pathlib import Path

import pandas as pd

from hiddenmix.config import UserError, show
from hiddenmix.report.cells_table import cells_table
from hiddenmix.report.comparison import condition_means, settings_table
from hiddenmix.report.markdown import escaped, markdown
from hiddenmix.report.results import Study, read_study
from hiddenmix.system import atomic
from hiddenmix.terminal import clean

_GROUPS = 3
"""Data sets, networks and variants that get figures of their own."""


def write_report(study: Path, title: str | None = None) -> Path:
    """Write `study`/summary.csv and `study`/report/ and return the path of report.md.

    `title` heads the report, by default the folder's name. An unfinished study is reported as far
    as it goes, with what is missing. `UserError`: no study, no results, or a folder that cannot be
    written.
    """
    return write(with_results(study), title)[0]


def write_summary(study: Path) -> Path:
    """Write `study`/summary.csv, a row for each setting, and return its path; errors as above."""
    found = with_results(study)
    try:
        return _summary(found, settings_table(found.cells))
    except OSError as error:
        raise _unwritable(found, error) from None


def with_results(folder: Path) -> Study:
    study = read_study(folder)
    if study.cells.empty:
        counts = f"{len(study.failures)} failed, {len(study.missing)} unfinished"
        first = f"; {study.problems[0]}" if study.problems else ""
        raise UserError(f"{show(folder)} holds no results to report\n  cells: {counts}{first}")
    return study


def write(study: Study, title: str | None) -> tuple[Path, pd.DataFrame]:
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
    """summary.csv: the settings' table, then the mean accuracy under each shift and attack; and
    cells.csv, a row for each cell."""
    means = {str(key): condition_means(group) for key, group in study.cells.groupby("setting")}
    names = sorted({name for found in means.values() for name in found})
    columns = {
        f"{name}_accuracy_mean": [means[key].get(name) for key in table["setting"]]
        for name in names
    }
    wide = pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    path = study.folder / "summary.csv"
    for place, rows in ((path, wide), (path.with_name("cells.csv"), cells_table(study.cells))):
        atomic.write_bytes(place, rows.to_csv(index=False).encode("utf-8", "replace"))
    return path


def _figures(study: Study, table: pd.DataFrame, folder: Path) -> list[str]:
    """Save every figure and return the report's lines that show and explain them."""
    from hiddenmix.report.drawing import groups
    from hiddenmix.report.figures import draw

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
