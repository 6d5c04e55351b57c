"""The line charts of a report: accuracy against shift strength, learning curves, calibration.

All show one alpha, `Group.chosen_alpha`, and at most seven lines.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from hiddenmix.config import mode_words
from hiddenmix.report.comparison import PLAIN, common_gain
from hiddenmix.report.drawing import (
    Drawing,
    Group,
    accuracy_axis,
    canvas,
    count,
    ends,
    epoch_axis,
    finish,
    line_handles,
    plainly,
)
from hiddenmix.report.lettering import file_part
from hiddenmix.report.results import Study, read_curve
from hiddenmix.report.statistics import PairedGain, mean_interval

_FEWEST = 10
"""Images in a calibration bin, below which its accuracy says too little to be drawn."""

_COLUMNS = 4
"""Shift families beside each other."""

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


def strengths(cells: pd.DataFrame) -> Strengths:
    """The accuracies of one setting's evaluated cells, the unchanged images included."""
    found: Strengths = {}
    for seed, unchanged, shift, adversarial in zip(
        cells["seed"], cells["accuracy"], cells["shift"], cells["adversarial"], strict=True
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
        for family in families & FAMILIES.keys():
            found[family].setdefault(FAMILIES[family][2], {})[int(seed)] = float(unchanged)
    return found


def shift_curves(group: Group, mode: str, prefix: str = "") -> Drawing | None:
    """For each family of shifts, accuracy against strength and, below it, the paired gain."""
    rows = group.lines(mode)
    curves = {row["setting"]: strengths(group.cells[row["setting"]]) for row in rows}
    known = {family for found in curves.values() for family in found}
    families = [*(name for name in FAMILIES if name in known), *sorted(known - FAMILIES.keys())]
    if not families:
        return None
    style = group.styles()
    columns = min(_COLUMNS, len(families))
    lines = math.ceil(len(families) / columns)
    figure, axes = canvas([1.6, 1.0] * lines, columns, width=2.3, between=(0.12, 0.85), share="row")
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
    what = f"Samples from outside, {mode_words(mode)}, α = {alpha:g} ({count(row['n'] for row in rows)})"
    finish(figure, what, group.label, line_handles(group, rows))
    return Drawing(
        f"{prefix}shift_{file_part(mode)}",
        f"Accuracy against shift strength, {mode_words(mode)}",
        "Upper panels: accuracy on test images deformed at several strengths, the same for every "
        f"cell; the lines are mixed layers at α = {alpha:g} (by rule: 1, else what most cells have; not "
        f"chosen by accuracy). Lower panels: the gain over {group.images()} of as "
        "many images in percentage points, paired by seed. Bars are 95 % intervals.",
        figure,
    )


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
    lower.axhline(0, color="#777777", linewidth=0.8)
    for number, row in enumerate(rows):
        color, marker, line = style[row["setting"]]
        found = sorted(points[row["setting"]].items())
        # Side by side, or the bars of equal strengths would hide each other.
        beside = 0.014 * room * (number - (len(rows) - 1) / 2)
        intervals = [(s, mean_interval(values.values())) for s, values in found]
        gains = [(s, gain_at(points, row, s)) for s, _ in found]
        reach = [ends(n.mean, n.low, n.high) for _, n in intervals]
        spans = [(s, g, g.mean - g.low if g.low is not None else 0.0) for s, g in gains if g]
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": line}
        look |= {"elinewidth": 0.8, "markersize": 3.5}
        upper.errorbar(
            [s for s, _ in intervals],
            [100 * n.mean for _, n in intervals],
            yerr=[[below for below, _ in reach], [above for _, above in reach]],
            clip_on=False,
            **look,
        )
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


def learning_curves(group: Group, study: Study, prefix: str = "") -> Drawing | None:
    """For each mode, training loss and test accuracy by epoch with the spread over seeds."""
    modes, style = group.modes(), group.styles()
    figure, axes = canvas([2.0] * len(modes), 2, width=3.6)
    drawn: list[pd.Series] = []
    for mode, line in zip(modes, axes, strict=True):
        rows = group.lines(mode)
        for row in rows:
            cells = group.cells[row["setting"]]["cell"]
            lines = [v for cell in cells for v in read_curve(study.folder / "cells" / cell)]
            loss = _by_epoch(lines, "loss", 1)
            accuracy = _by_epoch(lines, "test_accuracy", 100)
            drawn += [row] if loss or accuracy else []
            _band(line[0], loss, style[row["setting"]])
            _band(line[1], accuracy, style[row["setting"]])
        seeds = count(row["n"] for row in rows)
        name = plainly(mode_words(mode))
        line[0].set_title(f"{name}, α = {group.chosen_alpha():g}   ({seeds})", loc="left")
        line[0].set_ylabel("training loss (nats)")
        line[1].set_ylabel("test accuracy (%)")
        for axis in line:
            axis.set_xlabel("epoch")
            if axis.lines:
                epoch_axis(axis)
            else:
                axis.set(xticks=[], yticks=[])
                axis.text(0.5, 0.5, "not recorded", ha="center", transform=axis.transAxes)
        if line[1].lines:
            accuracy_axis(line[1])
    if not drawn:
        return None
    finish(figure, "Learning curves", group.label, line_handles(group, drawn))
    return Drawing(
        f"{prefix}learning_curves",
        "Learning curves",
        "Means over seeds; the bands reach from the lowest to the highest seed. Training losses "
        "compare among mixing settings alone: with mixed targets even a perfect network has a "
        "loss. The test curve is shown, never used to choose an epoch.",
        figure,
    )


def _by_epoch(
    lines: Iterable[dict[str, float]], key: str, factor: float
) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for values in lines:
        if key in values:
            found.setdefault(values["epoch"], []).append(factor * values[key])
    return dict(sorted(found.items()))


def _band(axis: Axes, epochs: dict[float, list[float]], style: tuple[str, str, str]) -> None:
    if not epochs:
        return
    color, marker, line = style
    x = list(epochs)
    axis.plot(
        x,
        [sum(values) / len(values) for values in epochs.values()],
        color=color,
        linestyle=line,
        marker=marker,
        markevery=max(1, len(x) // 8),
        markersize=3.5,
        clip_on=False,
    )
    lowest, highest = [min(v) for v in epochs.values()], [max(v) for v in epochs.values()]
    axis.fill_between(x, lowest, highest, color=color, alpha=0.15, linewidth=0)


def calibration(group: Group, prefix: str = "") -> Drawing | None:
    """For each mode, the reliability diagram of the clean test images."""
    modes, style = group.modes(), group.styles()
    figure, axes = canvas([3.0], len(modes), width=3.2 if len(modes) > 1 else 4.4, share="all")
    drawn: list[pd.Series] = []
    for axis, mode in zip(axes[0], modes, strict=True):
        rows = group.lines(mode)
        axis.plot([0, 100], [0, 100], color="#999999", linewidth=0.8)
        for row in rows:
            points = reliability(group.cells[row["setting"]]["calibration"])
            color, marker, line = style[row["setting"]]
            if points:
                drawn.append(row)
                x, y = [100 * c for c, _ in points], [100 * a for _, a in points]
                look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": line}
                axis.plot(x, y, markersize=3.5, clip_on=False, **look)
        seeds = count(row["n"] for row in rows)
        axis.set_title(f"{plainly(mode_words(mode))}, α = {group.chosen_alpha():g}   ({seeds})")
        axis.set_xlabel("mean confidence (%)")
        axis.set(xlim=(0, 100), ylim=(0, 100), xticks=range(0, 101, 20), yticks=range(0, 101, 20))
    if not drawn:
        return None
    axes[0][0].set_ylabel("accuracy (%)")
    finish(figure, "Calibration", group.label, line_handles(group, drawn))
    return Drawing(
        f"{prefix}calibration",
        "Calibration on the clean test images",
        f"Test images in bins of confidence, pooled over seeds; bins of fewer than {_FEWEST} "
        "images are left out. On the diagonal a network is right as often as it says; below it "
        "is overconfident, above underconfident.",
        figure,
    )


def reliability(cells: Iterable[dict[str, list[float]] | None]) -> list[tuple[float, float]]:
    """(confidence, accuracy) of the bins pooled over cells, weighted by their counts."""
    sums: dict[int, list[float]] = {}
    for bins in filter(None, cells):
        for place, (confidence, accuracy, images) in enumerate(
            zip(bins["confidence"], bins["accuracy"], bins["count"], strict=True)
        ):
            total = sums.setdefault(place, [0.0, 0.0, 0.0])
            total[0] += images * confidence
            total[1] += images * accuracy
            total[2] += images
    return [(c / n, a / n) for _, (c, a, n) in sorted(sums.items()) if n >= _FEWEST]
