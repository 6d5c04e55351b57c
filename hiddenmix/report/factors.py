"""What each choice does by itself: the main effects of layer, K, alpha and whatever else varies.

An effect compares two levels of one factor over all pairs of settings that differ in nothing else, so
that no other factor is confounded with it. Mixup and CutMix have effects of their own. The best layer is
reported with the optimism that picking it brings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiddenmix.config import MODES
from hiddenmix.report.answers import CLEAN, Answers
from hiddenmix.report.comparison import INPUT, PLAIN, operation
from hiddenmix.report.pairing import compare
from hiddenmix.report.statistics import holm
from hiddenmix.report.two_way import Gain

_DRAWS = 1000
"""Bootstrap samples behind the optimism."""


@dataclass(frozen=True)
class Effect:
    """What one level of a factor does against another, everything else equal."""

    title: str
    model: str
    factor: str
    """`layer`, `K`, `alpha`, or a key of the configuration; of CutMix, with that behind it."""
    level: str
    reference: str
    pairs: int
    """Pairs of settings it is averaged over."""
    gain: Gain
    p_holm: float | None
    """Corrected over all effects of the study on the same kind of test images."""


def effects(
    table: pd.DataFrame, cells: pd.DataFrame, answers: Answers, what: str = CLEAN
) -> list[Effect]:
    """All main effects of a study by factor and level, on clean or on shifted test images (`what`).

    The reference of `layer` is the input, of K two images, of alpha 1 or else the most common one, of
    any other key its most common value.
    """
    by_setting = {str(key): group for key, group in cells.groupby("setting", sort=False)}
    found: list[Effect] = []
    for (title, model), rows in _networks(table):
        every = {str(row["setting"]): _place(row) for _, row in rows.iterrows()}
        for factor, kind in _factors(every):
            places = {
                key: place
                for key, place in every.items()
                if kind is None or place["operation"] == kind
            }
            values = [place[factor] for place in places.values() if factor in place]
            levels = _levels(factor, values)
            reference = _reference(factor, values)
            for level in levels:
                pairs = _pairs(places, factor, level, reference)
                if level == reference or not pairs:
                    continue
                gain = compare(pairs, what, by_setting, answers).gain
                if gain is not None:
                    shown = f"{factor} (cutmix)" if kind == "cutmix" else factor
                    names = (title, model, shown, level, reference)
                    found.append(Effect(*names, len(pairs), gain, None))
    corrected = holm([effect.gain.p_known for effect in found])
    return [replace(effect, p_holm=p) for effect, p in zip(found, corrected, strict=True)]


def _factors(places: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str | None]]:
    """Each factor, once for each operation; the operation itself once, with None."""
    kinds = dict.fromkeys(place["operation"] for place in places.values())
    for factor in dict.fromkeys(key for place in places.values() for key in place):
        yield from [(factor, None)] if factor == "operation" else ((factor, kind) for kind in kinds)


def _networks(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The mixing settings of each data set and network."""
    mixing = table[table["layer"] != PLAIN]
    for (title, model), rows in mixing.groupby(["title", "model"], sort=False):
        yield (str(title), str(model)), rows


def _place(row: pd.Series) -> dict[str, str]:
    """A setting as factor -> level."""
    place = {"layer": str(row["layer"]), "K": str(MODES.get(row["mode"], row["mode"]))}
    place["alpha"] = f"{row['alpha']:g}"
    place["operation"] = operation(row["variant"])
    for part in filter(None, str(row["variant"]).split(", ")):
        key, _, value = part.partition("=")
        place[key] = value
    return place


def _levels(factor: str, values: list[str]) -> list[str]:
    """Each of `values` once, in order: layers by depth, as the rows of the table are."""

    def key(level: str) -> tuple[bool, float, str]:
        try:
            return (False, float(level), level)
        except ValueError:
            return (True, 0.0, level)

    found = list(dict.fromkeys(values))
    return found if factor == "layer" else sorted(found, key=key)


def _reference(factor: str, values: list[str]) -> str:
    usual = {"layer": INPUT, "K": "2", "alpha": "1", "operation": "mixup"}.get(factor)
    if usual in values:
        return str(usual)
    return max(_levels(factor, values), key=values.count)


def _pairs(
    places: Mapping[str, Mapping[str, str]], factor: str, level: str, reference: str
) -> list[tuple[str, str]]:
    """Settings at `level` with the one at `reference` that differs in nothing else."""
    rest = {
        frozenset((key, value) for key, value in place.items() if key != factor): setting
        for setting, place in places.items()
        if place.get(factor) == reference
    }
    pairs = []
    for setting, place in places.items():
        others = frozenset((key, value) for key, value in place.items() if key != factor)
        if place.get(factor) == level and others in rest:
            pairs.append((setting, rest[others]))
    return pairs


@dataclass(frozen=True)
class Best:
    """The layer with the largest gain, and what is left of it without the luck of the choice."""

    title: str
    model: str
    operation: str
    """`mixup` or `cutmix`."""
    layer: str
    among: int
    """Layers that were compared."""
    gain: float
    corrected: float
    """`gain` minus the optimism: what new seeds and new test images are expected to show."""
    seeds: int
    images: int


def best_layers(table: pd.DataFrame, cells: pd.DataFrame, answers: Answers) -> list[Best]:
    """For each data set, network and operation with two hidden layers or more, the best of them.

    The optimism is that of Efron & Tibshirani (1993, section 17.5): seeds and test images are drawn
    anew with replacement, the best layer of each such sample is chosen, and its gain there minus its
    gain in the study is averaged over samples.
    """
    by_setting = {str(key): group for key, group in cells.groupby("setting", sort=False)}
    found: list[Best] = []
    mixing = [
        (*names, str(kind), own)
        for names, rows in _networks(table)
        for kind, own in rows.groupby(rows["variant"].map(operation), sort=False)
    ]
    for title, model, kind, rows in mixing:
        places = {str(row["setting"]): _place(row) for _, row in rows.iterrows()}
        names = [name for name in dict.fromkeys(rows["layer"]) if name != INPUT]
        pairs = _common_pairs(places, names)
        whole = {name: compare(found, CLEAN, by_setting, answers) for name, found in pairs.items()}
        matrices = {name: each.matrix for name, each in whole.items() if each.matrix is not None}
        shapes = {matrix.shape for matrix in matrices.values()}
        if len(matrices) < 2 or len(shapes) != 1 or next(iter(shapes))[0] < 2:
            continue
        stack = np.stack(list(matrices.values()))
        means = stack.mean((1, 2))
        first = int(means.argmax())
        corrected = float(means[first]) - _optimism(stack)
        n, images = stack.shape[1:]
        layer = list(matrices)[first]
        best = float(means[first])
        found.append(Best(title, model, kind, layer, len(matrices), best, corrected, n, images))
    return found


def layer_gains(
    table: pd.DataFrame, cells: pd.DataFrame, answers: Answers
) -> dict[tuple[str, str, str], Gain]:
    """(title, model, layer) -> what mixup there gains over the input on clean test images, over the
    settings that all layers of that network have, so that the gains compare with each other."""
    by_setting = {str(key): group for key, group in cells.groupby("setting", sort=False)}
    found = {}
    for (title, model), rows in _networks(table):
        mixup = rows[rows["variant"].map(operation) == "mixup"]
        places = {str(row["setting"]): _place(row) for _, row in mixup.iterrows()}
        names = [name for name in dict.fromkeys(mixup["layer"]) if name != INPUT]
        for layer, pairs in _common_pairs(places, names).items():
            gain = compare(pairs, CLEAN, by_setting, answers).gain
            if gain is not None:
                found[title, model, layer] = gain
    return found


def _common_pairs(
    places: Mapping[str, Mapping[str, str]], layers: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """For each layer its settings with those at the input, of the K, alpha and whatever else varies that
    all `layers` have: what else differed would count as the layer's. Layers without any are left out."""
    pairs = {name: _pairs(places, "layer", name, INPUT) for name in layers}
    pairs = {name: found for name, found in pairs.items() if found}
    inputs = [{baseline for _, baseline in found} for found in pairs.values()]
    common = set.intersection(*inputs) if inputs else set()
    return {name: [each for each in found if each[1] in common] for name, found in pairs.items()}


def _optimism(stack: NDArray[np.float64]) -> float:
    """Of choosing the best of `stack` [layers, seeds, images], from a fixed stream.

    Not less than 0, as no sample's term is: what the layer that is best in the study has there, in
    expectation what it has in the study, is taken off as well (a control variate).
    """
    generator = np.random.default_rng(0)
    seeds, images = stack.shape[1:]
    means = stack.mean((1, 2))
    first = int(means.argmax())
    total = 0.0
    for _ in range(_DRAWS):
        s = generator.multinomial(seeds, np.full(seeds, 1 / seeds)) / seeds
        i = generator.multinomial(images, np.full(images, 1 / images)) / images
        drawn = (s @ stack) @ i
        best = int(drawn.argmax())
        total += float((drawn[best] - drawn[first]) + (means[first] - means[best]))
    return total / _DRAWS
