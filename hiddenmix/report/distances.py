"""Whether a layer's gain follows its distance from image mixing: what `hiddenmix.evaluate --distance`
measured, layer by layer, beside the gains. docs/why.md has the definitions.

Each data set and network has one point a layer, of two images with equal weights: the distance is the
mean over the plainly trained networks, the gain that over the input. Ranks are compared within a data set
and network alone: between them much else differs.
"""

import io
import itertools
import lzma
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiddenmix.report.comparison import PLAIN
from hiddenmix.report.depth import depths
from hiddenmix.report.fields import UnusableError, read_text, reason
from hiddenmix.report.reading import Study
from hiddenmix.report.tables import interval, markdown_table, p_is, p_text, signed
from hiddenmix.report.two_way import Gain
from hiddenmix.terminal import clean

NAME = "mixing_distance.csv"
PUBLISHED = f"{NAME}.xz"

MEASURES = {
    "distance": "the distance from image mixing",
    "initial_distance": "the distance before training",
    "kl": "how badly mixed maps are read (KL)",
}
"""What a gain may follow. The first one is tested; the others explore."""

_READING = ("cross_entropy", "kl", "total_variation", "in_classes")

_PERMUTATIONS = 10_000
_ROUNDING = 1e-9

_EXPLAINED = """\
Two test images mixed in equal parts. Distance: |h(½x + ½x′) − ½h(x) − ½h(x′)| / |h(½x + ½x′)|, h the \
network up to the layer; 0 where mixing there is mixing the images. Trained and untrained: of the \
plainly trained networks after and before training; mixed here: of those that were trained with mixing \
at this layer. The rest is of plainly trained networks: p is their answer to the mixed map, q the \
mixture of their answers to the two images; cross-entropy of p against the mixed label (at best ln 2 = \
0.693 for images of two classes, 0 for one) and KL(q‖p), in nats; total variation of p and q; how often \
the likeliest class of p is one of the two. The gain is over the input, of the settings that all layers \
have. \
mixing_distance.csv (published: .csv.xz) has every network, three images, and other weights; \
docs/why.md the formulas."""


@dataclass(frozen=True)
class Place:
    """One layer of a data set and network."""

    title: str
    model: str
    layer: str
    networks: int
    """Plainly trained networks that were measured."""
    values: Mapping[str, float]
    """Means over them: `distance`, `initial_distance`, `cross_entropy`, `kl`, `total_variation`,
    `in_classes`; `mixed_distance`, over the networks that were trained with mixing here."""
    gain: Gain | None
    """Over the input; None where nothing was trained with mixing here, or no input."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of the gains with a measure, over the layers within each data set and
    network."""

    measure: str
    n: int
    """Layers."""
    networks: int
    """Data sets and networks with two layers or more, of which these are."""
    rho: float
    p: float | None
    """Two-sided, by permutation of the gains within each; of the tested measure alone."""
    fewest: float | None
    """The least that p can be."""


def distances(study: Study, gains: Mapping[tuple[str, str, str], Gain]) -> list[Place]:
    """What was measured of a study, by data set, network and depth, with the `gains` of
    `hiddenmix.report.factors.layer_gains`; nothing where there is no mixing_distance.csv, or a damaged
    one, which is added to `Study.problems`."""
    table = _read(study)
    found = []
    for (title, model, layer), rows in table.groupby(["title", "model", "layer"], sort=False):
        plain, own = rows[rows["trained"] == PLAIN], rows[rows["trained"] == layer]
        if plain.empty:
            continue
        means = plain[["distance", "initial_distance", *_READING]].mean()
        means["mixed_distance"] = own["distance"].mean()
        values = {str(key): float(value) for key, value in means.items() if math.isfinite(value)}
        gain = gains.get((str(title), str(model), str(layer)))
        found.append(Place(str(title), str(model), str(layer), len(plain), values, gain))
    ranks = depths(study.cells)

    def place(each: Place) -> tuple[Any, ...]:
        return each.title, each.model, ranks[each.title, each.model](each.layer)

    return sorted(found, key=place)


def of_study(
    places: Sequence[Place], name: str, keys: Mapping[tuple[str, str], str]
) -> list[Place]:
    """The same, with the study's name behind the data's, and behind the network's its `keys` that differ
    between studies: to stand beside those of other studies."""
    told = [
        ", ".join(filter(None, (each.model, keys.get((each.title, each.model))))) for each in places
    ]
    return [
        replace(each, title=f"{each.title} ({name})", model=model)
        for each, model in zip(places, told, strict=True)
    ]


def content(study: Study) -> bytes | None:
    """The study's mixing_distance.csv, compressed, to be published; None where there is none."""
    try:
        text = _text(study.folder)
    except UnusableError:
        return None
    return None if text is None else lzma.compress(text.encode(), preset=9)


def _text(folder: Path) -> str | None:
    """Of the table, in a study or a published report. `UnusableError`."""
    text = read_text(folder / NAME)
    if text is not None or not (folder / PUBLISHED).is_file():
        return text
    try:
        return lzma.decompress((folder / PUBLISHED).read_bytes()).decode()
    except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
        raise UnusableError(f"{PUBLISHED} cannot be read: {reason(error)}") from None


def _read(study: Study) -> pd.DataFrame:
    """The rows of two equal images, with each network's data set, model and layer (`trained`)."""
    numbers = ["distance", "initial_distance", *_READING]
    empty = pd.DataFrame(columns=["cell", "layer", "title", "model", "trained", *numbers])
    try:
        text = _text(study.folder)
        if text is None:
            return empty
        table = pd.read_csv(io.StringIO(text), dtype={"cell": str, "layer": str, "weights": str})
        chosen = table[(table["images"] == 2) & (table["weights"] == "equal")]
        usual = chosen["test_images"].mode()
        if chosen["test_images"].nunique() > 1:
            _say(
                study,
                f"{NAME}: left out what was measured on another number of test images than most "
                f"({usual[0]}); hiddenmix.evaluate --distance --images makes them equal",
            )
            chosen = chosen[chosen["test_images"] == usual[0]]
        for name in numbers:
            values = pd.to_numeric(chosen[name], errors="coerce")
            chosen = chosen.assign(**{name: values.where(np.isfinite(values) & (values >= 0))})
    except (UnusableError, ValueError, KeyError, TypeError) as error:
        _say(
            study,
            f"{NAME} was left out: {clean(error, 200)}; hiddenmix.evaluate --distance writes it",
        )
        return empty
    chosen = chosen.assign(layer=chosen["layer"].map(clean))
    known = study.cells[["cell", "title", "model", "layer"]].rename(columns={"layer": "trained"})
    return chosen[["cell", "layer", *numbers]].drop_duplicates(["cell", "layer"]).merge(known)


def _say(study: Study, problem: str) -> None:
    """Once, however often the study is asked."""
    if problem not in study.problems:
        study.problems.append(problem)


def correlations(places: Sequence[Place]) -> list[Correlation]:
    """Of the gains with each of `MEASURES`, within data sets and networks of two layers or more, where
    three layers in all have both and neither is the same within all of them."""
    found = []
    for measure in MEASURES:
        groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for place, gain in known_gains(places, measure):
            pair = (place.values[measure], gain.mean)
            groups.setdefault((place.title, place.model), []).append(pair)
        ranked = [_ranks(group) for group in groups.values() if len(group) > 1]
        size = sum(len(group) for group in ranked)
        rho = _rho_within(ranked)
        if size < 3 or rho is None:
            continue
        p, fewest = _permuted(ranked, rho) if measure == "distance" else (None, None)
        found.append(Correlation(measure, size, len(ranked), rho, p, fewest))
    return found


_Ranks = NDArray[np.float64]
"""[layers, 2]: ranks of the measure and of the gain within a data set and network, less their mean."""


def _ranks(pairs: Sequence[tuple[float, float]]) -> _Ranks:
    from scipy.stats import rankdata  # slow to import

    # Rounded: gains that are equal on paper are equal in rank.
    ranks = rankdata(np.round(pairs, 9), axis=0)
    return np.asarray(ranks - ranks.mean(axis=0))


def _scale(groups: Sequence[_Ranks]) -> float:
    measure, gain = (math.fsum((group[:, side] ** 2).sum() for group in groups) for side in (0, 1))
    return math.sqrt(measure * gain)


def _rho_within(groups: Sequence[_Ranks]) -> float | None:
    """The correlation of ranks pooled over `groups`, Spearman's where there is one; None where one side
    does not vary."""
    scale = _scale(groups)
    return math.fsum(group.prod(axis=1).sum() for group in groups) / scale if scale > 0 else None


def _permuted(groups: Sequence[_Ranks], rho: float) -> tuple[float, float]:
    """The two-sided p of `rho` when gains change places within their group, and the least it can be:
    over all permutations, or `_PERMUTATIONS` at random where there are more."""
    scale = _scale(groups)
    every = math.prod(math.factorial(len(group)) for group in groups)
    if every <= _PERMUTATIONS:
        sums = np.zeros(1)
        for group in groups:
            orders = np.array(list(itertools.permutations(group[:, 1])))
            sums = np.add.outer(sums, orders @ group[:, 0]).ravel()
        reached = np.abs(sums / scale) >= abs(rho) - _ROUNDING
        most = np.abs(sums) >= np.abs(sums).max() - _ROUNDING
        return float(reached.mean()), float(most.mean())
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(_PERMUTATIONS):
        drawn = sum(group[:, 0] @ generator.permutation(group[:, 1]) for group in groups)
        hits += abs(drawn / scale) >= abs(rho) - _ROUNDING
    return (hits + 1) / (_PERMUTATIONS + 1), 1 / (_PERMUTATIONS + 1)


def known_gains(places: Sequence[Place], measure: str) -> list[tuple[Place, Gain]]:
    """The places that have both a gain and `measure`."""
    return [(each, each.gain) for each in places if each.gain and measure in each.values]


def answer(places: Sequence[Place]) -> str:
    """Whether the distance explains the gains, in words; empty where there is nothing to say."""
    known = known_gains(places, "distance")
    if not known:
        return ""
    found = {each.measure: each for each in correlations(places)}
    tested = found.get("distance")
    if tested is None:
        over = f"{len(known)} layer{'s' * (len(known) > 1)}"
        return f"**Distance**: gain and distance are known at {over}: too few that differ to be ranked."
    assert tested.p is not None
    assert tested.fewest is not None
    several = tested.networks > 1
    within = f" within {tested.networks} data sets and networks" if several else ""
    each = " within each" if several else ""
    text = (
        f"**Distance**: over n = {tested.n} layers{within}, the rank correlation of gain and distance "
        f"from image mixing is ρ = {signed(tested.rho)} ({p_is(tested.p)}, by permutation{each})"
    )
    if tested.p < 0.05:
        text += (
            ": layers farther from image mixing gain more."
            if tested.rho > 0
            else ": layers farther from image mixing gain less."
        )
    else:
        text += ": that the distance explains the gains is not shown."
        if tested.fewest >= 0.05:
            text += f" With so few layers p cannot fall below {p_text(tested.fewest)}."
    apart = sum(_apart(gain) for _, gain in known)
    text += f" {apart} of the {len(known)} gains have a 95 % interval that excludes 0."
    others = [each for each in found.values() if each.measure != "distance"]
    if others:
        listed = " and ".join(
            f"{signed(each.rho)} with {MEASURES[each.measure]}" for each in others
        )
        text += f" To explore: ρ = {listed}."
    return (
        f"{text} Layers of one data set share networks, test images and the baseline, so that they are "
        "no independent points."
    )


def _apart(gain: Gain) -> bool:
    low, high = gain.ends
    return low is not None and high is not None and not low <= 0 <= high


def section(places: Sequence[Place]) -> list[str]:
    """The report's lines: the answer and the table behind it."""
    if not places:
        return []
    said = answer(places)
    lines = ["## Distance from image mixing", "", *([said, ""] if said else [])]
    return [*lines, markdown_table([_row(each) for each in places]), "", _EXPLAINED, ""]


def _row(place: Place) -> dict[str, str]:
    values, gain = place.values, place.gain

    def number(name: str) -> str:
        return f"{values[name]:.3f}" if name in values else ""

    inside = f"{100 * values['in_classes']:.1f}" if "in_classes" in values else ""
    return {
        **{"data": place.title, "network": place.model, "layer": place.layer},
        **{"networks": str(place.networks), "untrained": number("initial_distance")},
        **{"trained": number("distance"), "mixed here": number("mixed_distance")},
        "gain, points [95 %]": interval(gain),
        **{"cross-entropy": number("cross_entropy"), "KL": number("kl")},
        **{"total variation": number("total_variation"), "one of the two, %": inside},
    }


def as_json(places: Sequence[Place]) -> dict[str, Any]:
    """For verdict.json."""
    return {
        "correlations": [asdict(each) for each in correlations(places)],
        "layers": [
            asdict(each) | {"gain": None if each.gain is None else asdict(each.gain)}
            for each in places
        ],
    }
