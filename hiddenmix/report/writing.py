"""Writes a study's report: the tables as CSV, and a folder with report.md, verdict.json and figures."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hiddenmix.config import UserError, counted, show
from hiddenmix.report import distances
from hiddenmix.report.answers import NAME as ANSWERS
from hiddenmix.report.cells_table import cells_table
from hiddenmix.report.comparison import condition_means
from hiddenmix.report.findings import Findings, as_json, find
from hiddenmix.report.markdown import markdown
from hiddenmix.report.past_looks import record_looks
from hiddenmix.report.published_results import NAME as RESULTS
from hiddenmix.report.published_results import packed
from hiddenmix.report.reading import Study, read_study
from hiddenmix.report.tables import escaped
from hiddenmix.system import LockError, PatienceError, atomic, hold
from hiddenmix.terminal import clean

if TYPE_CHECKING:
    from hiddenmix.report.drawing import Drawing  # loads matplotlib, which a table does without

_LARGE = 20_000
"""Bytes of an SVG figure beyond which a published report has the PNG alone."""

_GROUPS = 3
"""Data sets, networks and variants that get figures of their own."""


def write_report(
    study: Path,
    title: str | None = None,
    *,
    margin: float | None = None,
    output: Path | None = None,
) -> Path:
    """Write `study`/summary.csv, cells.csv and report/, record in a study.json beside them that its
    verdicts were looked at, and return the path of report.md.

    `title` heads the report, by default the folder's name; `margin`, a fraction, is by default the
    study's own. With `output` all goes into that folder, with what is needed of the predictions to
    compute the report again, and the study is only read. An unfinished study is reported as far as it
    goes, with what is missing. `UserError`: no study, no results, a folder that cannot be written, or a
    lock that cannot be had.
    """
    with tables_locked(study, output):
        read = with_results(study)
        found = find(read, margin)
        path = write(read, found, title, output)
    if output is None:
        record_looks(study, found.questions)
    return path


@contextmanager
def tables_locked(study: Path, output: Path | None = None) -> Iterator[None]:
    """Hold the study's lock while its own tables and report are made: of several processes each makes
    them in turn, of what it reads then. With `output` nothing is locked. Raises `UserError`."""
    with ExitStack() as held:
        # os.path: a path that cannot be one is for `read_study` to refuse.
        if output is None and os.path.isdir(study / "cells"):  # noqa: PTH112
            try:
                held.enter_context(hold(study / "study.lock"))
            except PatienceError as error:
                raise UserError(str(error)) from error
            except (OSError, LockError) as error:
                raise unwritable(study, error) from error
        yield


def with_results(folder: Path) -> Study:
    """`read_study`, which must hold results. Raises `UserError`."""
    study = read_study(folder)
    _check_results(study)
    return study


def _check_results(study: Study) -> None:
    if study.cells.empty:
        counts = f"{len(study.failures)} failed, {len(study.missing)} unfinished"
        first = f"; {study.problems[0]}" if study.problems else ""
        raise UserError(
            f"{show(study.folder)} holds no results to report\n  cells: {counts}{first}"
        )


def write_summary(study: Study, found: Findings) -> Path:
    """Write summary.csv and cells.csv, a row for each setting and each cell, into the folder of a study
    that was read; returns the path of the first. Errors as above."""
    _check_results(study)
    try:
        return _tables(study, found.table, study.folder)
    except OSError as error:
        raise unwritable(study.folder, error) from None


def write(
    study: Study, found: Findings, title: str | None = None, output: Path | None = None
) -> Path:
    """Write the report of a study that was read; as `write_report`, but the caller holds `tables_locked`
    and records the look."""
    _check_results(study)
    folder = output or study.folder / "report"
    if output is None and not (study.folder / "cells").is_dir():
        raise UserError(
            f"{show(study.folder)} is a published report, and stays as it is\n"
            "  --output FOLDER computes it again, in another folder"
        )
    try:
        folder.mkdir(exist_ok=True, parents=output is not None)
        if output is None and folder.resolve().parent != study.folder.resolve():
            raise UserError(f"{show(folder)} leads out of the study\n  remove that link")
        _tables(study, found.table, output or study.folder)
        if output is not None:
            _publish(study, found, folder)
        figures, drawn = _figures(study, found, folder, published=output is not None)
        remove_stale(folder, drawn)
        heading = clean(title or study.folder.resolve().name)
        atomic.write_json(folder / "verdict.json", as_json(study, found))
        path = folder / "report.md"
        text = markdown(study, found, heading, figures)
        atomic.write_bytes(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise unwritable(study.folder, error) from None
    return path


def _publish(study: Study, found: Findings, folder: Path) -> None:
    """What the numbers are computed from, so that the report can be computed again from its folder."""
    contents = {RESULTS: packed(study.folder), ANSWERS: found.answers.content()}
    if (record := study.folder / "study.json").is_file():
        contents["study.json"] = record.read_bytes()
    if (measured := distances.content(study)) is not None:
        contents[distances.PUBLISHED] = measured
    for name, content in contents.items():
        atomic.write_bytes(folder / name, content)


def unwritable(folder: Path, error: OSError | LockError) -> UserError:
    reason = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror}: {error.filename}"
    return UserError(
        f"the report of {show(folder)} cannot be written ({clean(reason)})\n"
        "  --output FOLDER writes it elsewhere"
    )


def _tables(study: Study, table: pd.DataFrame, folder: Path) -> Path:
    """summary.csv: the settings' table, then the mean accuracy under each shift and attack; and
    cells.csv, a row for each cell."""
    means = {str(key): condition_means(group) for key, group in study.cells.groupby("setting")}
    names = sorted({name for found in means.values() for name in found})
    columns = {
        f"{name}_accuracy_mean": [means[key].get(name) for key in table["setting"]]
        for name in names
    }
    wide = pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)
    path = folder / "summary.csv"
    for place, rows in ((path, wide), (folder / "cells.csv", cells_table(study.cells))):
        # Six digits tell apart accuracies on a million test images; result.json has all of them.
        text = rows.to_csv(index=False, float_format=None if rows is wide else "%.6g")
        atomic.write_bytes(place, text.encode("utf-8", "replace"))
    return path


def _figures(
    study: Study, findings: Findings, folder: Path, *, published: bool
) -> tuple[list[str], set[str]]:
    """Save every figure; the report's lines that show and explain them, and the files' names."""
    from hiddenmix.report.distance_figure import distance_figure
    from hiddenmix.report.drawing import groups
    from hiddenmix.report.factor_figure import factor_figure
    from hiddenmix.report.figures import draw

    lines: list[str] = []
    drawn: set[str] = set()

    def add(drawing: "Drawing", heading: str) -> None:
        lines.extend(save(drawing, heading, folder, drawn, published=published))

    places = dict.fromkeys((effect.title, effect.model) for effect in findings.effects)
    for number, place in enumerate(list(places)[:_GROUPS], start=1):
        own = [each for each in findings.effects if (each.title, each.model) == place]
        name = "factors" if len(places) == 1 else f"{number}_factors"
        if drawing := factor_figure(own, name):
            add(drawing, "##")
    if drawing := distance_figure(findings.places):
        add(drawing, "##")
    found = groups(study, findings.table)
    for number, group in enumerate(found[:_GROUPS], start=1):
        if len(found) > 1:
            lines += [f"## {escaped(group.label)}", ""]
        for drawing in draw(group, study, findings.answers, f"{number}_" if len(found) > 1 else ""):
            add(drawing, "###" if len(found) > 1 else "##")
    if len(found) > _GROUPS:
        more = counted(len(found) - _GROUPS, "further group")
        lines += [f"There are tables alone of {more} of settings.", ""]
    return lines, drawn


def save(
    drawing: "Drawing", heading: str, folder: Path, drawn: set[str], *, published: bool
) -> list[str]:
    """Save a figure; the report's lines that show and explain it. Its files' names go into `drawn`."""
    from hiddenmix.report.drawing import small

    link = ""
    for suffix in ("png", "svg"):
        content = drawing.save(suffix)
        if suffix == "svg":
            if published and len(content) > _LARGE:
                continue
            link = f" ([SVG]({drawing.name}.svg))"
        elif published and content:
            content = small(content, drawing.shades)
        drawn.add(f"{drawing.name}.{suffix}")
        atomic.write_bytes(folder / f"{drawing.name}.{suffix}", content)
    return [
        *(f"{heading} {escaped(drawing.heading)}", ""),
        *(f"![{escaped(drawing.heading)}]({drawing.name}.png)", ""),
        *(drawing.reading + link, ""),
    ]


def remove_stale(folder: Path, drawn: set[str]) -> None:
    """Delete the figures of an earlier report that this one does not draw: those that the report.md
    still in `folder` names. A user's own pictures stay."""
    try:
        former = (folder / "report.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for name in set(re.findall(r"\]\(([\w.=+-]+\.(?:png|svg))\)", former)) - drawn:
        path = folder / name
        if path.is_file() and not path.is_symlink():
            path.unlink()
