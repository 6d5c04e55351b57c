"""The forest plot: a row for each question of several studies, with both intervals and its verdict."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.comparison import image_mixing
from hiddenmix.report.decision import LEVEL
from hiddenmix.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    RULE,
    VERMILION,
    Drawing,
    canvas,
    finish,
    plainly,
    styled,
)
from hiddenmix.report.lettering import families, file_part, readable, wrapped
from hiddenmix.report.several import Pooled, Row
from hiddenmix.report.tables import points, two_way_points
from hiddenmix.report.verdict import asked, word_text

MOST = 60
"""Rows that are drawn; the table has all."""

_WORDS = {
    "supported": (BLUE, "^"),
    "contradicted": (VERMILION, "v"),
    "equal": (GREEN, "s"),
    "undecided": (GREY, "o"),
}
"""Colour and marker of each verdict."""

_TICK: dict[str, Any] = {"marker": "|", "markersize": 11, "markeredgewidth": 1.1}
"""The ends of the interval that has to lie within the band for equality."""

_POOLED = ("#000000", "D")

_SPOKEN = {
    **{"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "Kuzushiji-MNIST"},
    **{"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"},
    **{"originals=0.0": "mixtures alone", "originals=1.0": "originals and their mixture"},
    **{"model.batch_norm=true": "BatchNorm", "model.batch_norm=false": "no BatchNorm"},
    **{"dataset.resample=true": "drawn anew by seed", "dataset.resample=false": "one training set"},
    "dataset.train_size=null": "all training images",
}
"""Names and settings as a reader knows them who has not the program's keys; the table has the keys."""

_COUNTED = {"dataset.train_size": "{:,} training images", "epochs": "{:,} epochs"}
"""The same of keys whose value is a number."""

_READING = """\
A row for each question: the gain with its 95 % interval for new seeds and new test images (thin) and \
for new seeds on this test set alone (thick), marker and colour by verdict; beside it the number, the \
verdict, seeds n and test images N. The band is what counts as equal: a gain is equal only where both \
ticks lie within it, the ends of its 90 % interval (at a look of repeats=auto, of a wider one). A gain \
that is supported or contradicted differs from 0, however little: it may lie within the band too."""


def forest(rows: Sequence[Row], pooled: Sequence[Pooled] = ()) -> Drawing | None:
    """Of questions on the same kind of test images; None where nothing could be compared."""
    known = [row for row in rows if row.question.gain is not None]
    shown = known[:MOST]
    if not shown:
        return None
    what = shown[0].question.what
    names = [row_name(row) for row in shown]
    names += [f"mean over {each.sets} data sets" for each in pooled]
    texts = [_said(row) for row in shown]
    texts += [points(each.mean, each.low, each.high) for each in pooled]
    fonts = families(" ".join([*names, asked(what)]))
    with styled(fonts):
        figure, axis = panel(names, texts)
        _margin(axis, shown)
        for place, row in enumerate(shown):
            _draw(axis, place, row)
        for place, each in enumerate(pooled, start=len(shown)):
            line(axis, place, (each.low, each.high), color=_POOLED[0], linewidth=1.2)
            axis.plot([100 * each.mean], [place], *_POOLED[1:], color=_POOLED[0], markersize=7)
        images = image_mixing(row.question.variant for row in shown)
        axis.set_xlabel(f"gain over {images} (percentage points of accuracy)")
        finish(figure, "Mixing at the layer against mixing images", asked(what), _handles(shown))
    return Drawing(
        "forest" if what == CLEAN else f"forest_{file_part(what)}",
        f"Forest plot: {asked(what)}",
        _READING + beyond(len(known)),
        figure,
        tuple(fonts),
    )


def beyond(rows: int) -> str:
    """A sentence on those of so many rows that are not drawn; empty where all are."""
    return f" {rows - MOST} more stand in the table alone." if rows > MOST else ""


def panel(names: Sequence[str], texts: Sequence[str]) -> tuple[Figure, Axes]:
    """A panel with a line of its own for each of `names`, from above, and its text at the right."""
    longest, widest = (
        max(len(part) for text in each for part in text.splitlines()) for each in (names, texts)
    )
    height = 0.26 + 0.16 * max(1, *(name.count("\n") for name in names))
    figure, [[axis]] = canvas(
        [height * len(names) + 0.2],
        1,
        width=3.8,
        left=0.4 + 0.065 * longest,
        right=0.25 + 0.066 * widest,
    )
    axis.axvline(0, color=RULE, linewidth=0.8)
    for place, text in enumerate(texts):
        beside = axis.get_yaxis_transform()
        axis.text(1.03, place, text, transform=beside, va="center", fontsize=8)
    axis.set_yticks(range(len(names)), [plainly(name) for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    return figure, axis


def _handles(rows: Sequence[Row]) -> list[Line2D]:
    """The legend: the verdicts of `rows`, and what the lines are."""
    found = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=word)
        for word in dict.fromkeys(row.question.word for row in rows)
        for color, marker in [_WORDS[word]]
    ]
    return [
        *found,
        Line2D([], [], color=GREY, linewidth=1.1, label="new seeds and images, 95 %"),
        Line2D([], [], color=GREY, linestyle="", **_TICK, label="new seeds and images, 90 %"),
        Line2D([], [], color=GREY, linewidth=4, alpha=0.45, label="new seeds, 95 %"),
    ]


def row_name(row: Row) -> str:
    """What a row is about, on several lines: its data, network, settings and layer, and its study."""
    question = row.question
    about = ", ".join(
        _spoken(each)
        for part in (question.title, question.model, question.variant)
        for each in part.split(", ")
        if each
    )
    asked_of = wrapped(readable(f"{about}: {question.layer}"), 38, 4)
    return (
        f"{asked_of}\n{wrapped(readable(f'({row.study})'), 38, 1)}"  # a study's name in one piece
    )


def _spoken(part: str) -> str:
    key, _, value = part.partition("=")
    if key in _COUNTED and value.isdecimal():
        return _COUNTED[key].format(int(value))
    return _SPOKEN.get(part, part)


def _said(row: Row) -> str:
    gain = row.question.gain
    assert gain is not None
    counts = f"n = {gain.seeds}" + (f", N = {gain.images:,}" if gain.images else "")
    word = word_text(row.question.word, row.margin).lower()
    return f"{two_way_points(gain)}  {word}, {counts}"


def _draw(axis: Axes, place: int, row: Row) -> None:
    gain = row.question.gain
    assert gain is not None
    color, marker = _WORDS[row.question.word]
    line(axis, place, (gain.seed_low, gain.seed_high), color=color, linewidth=4, alpha=0.45)
    line(axis, place, (gain.low, gain.high), color=color, linewidth=1.1)
    level = LEVEL if row.question.look is None else row.question.look.equal_level
    if (half := gain.half_width(1 - 2 * level)) is not None:
        inner = [100 * (gain.mean - half), 100 * (gain.mean + half)]
        axis.plot(inner, [place, place], linestyle="", color=color, **_TICK)
    axis.plot([100 * gain.mean], [place], color=color, marker=marker, linestyle="", markersize=6)


def line(
    axis: Axes, place: float, ends: tuple[float | None, float | None], **style: float | str
) -> None:
    """An interval (fractions) at a row's place, where both ends are known."""
    low, high = ends
    if low is not None and high is not None:
        axis.plot([100 * low, 100 * high], [place, place], solid_capstyle="butt", **style)  # type: ignore[arg-type]


def _margin(axis: Axes, rows: Sequence[Row]) -> None:
    """The band of equality, where all rows have the same."""
    margins = {row.margin for row in rows}
    if len(margins) == 1:
        margin = 100 * margins.pop()
        axis.axvspan(-margin, margin, color="#999999", alpha=0.15, linewidth=0)
