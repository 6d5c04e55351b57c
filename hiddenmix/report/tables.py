"""Cells of the report's tables, for Markdown and for the terminal: names, numbers, p-values."""

import math
from collections.abc import Collection
from typing import Any

import pandas as pd

from hiddenmix.report.two_way import Gain

LEFT = (
    *(
        "study",
        "side",
        "data",
        "network",
        "layer",
        "mode",
        "differs in",
        "question",
        "on",
        "verdict",
    ),
    *("factor", "level", "against", "family"),
)
"""Columns of text, aligned to the left."""

LISTED = 50
"""Cells, commands or problems that are named before the rest is only counted."""


def p_text(p: float | None) -> str:
    """A p-value to be printed; blank where there is none."""
    if p is None or math.isnan(p):
        return ""
    if p < 0.0001:
        return "< 0.0001"
    # 0.0503 would be 0.050, of which nobody could say on which side of 0.05 it lies.
    fine = p < 0.001 or (p != 0.05 and round(p, 3) == 0.05)
    return f"{p:.4f}" if fine else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_is(p: float | None) -> str:
    """`p = 0.031`, `p < 0.0001`."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def points(mean: float | None, low: float | None = None, high: float | None = None) -> str:
    """A difference of accuracies in percentage points, with its interval; blank where there is none."""
    if mean is None or math.isnan(mean):
        return ""
    text = _end(mean)
    if low is not None and high is not None and not math.isnan(low):
        # The same gain at every seed: an interval of no width would claim certainty.
        flat = low == high
        text += " [no spread]" if flat else f" [{_end(low)}, {_end(high)}]"
    return text


def two_way_points(gain: Gain | None) -> str:
    """A gain in points with its interval for new seeds and new test images, which it may lack; empty for
    None."""
    return "" if gain is None else points(gain.mean, gain.low, gain.high)


def interval(gain: Gain | None) -> str:
    """A gain in points with its interval for new seeds and new test images, or else for new seeds; empty
    for None."""
    return "" if gain is None else points(gain.mean, *gain.ends)


def _end(value: float) -> str:
    """A value in points, with a third digit where two would not tell its side of 0."""
    return signed(100 * value, 2 if abs(100 * value) >= 0.005 or abs(100 * value) < 0.0005 else 3)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus as wide as the plus; what rounds to 0 is no loss."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "+" if float(text) == 0 else "−")  # a sum's last bit is none either


def more(total: int) -> list[str]:
    return [f"and {total - LISTED} more"] if total > LISTED else []


def identity(row: pd.Series) -> dict[str, str]:
    """What tells a row of `settings_table` apart."""
    alpha = "" if math.isnan(row["alpha"]) else f"{row['alpha']:g}"
    names = {"data": row["title"], "network": row["model"], "layer": row["layer"]}
    return {**names, "mode": row["mode"] or "", "α": alpha, "differs in": row["variant"]}


def gain_text(row: pd.Series, name: str) -> str:
    """The gain `name` of a row of `settings_table`, in points."""
    return points(*(row[f"{name}_{end}"] for end in ("mean", "low", "high")))


def mean_text(row: pd.Series, name: str) -> str:
    """A mean of a row of `settings_table` in percent, ± half its interval."""
    mean, high = 100 * row[f"{name}_mean"], 100 * row[f"{name}_high"]
    if math.isnan(mean):
        return ""
    return f"{mean:.2f}" if math.isnan(high) else f"{mean:.2f} ± {high - mean:.2f}"


def outcome(row: pd.Series) -> dict[str, str]:
    """What came of a setting. The p-values are of seeds alone: for this test set."""
    return {
        "n": str(row["n"]),
        "accuracy, %": mean_text(row, "accuracy"),
        "gain, points [95 %]": gain_text(row, "gain"),
        "p (t)": p_text(row["p_value"]),
        "p (flip)": p_text(row["p_permutation"]),
        "p (Holm)": p_text(row["p_holm"]),
    }


def columns(rows: list[dict[str, str]], keep: Collection[str] = ()) -> list[str]:
    """The columns worth showing: those that hold anything, data and network where they vary, `keep`."""
    names: list[str] = []
    for name in rows[0] if rows else ():
        values = {row[name] for row in rows}
        same = name in ("data", "network") and len(values) == 1
        if name in keep or (values != {""} and not same):
            names.append(name)
    return names


def markdown_table(rows: list[dict[str, str]], keep: Collection[str] = ()) -> str:
    """Rows of equal keys as a Markdown table of `columns`."""
    frame = pd.DataFrame(rows)[columns(rows, keep)].map(escaped)
    align = ["left" if name in LEFT else "right" for name in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def escaped(text: Any) -> str:
    """`text` for Markdown: nothing in it ends a table's cell or begins a tag, link or emphasis."""
    found = str(text)
    for sign, safe in (("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`"), ("](", "]\\(")):
        found = found.replace(sign, safe)
    return found


def code(text: str | None) -> str:
    """`text` to stand between backticks."""
    return str(text).replace("`", "")
