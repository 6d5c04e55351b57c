"""Accuracy on deformed test images against the strength of the deformation, and the gain beside it."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from hiddenmix.config import mode_words
from hiddenmix.report.answers import CLEAN_SUBSET, Answers, deformed_images
from hiddenmix.report.comparison import PLAIN, common_gain
from hiddenmix.report.drawing import (
    RULE,
    Drawing,
    Group,
    accuracy_axis,
    canvas,
    count,
    ends,
    finish,
    line_handles,
    plainly,
)
from hiddenmix.report.lettering import file_part
from hiddenmix.report.statistics import PairedGain, mean_interval

_COLUMNS = 4
"""Shift families beside each other."""

_LEAST_SCALE = 1.0
"""Points that a panel of gains shows on both sides of 0: less is not to look like much."""

FAMILIES = {
    "rotation": ("Rotation", "largest angle (± degrees)", 0.0),
    "shear": ("Shear", "largest angle (± degrees)", 0.0),
    "zoom": ("Zoom", "factor", 1.0),
    "translation": ("Translation", "share of the side", 0.0),
    "noise": ("Gaussian noise", "standard deviation", 0.0),
    "blur": ("Blur", "standard deviation (share of the side)", 0.0),
    "contrast": ("Contrast", "factor", 1.0),
    "fgsm": ("FGSM attack", "largest change (1/255)", 0.0),
}
"""Shift family: its name, its strength with the unit, and the strength of the unchanged image."""

Points = dict[float, dict[int, float]]
"""Strength -> seed -> accuracy."""

Strengths = dict[str, Points]
"""By family."""


def _unchanged(cells: pd.DataFrame, answers: Answers) -> dict[int, float]:
    """Seed -> accuracy on the images that were deformed, before they were: on all test images, or else
    on those alone, by the predictions. None of a setting where a cell's predictions lack: the first
    point of a line would be of other seeds than the rest."""
    found: dict[int, float] = {}
    for _, cell in cells.iterrows():
        accuracy = float(cell["accuracy"])
        if deformed_images(cell) < cell["test_size"] and (cell["shift"] or cell["adversarial"]):
            right = answers.right(cell["cell"], CLEAN_SUBSET)
            if right is None:
                return {}
            accuracy = float(right.mean())
        found[int(cell["seed"])] = accuracy
    return found


def strengths(cells: pd.DataFrame, answers: Answers) -> Strengths:
    """The accuracies of one setting's evaluated cells, the unchanged images included where it is known
    how many of the same ones they answer right."""
    found: Strengths = {}
    unchanged = _unchanged(cells, answers)
    for seed, shift, adversarial in zip(
        cells["seed"], cells["shift"], cells["adversarial"], strict=True
    ):
        families = set()
        for name, accuracy in {**shift, **adversarial}.items():
            family, _, text = name.rpartition("_")
            try:
                strength = float(text)
            except ValueError:  # a condition without a strength is no curve
                continue
            if family and math.isfinite(strength):
                found.setdefault(family, {}).setdefault(strength, {})[int(seed)] = accuracy
                families.add(family)
        for family in families & FAMILIES.keys() if int(seed) in unchanged else ():
            found[family].setdefault(FAMILIES[family][2], {})[int(seed)] = unchanged[int(seed)]
    return found


def shift_curves(group: Group, answers: Answers, mode: str, prefix: str = "") -> Drawing | None:
    """For each family of shifts, accuracy against strength and, below it, the paired gain."""
    rows = group.lines(mode)
    curves = {row["setting"]: strengths(group.cells[row["setting"]], answers) for row in rows}
    known = {family for found in curves.values() for family in found}
    families = [*(name for name in FAMILIES if name in known), *sorted(known - FAMILIES.keys())]
    if not families:
        return None
    style = group.styles()
    columns = min(_COLUMNS, len(families))
    lines = math.ceil(len(families) / columns)
    figure, axes = canvas([1.6, 1.0] * lines, columns, width=2.2, between=(0.12, 0.85))
    for place in range(lines * columns):
        upper = axes[2 * (place // columns)][place % columns]
        lower = axes[2 * (place // columns) + 1][place % columns]
        upper.set_visible(place < len(families))
        lower.set_visible(place < len(families))
        if place < len(families):
            family = families[place]
            name, unit, _ = FAMILIES.get(family, (plainly(family), "strength", 0.0))
            points = {key: found.get(family, {}) for key, found in curves.items()}
            accuracy_and_gain(upper, lower, rows=rows, points=points, style=style)
            upper.set_title(name)
            lower.set_xlabel(unit)
    finish_panels(axes)
    alpha = group.chosen_alpha()
    images, which = _which(group, rows, curves)
    counts = f"{count(row['n'] for row in rows)}, {images}"
    what = f"Samples from outside, {mode_words(mode)}, α = {alpha:g} ({counts})"
    finish(figure, what, group.label, line_handles(group, rows))
    return Drawing(
        f"{prefix}shift_{file_part(mode)}",
        f"Accuracy against shift strength, {mode_words(mode)}",
        f"Upper panels: accuracy on {which}, deformed at several strengths, the same for every "
        f"cell; the lines are mixed layers at α = {alpha:g} (by rule: 1, else what most cells have; not "
        "chosen by accuracy). Lower panels: the gain over "
        f"{group.images()} of as many images in percentage points, paired by seed. Every panel has a "
        f"scale of its own, of gains at least ±{_LEAST_SCALE:g} point. Bars are 95 % intervals over "
        "seeds.",
        figure,
    )


def _which(
    group: Group, rows: Iterable[pd.Series], curves: dict[str, Strengths]
) -> tuple[str, str]:
    """On which test images the shifts of a chart were measured: `N = 2,000`, and in words."""
    measured = [
        cell
        for row in rows
        for _, cell in group.cells[row["setting"]].iterrows()
        if cell["shift"] or cell["adversarial"]
    ]
    sizes = sorted({deformed_images(cell) for cell in measured})
    every = sorted({int(cell["test_size"]) for cell in measured})
    texts = [
        " to ".join(f"{n:,}" for n in dict.fromkeys((each[0], each[-1]))) for each in (sizes, every)
    ]
    if sizes == every:
        return f"N = {texts[0]}", f"all {texts[0]} test images"
    which = f"a fixed stratified {texts[0]} of the {texts[1]} test images"
    known = [
        found[name].get(FAMILIES[name][2])
        for found in curves.values()
        for name in found.keys() & FAMILIES.keys()
    ]
    if not all(known):
        which += " (without predictions a line lacks the same images undeformed)"
    return f"N = {texts[0]}", which


def accuracy_and_gain(
    upper: Axes,
    lower: Axes,
    *,
    rows: list[pd.Series],
    points: dict[str, Points],
    style: dict[str, tuple[str, str, str]],
) -> None:
    """A panel of accuracies against strength, and below it one of the gain over image mixup."""
    ticks = sorted({s for found in points.values() for s in found})
    room = max(ticks) - min(ticks)
    lower.axhline(0, color=RULE, linewidth=0.8)
    spans_of: dict[str, list[tuple[float, PairedGain, float]]] = {}
    for row in rows:
        gains = [(s, gain_at(points, row, s)) for s in sorted(points[row["setting"]])]
        spans = [(s, g, g.mean - g.low if g.low is not None else 0.0) for s, g in gains if g]
        spans_of |= {row["setting"]: spans} if spans else {}
    for row in rows:
        color, marker, line = style[row["setting"]]
        found = sorted(points[row["setting"]].items())
        intervals = [(s, mean_interval(values.values())) for s, values in found]
        reach = [ends(n.mean, n.low, n.high) for _, n in intervals]
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": line}
        look |= {"elinewidth": 0.8, "markersize": 3.5}
        upper.errorbar(
            [s for s, _ in intervals],
            [100 * n.mean for _, n in intervals],
            yerr=[[below for below, _ in reach], [above for _, above in reach]],
            clip_on=False,
            **look,
        )
        spans = spans_of.get(row["setting"], [])
        # Side by side, or the bars of equal strengths would hide each other.
        number = [*spans_of].index(row["setting"]) if spans else 0
        beside = 0.014 * room * (number - (len(spans_of) - 1) / 2)
        lower.errorbar(
            [s + beside for s, _, _ in spans],
            [100 * gain.mean for _, gain, _ in spans],
            yerr=[100 * half for _, _, half in spans],
            **look,
        )
    for axis in (upper, lower):
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    upper.tick_params(labelbottom=False)
    lower.set_xlim(upper.get_xlim())
    low, high = lower.get_ylim()
    lower.set_ylim(min(low, -_LEAST_SCALE), max(high, _LEAST_SCALE))


def gain_at(points: dict[str, Points], row: pd.Series, strength: float) -> PairedGain | None:
    """A setting's gain over its image mixup; None where it is that, plain, or shares no seed."""
    if row["layer"] == PLAIN or row["baseline"] == row["setting"]:
        return None
    baseline = points.get(row["baseline"], {}).get(strength, {})
    return common_gain(points[row["setting"]].get(strength, {}), baseline)


def finish_panels(axes: list[list[Axes]]) -> None:
    """Name the axes of lines of panels, by turns of accuracies and of gains."""
    for number, line in enumerate(axes):
        line[0].set_ylabel("gain (points)" if number % 2 else "test accuracy (%)")
        for axis in line if number % 2 == 0 else ():
            accuracy_axis(axis)
