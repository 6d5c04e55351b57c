"""What a report's figures share: their settings, their canvas and their style.

Colours are those of Okabe & Ito (2008), told apart under colour blindness; markers and line styles
repeat what colour says, for print without colour. matplotlib's objects alone are used: no pyplot,
no global state.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import pandas as pd
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from hiddenmix.config import mode_rank, mode_words
from hiddenmix.report.comparison import INPUT, PLAIN, image_mixing
from hiddenmix.report.lettering import BASE, readable, width, wrapped
from hiddenmix.report.reading import Study

_LINES = 7
"""Lines in a panel, baselines included; the reader can follow no more."""

TWO_IMAGES = "siamese"
"""The mode of image mixup, which settings of every mode are compared with."""

BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
)
WINE, GREY, RULE = "#882255", "#555555", "#777777"
"""Beside those of Okabe & Ito; `RULE` is the line at 0."""

MARKED = (
    *((BLUE, "o"), (VERMILION, "^"), (GREEN, "D"), (PURPLE, "v"), (SKY, "P"), (WINE, "X")),
    *((ORANGE, "s"), (GREY, "*")),
)
"""Colours with their markers, of things in no order; the last two where no baseline stands beside."""

_HIDDEN = tuple((*marked, ("-", "-.")[place % 2]) for place, marked in enumerate(MARKED[:6]))
_MODES = {"siamese": MARKED[0], "triplet": MARKED[1]}
PLAIN_STYLE = (GREY, "x", ":")
IMAGE_STYLE = (ORANGE, "s", "--")
_OTHER_INPUT_STYLE = ("#B07800", "*", "-.")

STYLE: dict[str, Any] = {
    **{"font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8.5, "legend.frameon": False},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True},
    **{"grid.color": "#dddddd", "grid.linewidth": 0.6, "lines.linewidth": 1.4},
    **{"lines.markersize": 4.5, "axes.axisbelow": True, "xtick.labelsize": 8, "ytick.labelsize": 8},
    # A title at a fixed height spares the search for free room above the ticks, twice a panel.
    "axes.titley": 1.0,
    # Text stays text: searchable, small. A fixed salt gives equal files for equal results.
    **{"svg.fonttype": "none", "svg.hashsalt": "hiddenmix", "savefig.dpi": 150},
}


@contextmanager
def styled(fonts: Sequence[str]) -> Iterator[None]:
    """The settings of every figure: matplotlib's defaults with `STYLE`, whatever the user's own
    matplotlibrc says: with `text.usetex` a figure would need LaTeX."""
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE | {"font.family": list(fonts)})
        yield


@dataclass(frozen=True)
class Drawing:
    """A figure with its file name (without suffix), a heading and a line on how to read it."""

    name: str
    heading: str
    reading: str
    figure: Figure
    fonts: tuple[str, ...] = (BASE, "sans-serif")
    shades: bool = False
    """Whether colours stand for numbers: a palette of few would draw bands into their scale."""

    def save(self, suffix: str) -> bytes:
        """The file's content, `suffix` being png or svg."""
        content = io.BytesIO()
        # Without a date the same results give the same bytes.
        metadata = {"Date": None} if suffix == "svg" else {"Software": None}
        with styled(self.fonts):
            self.figure.savefig(content, format=suffix, metadata=metadata)
        return content.getvalue()


def small(png: bytes, shades: bool = False) -> bytes:
    """The same picture in 128 colours of its own: a third of the size, and nothing that one sees. With
    `shades` every colour stays, and transparency alone goes."""
    with Image.open(io.BytesIO(png)) as image:
        whole = image.convert("RGB")
    few = whole if shades else whole.quantize(128, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "png", optimize=True)
    return content.getvalue()


@dataclass(frozen=True)
class Group:
    """The settings of one data set, network and variant, with the plain training they refer to."""

    label: str
    """Data set, network and variant, as the results have them: `plainly` makes it a figure's text."""
    rows: pd.DataFrame
    """The rows of `settings_table` that mix, in its order: layers by depth."""
    plain: pd.Series | None
    cells: dict[str, pd.DataFrame]
    """Setting -> its cells."""

    def words(self) -> str:
        """All text that its figures take from the results, so that fonts can be chosen for it."""
        found = [self.label, *self.modes(), *self.layers()]
        for key in dict.fromkeys([*self.rows["setting"], *self.rows["plain"]]):
            for _, cell in self.cells[key].iterrows() if key in self.cells else ():
                found += [*cell["classes"], *cell["shift"], *cell["adversarial"], *cell["outside"]]
        return "".join(dict.fromkeys("".join(found)))

    def images(self) -> str:
        """What its layers are compared with: `image mixup` or `image CutMix`."""
        return image_mixing(self.rows["variant"])

    def modes(self) -> list[str]:
        return sorted({mode for mode in self.rows["mode"] if mode}, key=mode_rank)

    def alphas(self) -> list[float]:
        return sorted({float(alpha) for alpha in self.rows["alpha"]})

    def layers(self) -> list[str]:
        """The mixed layers by depth."""
        return list(dict.fromkeys(self.rows["layer"]))

    def chosen_alpha(self) -> float:
        """The alpha of the line charts: 1, else that of most cells; never chosen by accuracy."""
        cells: dict[float, int] = {}
        for alpha, n in zip(self.rows["alpha"], self.rows["n"], strict=True):
            cells[float(alpha)] = cells.get(float(alpha), 0) + int(n)
        return min(cells, key=lambda alpha: (alpha != 1, -cells[alpha], abs(math.log(alpha))))

    def at(self, mode: str, alpha: float) -> list[pd.Series]:
        """The settings of a mode and an alpha, by depth."""
        kept = self.rows[(self.rows["mode"] == mode) & (self.rows["alpha"] == alpha)]
        return [row for _, row in kept.iterrows()]

    def mode_styles(self) -> dict[str, tuple[str, str]]:
        """Mode -> colour and marker."""
        others = cycle((color, marker) for color, marker, _ in _HIDDEN[2:])
        return {mode: _MODES[mode] if mode in _MODES else next(others) for mode in self.modes()}

    def two_image_mixup(self, alpha: float) -> pd.Series | None:
        """Image mixup of two at this alpha, a baseline of every mode."""
        return next((row for row in self.at(TWO_IMAGES, alpha) if row["layer"] == INPUT), None)

    def lines(self, mode: str) -> list[pd.Series]:
        """What a line chart of this mode shows: the two baselines, then its layers by depth."""
        alpha = self.chosen_alpha()
        baselines = [row for row in (self.plain, self.two_image_mixup(alpha)) if row is not None]
        keys = [row["setting"] for row in baselines]
        others = [row for row in self.at(mode, alpha) if row["setting"] not in keys]
        return [*baselines, *spread(others, _LINES - len(baselines))]

    def styles(self) -> dict[str, tuple[str, str, str]]:
        """Setting -> colour, marker, line style of the lines; a layer's is one in every mode."""
        rows = [row for mode in self.modes() for row in self.lines(mode)]
        shown = {row["layer"] for row in rows} - {PLAIN, INPUT}
        hidden = [layer for layer in self.layers() if layer in shown]
        found: dict[str, tuple[str, str, str]] = {}
        for row in rows:
            style = PLAIN_STYLE
            if row["layer"] == INPUT:
                style = IMAGE_STYLE if row["mode"] == TWO_IMAGES else _OTHER_INPUT_STYLE
            elif row["layer"] != PLAIN:
                style = _HIDDEN[hidden.index(row["layer"]) % len(_HIDDEN)]
            found[row["setting"]] = style
        return found


def groups(study: Study, table: pd.DataFrame) -> list[Group]:
    """The groups of a study that mix anything, the one with most cells first."""
    cells = {str(key): group for key, group in study.cells.groupby("setting", sort=False)}
    by_key = {row["setting"]: row for _, row in table.iterrows()}
    found = []
    mixing = table[(table["layer"] != PLAIN) & table["mode"].notna() & (table["alpha"] > 0)]
    for (title, model, variant), rows in mixing.groupby(["title", "model", "variant"]):
        plain = next((by_key[key] for key in rows["plain"] if key in by_key), None)
        label = ", ".join(filter(None, [title, model, variant]))
        found.append(Group(label, rows, plain, cells))
    return sorted(found, key=lambda group: -int(group.rows["n"].sum()))


def plainly(text: str) -> str:
    """`text` as a figure can show it: its letters in some font, and no mathematics after dollars."""
    return readable(text).replace("$", r"\$")


def fitted(text: str, room: int, most: int) -> str:
    """`plainly`, in at most so many lines of so many columns."""
    return plainly(wrapped(readable(text), room, most))


def layer_label(layer: str) -> str:
    """A layer's name on an axis or in a legend: its end, where it is too long."""
    layer = readable(layer)
    return plainly(layer if len(layer) <= 24 else "…" + layer[-23:])


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many (2 or more) of the items, evenly spread, the first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def canvas(
    heights: Sequence[float],
    columns: int,
    *,
    width: float,
    bottom: float = 0.85,
    between: Sequence[float] = (0.75,),
    left: float = 0.85,
    right: float = 0.2,
    share: str = "",
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels: a row for each of `heights`, `columns` of one `width`; all in inches.

    `between` holds the gaps below the rows, repeated as needed; `share` says which panels have one
    y axis: `all`, those of a `row`, or none. The margins are fixed, since matplotlib's automatic
    layouts draw everything twice.
    """
    top, gap = 0.6, 0.22 if share else 0.55
    gaps = [between[row % len(between)] for row in range(len(heights) - 1)] + [bottom]
    w = left + right + columns * width + (columns - 1) * gap
    h = top + sum(heights) + sum(gaps)
    figure = Figure(figsize=(w, h))
    FigureCanvasAgg(figure)
    axes: list[list[Axes]] = []
    y = h - top
    for height, below in zip(heights, gaps, strict=True):
        y -= height
        axes.append([])
        for column in range(columns):
            first = axes[0][:1] if share == "all" else axes[-1][:1] if share == "row" else []
            place = ((left + column * (width + gap)) / w, y / h, width / w, height / h)
            axis = figure.add_axes(place, sharey=first[0] if first else None)
            axis.tick_params(labelleft=not share or column == 0)
            axes[-1].append(axis)
        y -= below
    return figure, axes


def finish(figure: Figure, what: str, label: str, handles: Sequence[Line2D] = ()) -> None:
    """Add the title above, `what` and whose (a group's label), and the legend below; the figure grows
    by the lines of both."""
    wide, height = map(float, figure.get_size_inches())
    lengths = [0.75 + 0.07 * width(str(handle.get_label())) for handle in handles]
    columns = len(handles) if sum(lengths) < wide else max(1, int(wide / max(lengths)))
    room = int(wide * 11.5)
    title = fitted(f"{what}: {label}", room, 1)
    if width(readable(f"{what}: {label}")) > room:
        title = f"{fitted(what, room, 2)}\n{fitted(label, room, 3)}"
    below = 0.19 * max(0, math.ceil(len(handles) / max(1, columns)) - 1)
    above = 0.17 * title.count("\n")
    if below or above:
        whole = height + below + above
        for axis in figure.axes:
            x, y, w, h = axis.get_position().bounds
            axis.set_position((x, (y * height + below) / whole, w, h * height / whole))
        height = whole
        figure.set_size_inches(wide, height)
    if handles:
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.6,
            bbox_to_anchor=(0.5, 0.05 / height),
            borderaxespad=0,
        )
    figure.suptitle(title, fontsize=10.5, y=1 - 0.12 / height, va="top")


def accuracy_axis(axis: Axes, along: Literal["x", "y"] = "y") -> None:
    """End an axis of accuracies in percent at 0 and 100, ticks included; called when all is drawn."""
    part = axis.yaxis if along == "y" else axis.xaxis
    low, high = sorted(part.get_view_interval())
    low, high = max(0.0, min(low, 99.0)), min(100.0, high)
    part.axes.set(**{f"{along}lim": (low, high)})
    part.set_ticks([tick for tick in part.get_majorticklocs() if low <= tick <= high])
    axis.ticklabel_format(axis=along, useOffset=False)


def epoch_axis(axis: Axes) -> None:
    """Whole epochs at the ticks, also where there is a single one."""
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def ends(mean: float, low: float | None, high: float | None) -> tuple[float, float]:
    """How far an accuracy's interval reaches below and above its mean, in percent: no further than
    0 and 100 %, and 0 where n = 1 has none. All three are fractions."""
    if low is None or high is None or math.isnan(low):
        return (0.0, 0.0)
    return (100 * (mean - max(0.0, low)), 100 * (min(1.0, high) - mean))


def line_handles(group: Group, rows: Iterable[pd.Series]) -> list[Line2D]:
    """The legend of the lines of `rows`; a layer that several modes show stands there once."""
    styles = group.styles()
    found: dict[tuple[str, ...], Line2D] = {}
    for row in rows:
        images = image_mixing([row["variant"]])
        names = {
            PLAIN: "plain (no mixing)",
            INPUT: plainly(f"{images}, {mode_words(row['mode'] or '')}"),
        }
        name = names.get(row["layer"], layer_label(row["layer"]))
        if row["layer"] == INPUT and row["mode"] == TWO_IMAGES:
            name = of_two(images)
        color, marker, line = style = styles[row["setting"]]
        handle = Line2D([], [], color=color, marker=marker, linestyle=line, label=name)
        found.setdefault((name, *style), handle)
    return list(found.values())


def of_two(images: str) -> str:
    """Image mixup (or CutMix) of two, to be told from that of as many images as a setting mixes."""
    return f"{images} of two"


def count(numbers: Iterable[Any]) -> str:
    """The number of seeds behind what is drawn: "n = 5", or "n = 3 to 5" where it varies."""
    found = sorted({int(number) for number in numbers})
    if len(found) < 2:
        return f"n = {found[0]}" if found else "n = 0"
    return f"n = {found[0]} to {found[-1]}"
