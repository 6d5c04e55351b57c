"""`python -m hiddenmix.report outputs/<study>`: a study's verdict, tables and figures.

Reads result files alone, and imports no torch.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hiddenmix.report.markdown import LISTED, more
from hiddenmix.report.terminal_table import terminal_table
from hiddenmix.report.verdict import judge
from hiddenmix.report.writing import with_results, write
from hiddenmix.terminal import VERSION, clean, guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m hiddenmix.report",
        description="From a study's results: report/report.md with its figures, and summary.csv.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, such as outputs/default")
    parser.add_argument("--title", help="the report's heading (default: the folder's name)")
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options.study, options.title))


def _run(folder: Path, title: str | None) -> int:
    study = with_results(folder)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for problem in [*study.problems[:LISTED], *more(len(study.problems))]:
        errors.print(Text(f"warning: {problem}"))
    path, table = write(study, title)
    console = Console(highlight=False)
    console.print(terminal_table(table))
    console.print(Text(judge(table).sentence.replace("*", "").replace("`", "")), soft_wrap=True)
    console.print(Text(f"report: {clean(path, 5000)}"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
