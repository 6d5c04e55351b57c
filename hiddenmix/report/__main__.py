"""`python -m hiddenmix.report outputs/<study>`: a study's verdicts, tables and figures; or those of
several studies side by side.

Reads result files and predictions alone, and imports no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hiddenmix.config import UserError
from hiddenmix.report.findings import find
from hiddenmix.report.past_looks import record_looks
from hiddenmix.report.several import pool, read, write_several
from hiddenmix.report.tables import LISTED, more, points
from hiddenmix.report.terminal_tables import (
    answer_row,
    answers_table,
    terminal_table,
    terminal_verdicts,
)
from hiddenmix.report.verdict import asked
from hiddenmix.report.writing import tables_locked, with_results, write
from hiddenmix.terminal import VERSION, Parser, clean, guarded, make_console


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = Parser(
        prog="python -m hiddenmix.report",
        description="From a study's results: report/report.md with its figures and verdict.json, "
        "summary.csv and cells.csv. From several studies: report.md with a forest plot, verdicts.csv and "
        "verdict.json, in the folder --output.",
    )
    parser.add_argument(
        "study", type=Path, nargs="+", help="a study's folder, such as outputs/default; or several"
    )
    parser.add_argument("--title", help="the report's heading (default: the folder's name)")
    parser.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="percentage points that do not matter (default: the study's margin, 0.5)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write everything there, to be published, and only read the study",
    )
    parser.add_argument(
        "--pool",
        action="store_true",
        help="with several studies: also the mean gain over their data sets",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.margin is not None and not 0 < options.margin <= 100:
        raise UserError(
            f"--margin={options.margin} is not allowed\n  allowed: above 0 to 100 points"
        )
    margin = None if options.margin is None else options.margin / 100
    console = make_console()
    report = _several if len(options.study) > 1 else _one
    path = report(options, margin, console)
    console.print(Text(f"report: {clean(path, 5000)}"), soft_wrap=True)
    return 0


def _one(options: argparse.Namespace, margin: float | None, console: Console) -> Path:
    [folder] = options.study
    if options.pool:
        raise UserError("--pool is not allowed with one study\n  allowed: two studies or more")
    with tables_locked(folder, options.output):
        study = with_results(folder)
        found = find(study, margin)
        _warn(study.problems)
        path = write(study, found, options.title, options.output)
    console.print(terminal_table(found.table, console.width))
    console.print(terminal_verdicts(found.questions, found.margin))
    if options.output is None:
        record_looks(folder, found.questions)
    return path


def _several(options: argparse.Namespace, margin: float | None, console: Console) -> Path:
    if options.output is None:
        raise UserError("several studies need --output\n  allowed: --output FOLDER")
    studies, rows, places = read(options.study, margin)
    having: dict[str, list[str]] = {}
    for name, study in studies.items():
        for problem in study.problems:
            having.setdefault(problem, []).append(name)
    _warn([f"{', '.join(names)}: {problem}" for problem, names in having.items()])
    pooled = pool(rows) if options.pool else []
    path = write_several(studies, rows, options.output, options.title, pooled, places)
    shown = [{"study": row.study} | answer_row(row.question, row.margin) for row in rows]
    console.print(answers_table(shown, keep=["study"]))
    for each in pooled:
        mean = points(each.mean, each.low, each.high)
        console.print(Text(f"mean over {each.sets} data sets ({asked(each.on)}): {mean} points"))
    return path


def _warn(problems: Sequence[str]) -> None:
    for problem in [*problems[:LISTED], *more(len(problems))]:
        make_console(errors=True).print(Text(f"warning: {problem}"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
