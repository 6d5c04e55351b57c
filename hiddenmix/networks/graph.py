"""What leads from an image to the logits, read from the graph that autograd records.

A layer is a *cut* if every way from the image to the output passes through its map: then, with the map
held constant, the output no longer depends on the image.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Node = torch.autograd.graph.Node

_PRODUCTS = ("conv", "mm", "linear", "matmul")
"""In the names of autograd's nodes; attention's own products have no weights on either side."""


@dataclass(frozen=True)
class Place:
    """Where a layer's map stands in the graph."""

    cut: bool
    """Whether every way from the image to the output passes through it."""

    depth: int
    """Products with weights (convolutions, linear maps) on the longest way from the image up to it."""

    below: float
    """Share of the network's parameters that the map is computed with."""


def places(
    source: Node,
    outputs: Iterable[Tensor],
    maps: Mapping[str, Node],
    network: nn.Module,
) -> dict[str, Place] | None:
    """The place of each of `maps`; None where the graph has no way from `source` to `outputs`.

    `source`, the node of the images, and those of the maps stand for one tensor each (`clone` makes
    one), and every parameter of `network` needs a gradient. A map that does not depend on the image, or
    that nothing depends on, has no place.
    """
    ends = [node for each in outputs if (node := each.grad_fn) is not None]
    order = _downwards(ends)
    if source not in order:
        return None
    sizes = {id(each): each.numel() for each in network.parameters()}
    total = sum(sizes.values())
    bits = {key: 1 << number for number, key in enumerate(sizes)}
    matrices = sum(bits[id(each)] for each in set(network.parameters()) if each.dim() > 1)
    # From the image upwards: ways to each node, weights on the longest, parameters below.
    ways: dict[Node, int] = dict.fromkeys(order, 0)
    depth: dict[Node, int] = {}
    used: dict[Node, int] = {}
    for node in reversed(order):
        before = _before(node)
        variable = getattr(node, "variable", None)
        used[node] = bits.get(id(variable), 0)
        for each in before:
            used[node] |= used[each]
        ways[node] = 1 if node is source else sum(ways[each] for each in before)
        if ways[node]:
            product = any(part in node.name().lower() for part in _PRODUCTS)
            by_weights = any(each not in depth and used[each] & matrices for each in before)
            deepest = max((depth[each] for each in before if each in depth), default=0)
            depth[node] = deepest + (product and by_weights)
    # And from the output down: ways on.
    onwards: dict[Node, int] = dict.fromkeys(order, 0)
    for end in ends:
        onwards[end] += 1
    for node in order:
        for each in _before(node):
            onwards[each] += onwards[node]
    found = {}
    for name, node in maps.items():
        if ways.get(node):
            share = sum(sizes[key] for key, bit in bits.items() if used[node] & bit)
            cut = ways[node] * onwards[node] == onwards[source]
            found[name] = Place(cut, depth[node], share / total if total else 0.0)
    return found


def _before(node: Node) -> list[Node]:
    return [each for each, _ in node.next_functions if each is not None]


def _downwards(ends: list[Any]) -> dict[Node, None]:
    """All nodes, each before those that it is computed from; keys of a dict, in that order."""
    finished: dict[Node, None] = {}
    entered: set[Node] = set()
    stack = [(end, False) for end in ends]
    while stack:
        node, left = stack.pop()
        if left:
            finished[node] = None
        elif node not in entered:
            entered.add(node)
            stack.append((node, True))
            stack += [(each, False) for each in _before(node) if each not in entered]
    return dict.fromkeys(reversed(finished))
