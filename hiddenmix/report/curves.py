"""The line charts of training and of confidence: learning curves, calibration.

All show one alpha, `Group.chosen_alpha`, and at most seven lines.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from hiddenmix.config import mode_words
from hiddenmix.report.drawing import (
    Drawing,
    Group,
    accuracy_axis,
    canvas,
    count,
    epoch_axis,
    finish,
    line_handles,
    plainly,
)
from hiddenmix.report.reading import Study, read_curve

_FEWEST = 10
"""Images of a network in a calibration bin, below which its accuracy says too little to be drawn."""


def learning_curves(group: Group, study: Study, prefix: str) -> Drawing | None:
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


def calibration(group: Group, prefix: str) -> Drawing | None:
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
        "Test images in bins of confidence, pooled over seeds; bins of fewer than "
        f"{_FEWEST} images a network, the mean over seeds, are left out. On the diagonal a network is "
        "right as often as it says; below it is overconfident, above underconfident.",
        figure,
    )


def reliability(cells: Iterable[dict[str, list[float]] | None]) -> list[tuple[float, float]]:
    """(confidence, accuracy) of the bins pooled over cells, weighted by their counts; of bins with
    `_FEWEST` images a cell: the same images are asked of every one, and are no more for that."""
    sums: dict[int, list[float]] = {}
    measured = list(filter(None, cells))
    for bins in measured:
        for place, (confidence, accuracy, images) in enumerate(
            zip(bins["confidence"], bins["accuracy"], bins["count"], strict=True)
        ):
            total = sums.setdefault(place, [0.0, 0.0, 0.0])
            total[0] += images * confidence
            total[1] += images * accuracy
            total[2] += images
    return [(c / n, a / n) for _, (c, a, n) in sorted(sums.items()) if n >= _FEWEST * len(measured)]
