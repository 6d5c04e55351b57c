"""Every number of a study by seed: `cells.csv`, and the same as a DataFrame for Python."""

from pathlib import Path
from typing import Any

import pandas as pd

from hiddenmix.report.fields import leaves
from hiddenmix.report.reading import read_study

_FIRST = (
    *(
        "cell",
        "setting",
        "baseline",
        "two_images",
        "plain",
        "title",
        "dataset",
        "digest",
        "model",
        "layer",
    ),
    *("mode", "alpha", "seed", "epochs", "parameters", "train_size", "test_size"),
    *("accuracy", "balanced_accuracy", "nll", "ece", "validation_accuracy", "validation_nll"),
    *("loss", "seconds", "images_per_second"),
)
_CONDITIONS = ("shift", "adversarial", "outside")
_ENVIRONMENT = ("device", "threads", "torch", "hiddenmix", "commit")


def cells_table(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell of `Study.cells`, flat: what it is, and every metric.

    Accuracies are fractions, nll and loss nats, seconds of training steps. Beside the named columns:
    `class/<name>`, the accuracy on one class; `shift/<name>`, `adversarial/<name>` and
    `outside/<name>`, accuracies; `shift_nll/<name>` and `outside_nll/<name>`; `config/<key>` for each
    key of the configuration that differs between cells. Blank: not measured.
    """
    rows = [_flat(row) for _, row in cells.iterrows()]
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame(columns=list(_FIRST))
    keys = [name for name in table.columns if str(name).startswith("config/")]
    constant = [name for name in keys if table[name].nunique(dropna=False) == 1]
    return table.drop(columns=constant)


def _flat(row: pd.Series) -> dict[str, Any]:
    flat: dict[str, Any] = {key: row[key] for key in _FIRST}
    for key in _ENVIRONMENT:
        flat[key] = row["environment"].get(key)
    names = row["classes"] or [str(label) for label in range(len(row["class_count"]))]
    for name, right, count in zip(names, row["class_right"], row["class_count"], strict=False):
        flat[f"class/{name}"] = right / count if count else None
    for key in (*_CONDITIONS, "shift_nll", "outside_nll"):
        flat |= {f"{key}/{name}": value for name, value in row[key].items()}
    return flat | {
        f"config/{key}": str(value) if isinstance(value, list) else value
        for key, value in leaves(row["config"]).items()
        if key not in ("seed", "repeats", "study", "device")
    }


def results(study: str | Path) -> pd.DataFrame:
    """The finished networks of a study's folder, a row each: `cells_table`, as in its cells.csv.

    Raises `UserError` where the folder is no study. A result file that cannot be used is left out, with
    a warning that names it.
    """
    import warnings

    found = read_study(Path(study))
    for problem in found.problems:
        warnings.warn(problem, RuntimeWarning, stacklevel=2)
    return cells_table(found.cells)
