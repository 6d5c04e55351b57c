"""The figures of a group of settings; here: accuracy by layer, and the gain's heat map."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiddenmix.config import mode_words
from hiddenmix.report.answers import Answers
from hiddenmix.report.class_figures import by_class
from hiddenmix.report.comparison import INPUT
from hiddenmix.report.curves import calibration, learning_curves
from hiddenmix.report.drawing import (
    IMAGE_STYLE,
    PLAIN_STYLE,
    RULE,
    Drawing,
    Group,
    accuracy_axis,
    canvas,
    count,
    ends,
    finish,
    layer_label,
    of_two,
    plainly,
    spread,
    styled,
)
from hiddenmix.report.lettering import families, file_part
from hiddenmix.report.outside_figures import outside_points, outside_severity
from hiddenmix.report.reading import Study
from hiddenmix.report.shift_figures import shift_curves
from hiddenmix.report.tables import signed

_PANELS = 9
"""Panels of the accuracy figure, one for each alpha."""

_LEAST_SCALE = 1.0
"""Points at the ends of the heat map's colours, or the largest gain: small gains stay pale."""

_STARS = (
    "*: p < 0.05, paired t-test over seeds, for this test set",
    "**: also after Holm's correction over the whole table",
)
"""What one star says, and two."""


def draw(group: Group, study: Study, answers: Answers, prefix: str = "") -> Iterator[Drawing]:
    """A group's figures; those for which the results lack the data are left out.

    `prefix` begins the names of the files where a study has several groups; the group's own name
    follows it.
    """
    name = f"{prefix}{file_part(group.label)}_" if prefix else ""
    fonts = families(group.words())
    modes = group.modes()
    with styled(fonts):
        found = [accuracy_by_layer(group, name), gain_heat_map(group, name)]
        found += [shift_curves(group, answers, mode, name) for mode in modes]
        found += [outside_severity(group, mode, name) for mode in modes]
        found += [outside_points(group, mode, name) for mode in modes]
        found += [by_class(group, mode, name) for mode in modes]
        found += [learning_curves(group, study, name), calibration(group, name)]
    for drawing in filter(None, found):
        yield replace(drawing, fonts=tuple(fonts))


def accuracy_by_layer(group: Group, prefix: str = "") -> Drawing:
    """A panel for each alpha: a point for each layer and mode, the baselines as lines."""
    alphas = spread(group.alphas(), _PANELS)
    columns = min(3, len(alphas))
    layers = group.layers()
    width = max(2.6 if columns > 1 else 4.4, 0.55 * len(layers) + 0.4)
    names = [layer_label(layer) for layer in layers]
    crowded = max(map(len, names)) > 13 * width / len(layers)
    figure, axes = canvas(
        [2.3] * math.ceil(len(alphas) / columns),
        columns,
        width=width,
        bottom=1.4 if crowded else 0.85,
        between=[1.2 if crowded else 0.7],
        share="all",
    )
    panels = [axis for line in axes for axis in line]
    for axis in panels[len(alphas) :]:
        axis.set_visible(False)
    for axis, alpha in zip(panels, alphas, strict=False):
        _accuracy_panel(axis, group, alpha, layers)
        axis.set_xticks(range(len(layers)), names)
        for label in axis.get_xticklabels() if crowded else ():
            label.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
    for line in axes:
        line[0].set_ylabel("test accuracy (%)")
    for axis in panels[: len(alphas)]:
        accuracy_axis(axis)
    handles = []
    for mode, (color, marker) in group.mode_styles().items():
        name = plainly(mode_words(mode))
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="", label=name))
    for name, (color, _, style) in (
        (of_two(group.images()), IMAGE_STYLE),
        ("plain (no mixing)", PLAIN_STYLE),
    ):
        handles.append(Line2D([], [], color=color, linestyle=style, label=name))
    handles.append(Line2D([], [], color=RULE, linewidth=7, alpha=0.5, label="95 % interval"))
    finish(figure, "Accuracy by the layer that is mixed", group.label, handles)
    return Drawing(
        f"{prefix}accuracy_by_layer",
        "Accuracy by layer",
        "Each point is a setting: the mean over seeds with its 95 % Student-t interval, drawn no "
        "further than 0 and 100 %; layers stand by depth. The lines are plain training and "
        f"{of_two(group.images())} images, their bands 95 % intervals; what a layer is compared with is "
        "the point of its own colour at the input. Settings are compared in pairs of equal seeds, so "
        "where intervals overlap they may still differ: the gain's p-value tells.",
        figure,
    )


def _accuracy_panel(axis: Axes, group: Group, alpha: float, layers: list[str]) -> None:
    baselines = ((group.plain, PLAIN_STYLE), (group.two_image_mixup(alpha), IMAGE_STYLE))
    for row, (color, _, style) in baselines:
        if row is not None:
            below, above = ends(*_interval(row))
            axis.axhline(100 * row["accuracy_mean"], color=color, linestyle=style, zorder=1)
            axis.axhspan(
                100 * row["accuracy_mean"] - below,
                100 * row["accuracy_mean"] + above,
                color=color,
                alpha=0.13,
                linewidth=0,
            )
    modes = group.mode_styles()
    counts = []
    for number, (mode, (color, marker)) in enumerate(modes.items()):
        beside = 0.2 * (number - (len(modes) - 1) / 2)
        rows = group.at(mode, alpha)
        reach = [ends(*_interval(row)) for row in rows]
        axis.errorbar(
            [layers.index(row["layer"]) + beside for row in rows],
            [100 * row["accuracy_mean"] for row in rows],
            yerr=[[below for below, _ in reach], [above for _, above in reach]],
            color=color,
            marker=marker,
            linestyle="",
            capsize=2.5,
            elinewidth=1.1,
            clip_on=False,  # or a marker at 100 % would be halved
        )
        counts += [row["n"] for row in rows]
    axis.set_title(f"α = {alpha:g}   ({count(counts)})")
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.grid(visible=False, axis="x")


def _interval(row: pd.Series) -> tuple[float, float, float]:
    return (row["accuracy_mean"], row["accuracy_low"], row["accuracy_high"])


def gain_heat_map(group: Group, prefix: str = "") -> Drawing | None:
    """A panel for each mode: the gain over image mixup by layer and alpha, in points."""
    rows = group.rows
    if not rows["gain_mean"].notna().any():
        return None
    alphas, modes, layers = group.alphas(), group.modes(), group.layers()
    names = [layer_label(layer) for layer in layers]
    largest = max(_LEAST_SCALE, 100 * float(rows["gain_mean"].abs().max()))
    scale = Normalize(-largest, largest)
    figure, axes = canvas(
        [max(1.5, 0.36 * len(layers))],
        len(modes),
        width=max(3.6 if len(modes) == 1 else 2.3, 0.75 * len(alphas)),
        bottom=0.9,
        left=0.45 + 0.07 * max(map(len, names)),
        right=1.1,
        share="all",
    )
    for axis, mode in zip(axes[0], modes, strict=True):
        values = [[math.nan] * len(alphas) for _ in layers]
        for _, row in rows[rows["mode"] == mode].iterrows():
            y, x = layers.index(row["layer"]), alphas.index(row["alpha"])
            values[y][x] = gain = 100 * float(row["gain_mean"])
            color = "white" if abs(gain) > 0.62 * largest else "black"
            axis.text(x, y, _cell_text(row), ha="center", va="center", fontsize=8, color=color)
        picture = axis.imshow(values, cmap="RdBu", norm=scale, aspect="auto")
        axis.set_facecolor("#eeeeee")
        axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        axis.set_yticks(range(len(layers)), names)
        axis.set_xlabel("α")
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        pairs = count(rows.loc[rows["mode"] == mode, "gain_n"].dropna())
        axis.set_title(f"{plainly(mode_words(mode))}   ({pairs} pairs)")
    axes[0][0].set_ylabel("mixed layer")
    _color_bar(figure, axes[0][-1], picture)
    finish(figure, f"Gain over {group.images()}", group.label)
    starred = max(map(_stars, (row for _, row in rows.iterrows())))
    told = "\n".join(_STARS[:starred]) or "no gain with p < 0.05, paired t-test over seeds"
    figure.text(0.5, 0.1 / figure.get_figheight(), told, ha="center", fontsize=8)
    return Drawing(
        f"{prefix}gain_heat_map",
        f"Gain over {group.images()}, layer × α",
        f"Percentage points of accuracy over {group.images()} of as many images with the same α, the "
        "mean of the differences paired by seed: blue and + is better, red and − worse; the colours "
        f"reach from −{largest:.3g} to +{largest:.3g} points, never less than ±{_LEAST_SCALE:g}. One "
        "star: p < 0.05 in the paired t-test over seeds, for this test set; two: also after Holm's "
        "correction over the whole table. Grey: not run.",
        figure,
        shades=True,
    )


def _cell_text(row: pd.Series) -> str:
    """A gain in points with its stars, or why there is none."""
    gain = 100 * float(row["gain_mean"])
    if math.isnan(gain):
        baseline = row["layer"] == INPUT and row["baseline"] == row["setting"]
        return "baseline" if baseline else "no pair"
    return signed(gain) + "*" * _stars(row)


def _stars(row: pd.Series) -> int:
    return int(row["p_value"] < 0.05) + int(row["p_holm"] < 0.05)


def _color_bar(figure: Figure, beside: Axes, picture: object) -> None:
    place = beside.get_position()
    inch = 1 / figure.get_figwidth()
    axis = figure.add_axes((place.x1 + 0.15 * inch, place.y0, 0.15 * inch, place.height))
    bar = figure.colorbar(picture, cax=axis)  # type: ignore[arg-type]  # matplotlib's stub is private
    bar.set_label("gain (percentage points)")
    bar.outline.set_visible(False)
    axis.grid(visible=False)
