"""Accuracy by class, and the chart that it is: a row for each name, a point for each setting."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from hiddenmix.config import mode_words
from hiddenmix.report.drawing import (
    RULE,
    Drawing,
    Group,
    accuracy_axis,
    canvas,
    count,
    ends,
    finish,
    fitted,
    line_handles,
)
from hiddenmix.report.lettering import file_part, width
from hiddenmix.report.statistics import Interval, PairedGain, mean_interval

MOST_CLASSES = 20
"""Classes of a figure; of a data set with more there is none."""

_ROOM = 26
"""Columns of a row's name, which may have two lines."""

Row = Sequence[Interval | PairedGain | None]
"""A setting's number in each row, as a fraction."""


def by_class(group: Group, mode: str, prefix: str) -> Drawing | None:
    """A row for each class of the test set: the accuracy on its images, by setting."""
    rows = group.lines(mode)
    cells = [group.cells[row["setting"]] for row in rows]
    sizes = {len(found) for each in cells for found in each["class_count"]}
    if len(sizes) != 1 or not 1 <= max(sizes) <= MOST_CLASSES:
        return None
    classes = range(max(sizes))
    numbers = [_by_class(each, len(classes)) for each in cells]
    known = cells[0].iloc[0]["classes"]
    names = [known[label] if label < len(known) else str(label) for label in classes]
    images = [
        {found[label] for each in cells for found in each["class_count"]} for label in classes
    ]
    labels = row_labels(
        names,
        [" to ".join(f"{n:,}" for n in sorted({min(few), max(few)})) for few in images],
    )
    figure, axes = canvas(
        [row_height(len(rows)) * len(classes)], 1, width=5.2, left=label_room(labels)
    )
    axis = axes[0][0]
    colors = [group.styles()[row["setting"]][:2] for row in rows]
    dots(axis, labels, numbers, colors)
    axis.set_xlabel("accuracy on the class's test images (%)")
    axis.set_ylabel("class (its test images)")
    handles = []
    for row, each in zip(rows, cells, strict=True):
        [handle] = line_handles(group, [row])
        balanced = mean_interval(each["balanced_accuracy"])
        handle.set(label=f"{handle.get_label()}: balanced {percent(balanced)}", linestyle="")
        handles.append(handle)
    what = f"Accuracy by class, {mode_words(mode)}, α = {group.chosen_alpha():g}"
    finish(figure, f"{what} ({count(row['n'] for row in rows)})", group.label, handles)
    return Drawing(
        f"{prefix}by_class_{file_part(mode)}",
        f"Accuracy by class, {mode_words(mode)}",
        "Each point is the share of a class's test images, counted beside its name, that a setting "
        "answers right: the mean over seeds with its 95 % Student-t interval, drawn no further than "
        "0 and 100 %. The interval is over seeds and says nothing about other images: in a class "
        "of few, one image is many points. In the legend: balanced accuracy, the mean over the "
        "classes.",
        figure,
    )


def _by_class(cells: pd.DataFrame, classes: int) -> list[Interval | None]:
    values: list[list[float]] = [[] for _ in range(classes)]
    for rights, counts in zip(cells["class_right"], cells["class_count"], strict=True):
        for label, (right, images) in enumerate(zip(rights, counts, strict=False)):
            if images:
                values[label].append(min(1.0, right / images))
    return [mean_interval(found) if found else None for found in values]


def percent(number: Interval) -> str:
    half = "" if number.high is None else f" ± {100 * (number.high - number.mean):.2f}"
    return f"{100 * number.mean:.2f}{half} %"


def row_labels(names: Sequence[str], remarks: Sequence[str] = ()) -> list[str]:
    """The names in at most two lines each, numbered where they would be alike once shortened."""
    labels = [fitted(name, _ROOM, 2) for name in names]
    if len(set(labels)) < len(labels):
        labels = [
            fitted(f"{number} {name}", _ROOM, 2) for number, name in enumerate(names, start=1)
        ]
    if remarks:
        labels = [f"{label} ({text})" for label, text in zip(labels, remarks, strict=True)]
    return labels


def label_room(labels: Sequence[str]) -> float:
    """The inches that the names of rows take beside their panel."""
    return 0.45 + 0.068 * max(width(line) for label in labels for line in label.split("\n"))


def row_height(settings: int) -> float:
    return max(0.3, 0.09 + 0.068 * settings)


def dots(
    axis: Axes,
    labels: Sequence[str],
    numbers: Sequence[Row],
    styles: Sequence[tuple[str, ...]],
    gains: bool = False,
) -> None:
    """A point with its interval for each setting and row, from above; accuracies, or `gains`.

    `numbers` and `styles` (colour, marker) go by setting, the numbers then by row.
    """
    for place in range(0, len(labels), 2):
        axis.axhspan(place - 0.5, place + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    for setting, (found, (color, marker, *_)) in enumerate(zip(numbers, styles, strict=True)):
        beside = 0.8 * ((setting + 0.5) / len(numbers) - 0.5)
        points = [(place + beside, number) for place, number in enumerate(found) if number]
        reach = [_reach(number) for _, number in points]
        axis.errorbar(
            [100 * number.mean for _, number in points],
            [y for y, _ in points],
            xerr=[[below for below, _ in reach], [above for _, above in reach]],
            color=color,
            marker=marker,
            linestyle="",
            markersize=4,
            elinewidth=0.9,
            clip_on=False,
        )
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    if gains:
        axis.axvline(0, color=RULE, linewidth=0.8)
    else:
        accuracy_axis(axis, "x")


def _reach(number: Interval | PairedGain) -> tuple[float, float]:
    if isinstance(number, Interval):
        return ends(number.mean, number.low, number.high)
    half = 0.0 if number.low is None else 100 * (number.mean - number.low)
    return half, half
