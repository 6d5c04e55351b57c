"""The figure of gain against distance from image mixing, and against how mixed maps are read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hiddenmix.report.distances import Place, correlations, known_gains
from hiddenmix.report.drawing import (
    MARKED,
    RULE,
    Drawing,
    canvas,
    finish,
    layer_label,
    plainly,
    styled,
)
from hiddenmix.report.lettering import families, width

_PANELS = {
    "distance": "distance from image mixing",
    "kl": "KL: how badly mixed maps are read (nats)",
}

_FEWEST = 3
"""Layers of one data set and network, below which their order shows nothing."""

_WIDE, _HIGH = 3.1, 2.7
"""Inches of a panel."""

_Bar = tuple[float, float, float, float]
"""Where a point and its interval stand, in the axes' units: x, y, lower and upper end."""


def distance_figure(places: Sequence[Place]) -> Drawing | None:
    """A point for each layer with a gain, its 95 % interval in points; None where no data set and
    network has `_FEWEST` of them to be ranked."""
    known = known_gains(places, "distance")
    layers = Counter((each.title, each.model) for each, _ in known)
    ranked = {each.measure: each.n for each in correlations(places)}
    if max(layers.values(), default=0) < _FEWEST or "distance" not in ranked:
        return None
    looks: dict[tuple[str, str], dict[str, Any]] = {
        group: {
            **dict(zip(("color", "marker"), MARKED[number % len(MARKED)], strict=True)),
            "fillstyle": "full" if layers[group] > 1 else "none",
        }
        for number, group in enumerate(layers)
    }
    labels = {group: ", ".join(group) for group in layers}
    fonts = families(" ".join([*labels.values(), *(each.layer for each, _ in known)]))
    with styled(fonts):
        figure, [axes] = canvas([_HIGH], 2, width=_WIDE, share="all")
        _limit(axes[0], places)
        for (measure, name), axis in zip(_PANELS.items(), axes, strict=True):
            _panel(axis, [each for each, _ in known_gains(places, measure)], measure, looks)
            axis.set_xlabel(name)
        axes[0].set_ylabel("gain over image mixup (points)")
        handles = [
            Line2D([], [], linestyle="", label=plainly(labels[group]), **look)
            for group, look in looks.items()
        ]
        several = len(labels) > 1
        what = f"Gain against distance from image mixing (n = {ranked['distance']} layers ranked)"
        label = f"{len(labels)} data sets and networks" if several else next(iter(labels.values()))
        finish(figure, what, label, handles if several else ())
    alone = sum(count for count in layers.values() if count == 1)
    hollow = f"; hollow points, {alone} of {len(known)}, have no other layer beside them"
    return Drawing(
        "distance",
        "Gain against distance from image mixing",
        "A point for each layer: the gain over mixing images with its 95 % interval. Left, against the "
        "distance at λ = ½ in plainly trained networks: were it the reason of the gain, the points of a "
        "data set and network would rise from left to right. Right, against how far their answer to a "
        "mixed map is from the mixture of their answers: were badly read maps a reason against mixing "
        f"them, the points would fall. Ranked are n = {ranked['distance']} layers"
        f"{hollow if alone else ''}.",
        figure,
        tuple(fonts),
    )


def _panel(
    axis: Axes,
    places: Sequence[Place],
    measure: str,
    looks: Mapping[tuple[str, str], dict[str, Any]],
) -> None:
    axis.axhline(0, color=RULE, linewidth=0.8)
    axis.set_xlim(0, 1.25 * max((each.values[measure] for each in places), default=0) or 1)
    bars = [_bar(each, measure) for each in places]
    for each, (x, y, low, high) in zip(places, bars, strict=True):
        around = [[y - low], [high - y]]
        axis.errorbar(x, y, yerr=around, capsize=2.5, **looks[each.title, each.model])
    texts = [layer_label(each.layer) for each in places]
    for number, (x, y) in _label_places(axis, bars, texts):
        color = looks[places[number].title, places[number].model]["color"]
        axis.text(x, y, texts[number], fontsize=7.5, color=color, ha="center", va="center")


def _bar(each: Place, measure: str) -> _Bar:
    assert each.gain is not None
    y = 100 * each.gain.mean
    low, high = each.gain.ends
    if low is None or high is None:
        return each.values[measure], y, y, y
    return each.values[measure], y, 100 * low, 100 * high


def _limit(axis: Axes, places: Sequence[Place]) -> None:
    """Set the axis of gains, with room for two labels above the highest and one below the lowest."""
    bars = [_bar(each, measure) for measure in _PANELS for each, _ in known_gains(places, measure)]
    low, high = min(0.0, *(bar[2] for bar in bars)), max(0.0, *(bar[3] for bar in bars))
    one = 0.07 * ((high - low) or 1.0)
    axis.set_ylim(low - 1.5 * one, high + 3 * one)


def _label_places(
    axis: Axes, bars: Sequence[_Bar], texts: Sequence[str]
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Where the label of each bar stands, in the axes' units: at its upper end or a little above it, else
    at its lower one, else higher up, so that it crosses no bar and no label before it."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    across, up = _WIDE / (right - left), _HIGH / (top - bottom)  # inches of one unit
    taken = [(x * across, x * across, low * up, high * up) for x, _, low, high in bars]
    tall = 0.14
    for number, (x, _, low, high) in sorted(enumerate(bars), key=lambda each: each[1][0]):
        half = 0.033 * width(texts[number]) + 0.02
        heights = [high * up + (0.6 + 0.5 * step) * tall for step in range(7)]
        heights.insert(3, low * up - 0.6 * tall)
        boxes = [
            (x * across - half, x * across + half, y - tall / 2, y + tall / 2) for y in heights
        ]
        free = [box for box in boxes if not any(_meet(box, other) for other in taken)]
        box = (free or boxes)[0]
        taken.append(box)
        yield number, (x, (box[2] + box[3]) / 2 / up)


def _meet(one: _Bar, other: _Bar) -> bool:
    """Whether two boxes (left, right, bottom, top) overlap."""
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
