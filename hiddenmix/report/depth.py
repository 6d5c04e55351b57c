"""The order of a network's layers: that in which it executes them, as its results record it."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from hiddenmix.config import CnnConfig, PreactResNet18Config

_OWN = (CnnConfig().name, PreactResNet18Config().name)

Rank = Callable[[str], tuple[Any, ...]]
"""A layer's name -> what to sort by."""

_START = ("none", "input")

# Where results do not say in what order the network executes its layers: the stages of the built-in
# network and the stems and ends of common others, by depth; all other names stand between, in natural
# order, which is the depth of layer1..layer4 or features.0..30.
_FIRST = (
    *("stem", "conv1", "bn1", "norm1", "relu", "maxpool"),
    *("pool1", "conv2", "pool2", "conv3", "pool3"),
)
_LAST = ("norm", "avgpool", "fc1", "fc2", "fc", "head", "classifier")


def by_depth(executed: Iterable[Sequence[str]]) -> Rank:
    """Sorting key of layers' names by depth: none, input, the hidden layers in the order in which the
    network executes them, lists of layers last.

    `executed` has that order as the network's results record it, each `layers` of `Study.cells`; where
    variants of a network differ, what only one has stands behind what it executes before. Layers that
    none of them has follow by name: results of earlier versions record no order.
    """
    order: list[str] = []
    for names in sorted({tuple(each) for each in executed}, key=lambda each: (-len(each), each)):
        place = 0
        for name in names:
            if name not in order:
                order.insert(place, name)
            place = max(place, order.index(name) + 1)
    places = {name: place for place, name in enumerate(order)}

    def key(layer: str) -> tuple[Any, ...]:
        if layer in _START:
            return (0, _START.index(layer))
        if "+" in layer:
            return (3, layer)
        return (1, places[layer]) if layer in places else (2, _name_rank(layer))

    return key


def guessed(layers: Iterable[str], model: str, executed: Iterable[Sequence[str]]) -> bool:
    """Whether `by_depth` orders several `layers` by names that need not say it: no result records their
    order, the network is none of our own, and they differ in more than numbers."""
    names = set(layers)
    recorded = {name for each in executed for name in each}
    numbered = len({re.sub(r"\d+", "#", name) for name in names}) == 1
    return len(names) > 1 and not (numbered or names <= recorded or model in _OWN)


def depths(cells: pd.DataFrame) -> dict[tuple[str, str], Rank]:
    """(title, model) -> `by_depth` of that network, from `Study.cells`."""
    networks = cells.groupby(["title", "model"], sort=False)
    return {(str(title), str(model)): by_depth(rows["layers"]) for (title, model), rows in networks}


def _name_rank(layer: str) -> tuple[Any, ...]:
    """Sorting key of a layer's name by the depth that such names usually have."""
    stage, _, inner = layer.partition(".")
    # conv1.conv comes before conv1, the end of its stage.
    within = (0, *_natural(inner)) if inner else (1,)
    if stage in _FIRST:
        return (0, _FIRST.index(stage), (), within, layer)
    if stage in _LAST:
        return (2, _LAST.index(stage), (), within, layer)
    return (1, 0, _natural(stage), within, layer)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
