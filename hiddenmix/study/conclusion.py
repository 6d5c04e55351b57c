"""What a training command ends with: the table, the failures, and where everything is."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from hiddenmix import report
from hiddenmix.config import UserError, counted, mode_words
from hiddenmix.report import Findings, Study, read_curve, read_study
from hiddenmix.study import tensorboard_tracker
from hiddenmix.study.store import OUTPUTS, Cell, study_locked
from hiddenmix.study.store import read_study as stored_study
from hiddenmix.terminal import clean

_JOBS = 20
"""So many lost jobs have a line of their own."""


def conclude_command(
    studies: Iterable[str],
    invocation: str,
    jobs: Mapping[int, str],
    ended: Mapping[int, str],
    console: Console,
) -> int:
    """What a command ends with whose `jobs` an engine ran elsewhere: for each of its `studies` one
    table over all of them, and a line for each job that is missing there. Returns the exit code: 1
    where networks failed or are missing."""
    code = 0
    began: set[object] = set()
    for study in sorted(OUTPUTS / name for name in studies):
        recorded = stored_study(study)["commands"]
        entries = [each for each in recorded if invocation in each.get("invocations", ())]
        names = list(dict.fromkeys(name for each in entries for name in each.get("cells", ())))
        began |= {each.get("job") for each in entries}
        if not names:
            continue
        failures = {}
        for name in names:
            cell = study / "cells" / name
            if Cell.read(cell / "result.json") is None:
                failure = Cell.read_failure(cell)
                failures[name] = "it has no result: its job was ended, or trains still"
                if failure is not None:
                    said = clean(failure.get("message"), 500)
                    failures[name] = f"{said} (more in {cell / 'failure.json'})"
        written = conclude(study, names, failures, console, full_report=True)
        code = max(code, 1 if failures or not written else 0)
    missing = sorted({*ended, *(set(jobs) - began)})
    for number in missing[:_JOBS]:
        said = ended.get(number, "it ended before it recorded a network; see the engine's own log")
        console.print(Text(f"failed: job {number} ({jobs[number]}): {said}"), soft_wrap=True)
    if len(missing) > _JOBS:
        console.print(f"failed: {counted(len(missing) - _JOBS, 'more job')}")
    return max(code, 1 if missing else 0)


def conclude(
    folder: Path,
    names: Sequence[str],
    failures: Mapping[str, str],
    console: Console,
    *,
    full_report: bool,
) -> bool:
    """Print the table of the settings of the cells called `names` and the verdicts of the study; write
    summary.csv, TensorBoard's comparison where a cell has events, and with `full_report` the report.
    Returns whether they could be."""

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    written, last = True, ""
    told = _told(folder, names)
    results = [Cell.read(folder / "cells" / name / "result.json") for name in names]
    if shown := {str(each["setting"]) for each in results if each is not None}:
        found: Findings | None = None
        try:
            # Of several processes that finish a study together, each writes these files in turn, of
            # what it reads then.
            with study_locked(folder):
                study, found = _show(folder, shown, console)
                if "tensorboard" in told:
                    _compare(study, found.table, say)
                path = (report.write if full_report else report.write_summary)(study, found)
        except (OSError, UserError) as error:
            if found is None:  # no lock can be had
                _, found = _show(folder, shown, console)
            written = False
            reason = " ".join(str(error).split())
            say(f"failed: {reason}; the results stand: python -m hiddenmix.report {folder}")
        if written and full_report:
            last = f"report: {path}"
        elif written:
            last = f"report with figures: python -m hiddenmix.report {folder}"
        report.record_looks(folder, found.questions)
    for name, message in failures.items():
        say(f"failed: {name}: {message}")
    if failures:
        say(
            f"{len(failures)} of {counted(len(names), 'network')} failed; "
            "the same command tries them again"
        )
    say(f"results: {folder}/summary.csv and {folder}/cells")
    for name in told:
        say(_WHERE[name].format(folder=folder))
    if last:
        say(last)
    return written


def _show(folder: Path, shown: Collection[str], console: Console) -> tuple[Study, Findings]:
    """Read the study and print the table of the settings in `shown`, and the verdicts."""
    study = read_study(folder)
    table = report.settings_table(study.cells, shown)
    console.print(report.terminal_table(table, console.width))
    found = report.find(study)
    console.print(report.terminal_verdicts(found.questions, found.margin))
    return study, found


_WHERE = {
    "mlflow": "MLflow: mlflow ui --backend-store-uri sqlite:///{folder}/mlflow/mlflow.db",
    "wandb": "Weights & Biases: wandb sync {folder}/cells/*/wandb/offline-run-*",
    "tensorboard": "TensorBoard: tensorboard --logdir {folder}",
}


def _told(folder: Path, names: Sequence[str]) -> list[str]:
    """What shows the cells called `names`, by what their trackers left there."""
    cells = [folder / "cells" / name for name in names]
    left = {
        "mlflow": (folder / "mlflow" / "mlflow.db").is_file(),
        "wandb": any(any(each.glob("wandb/offline-run-*")) for each in cells),
        "tensorboard": any((each / tensorboard_tracker.EVENTS).is_dir() for each in cells),
    }
    return [name for name, there in left.items() if there]


def _compare(study: Study, table: pd.DataFrame, say: Callable[[str], None]) -> None:
    """Write TensorBoard's comparison; where that fails, it is said."""
    try:
        tensorboard_tracker.compare(study.folder / "comparison", _curves(study, table))
    except OSError as error:
        reason = clean(error.strerror or error)
        say(f"warning: tensorboard failed: {reason}; {study.folder / 'comparison'} is not whole")


def _curves(study: Study, table: pd.DataFrame) -> dict[str, dict[str, dict[int, float]]]:
    """Mean test accuracy over the seeds, by epoch, of every setting in the study's `table` and of its two
    baselines; named by all that tells the settings apart."""
    means = {
        str(key): _mean_curve(study.folder, [str(cell) for cell in group["cell"]])
        for key, group in study.cells.groupby("setting")
    }
    charts: dict[str, dict[str, dict[int, float]]] = {}
    for row in table.to_dict("records"):
        own = row["setting"]
        others = {report.image_mixing([row["variant"]]): row["baseline"], "plain": row["plain"]}
        found = {line: means[key] for line, key in others.items() if key in means and key != own}
        charts[_chart_name(row)] = {"setting": means[own]} | found
    return charts


def _chart_name(row: Mapping[Hashable, Any]) -> str:
    """Data and network first, by which TensorBoard sorts."""
    mixing = [mode_words(row["mode"]), f"alpha={row['alpha']:.15g}"] if row["mode"] else []
    parts = [row["layer"], *mixing, row["variant"]]
    return f"{row['title']} {row['model']}: {', '.join(filter(None, parts))}"


def _mean_curve(folder: Path, cells: Sequence[str]) -> dict[int, float]:
    points: dict[int, list[float]] = {}
    for cell in cells:
        for line in read_curve(folder / "cells" / cell):
            if "test_accuracy" in line:
                points.setdefault(int(line["epoch"]), []).append(line["test_accuracy"])
    return {epoch: sum(values) / len(values) for epoch, values in sorted(points.items())}
