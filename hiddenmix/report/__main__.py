"""`python -m hiddenmix.report outputs/<study>`: a study's verdicts, tables and figures.

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
from hiddenmix.report.looks import record_looks
from hiddenmix.report.tables import LISTED, more
from hiddenmix.report.terminal_table import terminal_table, terminal_verdicts
from hiddenmix.report.writing import with_results, write
from hiddenmix.terminal import VERSION, clean, guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m hiddenmix.report",
        description="From a study's results: report/report.md with its figures and verdict.json, "
        "summary.csv and cells.csv.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, such as outputs/default")
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
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.margin is not None and not 0 < options.margin <= 100:
        raise UserError(
            f"--margin={options.margin} is not allowed\n  allowed: above 0 to 100 points"
        )
    study = with_results(options.study)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in [*study.problems[:LISTED], *more(len(study.problems))]:
        errors.print(Text(f"warning: {problem}"))
    margin = None if options.margin is None else options.margin / 100
    found = find(study, margin)
    path = write(study, found, options.title, options.output)
    console = Console(highlight=False)
    console.print(terminal_table(found.table, console.width))
    console.print(terminal_verdicts(found.questions, found.margin))
    if options.output is None:
        record_looks(options.study, found.questions)
    console.print(Text(f"report: {clean(path, 5000)}"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
