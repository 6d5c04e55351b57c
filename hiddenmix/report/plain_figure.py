"""Both sides of each question against plain training: mixing images, and mixing at the layer."""

from collections.abc import Sequence

from matplotlib.lines import Line2D

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.comparison import image_mixing
from hiddenmix.report.drawing import BLUE, IMAGE_STYLE, Drawing, finish, styled
from hiddenmix.report.forest_figure import MOST, beyond, line, panel, row_name
from hiddenmix.report.lettering import families, file_part
from hiddenmix.report.several import Row
from hiddenmix.report.tables import two_way_points
from hiddenmix.report.verdict import asked

_ASIDE = 0.15
"""Rows by which the two sides stand above and below their row's middle."""

_LAYER = (BLUE, "o")

_READING = """\
Two points for each question, with 95 % intervals for new seeds and new test images: what mixing images \
(square) and mixing at the layer (circle) do to the accuracy of plain training, over those of the \
question's seeds that it has. Where both lie right of 0, mixing helps at either place; where one alone \
does, the difference between them is that one's. They share plain training, and carry no verdict."""

_ALONE = " Questions without plain training beside them, which are not drawn: {}."


def plain_figure(rows: Sequence[Row]) -> Drawing | None:
    """Of questions on the same kind of test images; None where plain training stands beside none."""
    known = [row for row in rows if row.question.mixup is not None]
    if not known:
        return None
    alone = sum(row.question.gain is not None for row in rows if row.question.mixup is None)
    shown = known[:MOST]
    what = shown[0].question.what
    names = [row_name(row) for row in shown]
    images = image_mixing(row.question.variant for row in shown)
    texts = [
        f"{image_mixing([row.question.variant])}  {two_way_points(row.question.mixup)}\n"
        f"the layer  {two_way_points(row.question.over_plain)}"
        for row in shown
    ]
    sides = [(-_ASIDE, *IMAGE_STYLE[:2], images), (_ASIDE, *_LAYER, "mixing at the layer")]
    fonts = families(" ".join([*names, asked(what)]))
    with styled(fonts):
        figure, axis = panel(names, texts)
        for place, row in enumerate(shown):
            gains = (row.question.mixup, row.question.over_plain)
            for (aside, color, marker, _), gain in zip(sides, gains, strict=True):
                if gain is not None:
                    at = place + aside
                    line(axis, at, (gain.low, gain.high), color=color, linewidth=1.1)
                    axis.plot([100 * gain.mean], [at], marker, color=color, markersize=5)
        axis.set_xlabel("gain over plain training (percentage points of accuracy)")
        handles = [
            Line2D([], [], color=color, marker=marker, linewidth=1.1, label=label)
            for _, color, marker, label in sides
        ]
        finish(figure, "Both against plain training", asked(what), handles)
    return Drawing(
        "plain" if what == CLEAN else f"plain_{file_part(what)}",
        f"Both against plain training: {asked(what)}",
        _READING + beyond(len(known)) + (_ALONE.format(alone) if alone else ""),
        figure,
        tuple(fonts),
    )
