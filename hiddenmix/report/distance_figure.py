"""The figure of gain against distance from image mixing, and against how mixed maps are read."""

from collections.abc import Sequence

from matplotlib.lines import Line2D

from hiddenmix.report.distances import Place, interval, known_gains
from hiddenmix.report.drawing import Drawing, canvas, finish, layer_label, plainly, styled
from hiddenmix.report.lettering import families
from hiddenmix.report.two_way import Gain

_PANELS = {
    "distance": "distance from image mixing",
    "kl": "KL: how badly mixed maps are read (nats)",
}

_STYLES = (
    *(("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "D"), ("#CC79A7", "v")),
    *(("#56B4E9", "P"), ("#882255", "X"), ("#E69F00", "s"), ("#555555", "*")),
)


def distance_figure(places: Sequence[Place]) -> Drawing | None:
    """A point for each layer with a gain, its 95 % interval in points; None where there is none."""
    known = known_gains(places, "distance")
    if not known:
        return None
    groups = list(dict.fromkeys((each.title, each.model) for each, _ in known))
    styles = {group: _STYLES[number % len(_STYLES)] for number, group in enumerate(groups)}
    labels = {group: ", ".join(group) for group in groups}
    fonts = families(" ".join([*labels.values(), *(each.layer for each, _ in known)]))
    with styled(fonts):
        figure, [axes] = canvas([2.7], 2, width=3.1, share="all")
        for (measure, name), axis in zip(_PANELS.items(), axes, strict=True):
            axis.axhline(0, color="#777777", linewidth=0.8)
            shown = known_gains(places, measure)
            for number, (each, gain) in enumerate(_along(shown, measure)):
                color, marker = styles[each.title, each.model]
                (low, high), y, around = interval(gain), 100 * gain.mean, None
                if low is not None and high is not None:
                    around = [[y - 100 * low], [100 * high - y]]
                place = (each.values[measure], y)
                axis.errorbar(*place, yerr=around, color=color, marker=marker, capsize=2.5)
                label = layer_label(each.layer)
                beside = (5, (4, -11)[number % 2])  # neighbours above and below each other
                axis.annotate(
                    label, place, beside, textcoords="offset points", fontsize=7.5, color=color
                )
            axis.set_xlim(
                0, 1.25 * max((each.values[measure] for each, _ in shown), default=0) or 1
            )
            axis.set_xlabel(name)
        axes[0].set_ylabel("gain over image mixup (points)")
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle="", label=plainly(labels[group]))
            for group, (color, marker) in styles.items()
        ]
        what = f"Gain against distance from image mixing (n = {len(known)} layers)"
        label = labels[groups[0]] if len(groups) == 1 else f"{len(groups)} data sets and networks"
        finish(figure, what, label, handles if len(groups) > 1 else ())
    return Drawing(
        "distance",
        "Gain against distance from image mixing",
        "A point for each layer: the gain over mixing images with its 95 % interval against the "
        "distance at λ = ½ in plainly trained networks (left), and against how far their "
        "answer to a mixed map is from the mixture of their answers (right). Were the distance the "
        "reason of the gain, the points would rise from left to right.",
        figure,
        tuple(fonts),
    )


def _along(known: list[tuple[Place, Gain]], measure: str) -> list[tuple[Place, Gain]]:
    return sorted(known, key=lambda each: each[0].values[measure])
