"""Accuracy on outside sets: against severity where a set has any, otherwise a point for each set."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from hiddenmix.config import mode_words
from hiddenmix.report.class_figures import dots, label_room, row_height, row_labels
from hiddenmix.report.drawing import Drawing, Group, canvas, count, finish, fitted, line_handles
from hiddenmix.report.lettering import file_part
from hiddenmix.report.shift_figures import Points, accuracy_and_gain, finish_panels, gain_at
from hiddenmix.report.statistics import mean_interval

_COLUMNS = 4
"""Outside sets with severities beside each other."""

_ROWS = 12
"""Outside sets without severities below each other."""

Measured = dict[tuple[str, int], dict[tuple[str, int], float]]
"""(Setting, seed) -> (corruption, severity) -> accuracy; a set without any has `_WHOLE` alone."""

_WHOLE = ("", 0)


def outside_severity(group: Group, mode: str, prefix: str) -> Drawing | None:
    """For each set with severities, accuracy against severity and, below it, the paired gain."""
    rows = group.lines(mode)
    found = {name: each for name, each in _sets(group, rows).items() if not _whole(each)}
    means = {name: mean_over_corruptions(each) for name, each in found.items()}
    some = [name for name, mean in means.items() if mean.points]
    sets, remarks = some[:_COLUMNS], _left_out(some[_COLUMNS:])
    if not sets:
        return None
    width = {1: 4.4, 2: 3.2}.get(len(sets), 2.6)
    figure, axes = canvas([1.9, 1.2], len(sets), width=width, between=(0.12,))
    for name, upper, lower in zip(sets, *axes, strict=True):
        points = means[name].points
        rows_here = [row for row in rows if row["setting"] in points]
        accuracy_and_gain(upper, lower, rows=rows_here, points=points, style=group.styles())
        upper.set_title(fitted(name, 34, 2))
        lower.set_xlabel("severity")
    for name in (name for name in found if name in sets or name not in some):
        if means[name].left_out:
            remarks += (
                f" Of {_listed([name])}, left out for they were not measured at the same severities "
                f"on every network: {_listed(means[name].left_out)}."
            )
    finish_panels(axes)
    seeds = count(len(n) for name in sets for p in means[name].points.values() for n in p.values())
    what = f"Outside sets by severity, {mode_words(mode)}, α = {group.chosen_alpha():g} ({seeds})"
    finish(figure, what, group.label, line_handles(group, rows))
    corruptions = "; ".join(f"{_listed([name])}: {len(means[name].corruptions)}" for name in sets)
    return Drawing(
        f"{prefix}outside_severity_{file_part(mode)}",
        f"Outside sets by severity, {mode_words(mode)}",
        "Upper panels: accuracy on the images of an outside set at each severity, the mean over its "
        f"corruptions ({corruptions}). Lower panels: the gain over {group.images()} of "
        "as many images in percentage points, paired by seed. Every panel has a scale of its own. Bars "
        f"are 95 % intervals over seeds. cells.csv holds each corruption.{remarks}",
        figure,
    )


def outside_points(group: Group, mode: str, prefix: str) -> Drawing | None:
    """A row for each set without severities: accuracy, and beside it the paired gain."""
    rows = group.lines(mode)
    found = {name: each for name, each in _sets(group, rows).items() if _whole(each)}
    sets, left_out = list(found)[:_ROWS], _left_out(list(found)[_ROWS:])
    if not sets:
        return None
    points = {name: mean_over_corruptions(found[name]).points for name in sets}
    labels = row_labels(sets)
    height = max(1.2, row_height(len(rows)) * len(sets))
    figure, axes = canvas([height], 2, width=3.6, left=label_room(labels), share="row")
    accuracies = []
    gains = []
    for row in rows:
        seeds = [points[name].get(row["setting"], {}).get(0, {}) for name in sets]
        accuracies.append([mean_interval(each.values()) if each else None for each in seeds])
        gains.append([gain_at(points[name], row, 0) for name in sets])
    styles = [group.styles()[row["setting"]][:2] for row in rows]
    dots(axes[0][0], labels, accuracies, styles)
    dots(axes[0][1], labels, gains, styles, gains=True)
    axes[0][0].set_xlabel("accuracy (%)")
    axes[0][1].set_xlabel(f"gain over {group.images()} (points)")
    handles = line_handles(group, rows)
    for handle in handles:
        handle.set_linestyle("")
    counts = count(n.n for numbers in accuracies for n in numbers if n)
    what = f"Outside sets, {mode_words(mode)}, α = {group.chosen_alpha():g} ({counts})"
    finish(figure, what, group.label, handles)
    return Drawing(
        f"{prefix}outside_sets_{file_part(mode)}",
        f"Outside sets, {mode_words(mode)}",
        "A row for each outside set. Left: accuracy on its images, the mean over seeds. Right: the "
        f"gain over {group.images()} of as many images in percentage points, paired by seed. Bars are "
        f"95 % intervals over seeds.{left_out}",
        figure,
    )


def _sets(group: Group, rows: Iterable[pd.Series]) -> dict[str, Measured]:
    """What the settings of a chart were measured on, by outside set."""
    sets: dict[str, Measured] = {}
    for row in rows:
        cells = group.cells[row["setting"]]
        for seed, found in zip(cells["seed"], cells["outside"], strict=True):
            for condition, accuracy in found.items():
                name, _, rest = condition.partition(":")
                corruption, _, level = rest.rpartition("_")
                if corruption and level.isdecimal():
                    place = (corruption, int(level))
                else:  # a set without severities
                    name, place = condition, _WHOLE
                cell = sets.setdefault(name, {}).setdefault((row["setting"], int(seed)), {})
                cell[place] = accuracy
    return sets


def _whole(measured: Measured) -> bool:
    return all(_WHOLE in found for found in measured.values())


@dataclass(frozen=True)
class CorruptionMean:
    """Accuracy on an outside set by severity, averaged over those corruptions that compare."""

    points: dict[str, Points]
    """Setting -> severity -> seed -> accuracy."""
    corruptions: list[str]
    left_out: list[str]
    """Corruptions that were not measured at the same severities on every network."""


def mean_over_corruptions(measured: Measured) -> CorruptionMean:
    common = set.intersection(*(set(found) for found in measured.values()))
    levels: dict[str, list[int]] = {}
    for corruption, severity in sorted({place for found in measured.values() for place in found}):
        levels.setdefault(corruption, [])
        if (corruption, severity) in common:
            levels[corruption].append(severity)
    counts = Counter(tuple(found) for found in levels.values() if found)
    usual = max(counts, key=lambda found: (counts[found], len(found)), default=())
    kept = [name for name, found in levels.items() if usual and tuple(found) == usual]
    points: dict[str, Points] = {}
    for (setting, seed), found in measured.items():
        for severity in usual:
            mean = sum(found[name, severity] for name in kept) / len(kept)
            points.setdefault(setting, {}).setdefault(severity, {})[seed] = mean
    return CorruptionMean(points, kept, [name for name in levels if name not in kept])


def _listed(names: list[str]) -> str:
    """Names from result files, for a line of Markdown."""
    names = [re.sub(r"[^\w.+: -]", "?", name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _left_out(sets: list[str]) -> str:
    return f" Not drawn, for want of room: {_listed(sets)}." if sets else ""
