"""Of the layers that can be mixed, those at which it makes sense, and what speaks against each other."""

from collections.abc import Sequence

from torch import nn

from hiddenmix.mixing import unwrapped
from hiddenmix.networks.copying import copy_of
from hiddenmix.networks.survey import Layer, survey

_ENOUGH = 4
"""Stages from which no deeper nested ones are shown."""

_MOST = 16
"""Stages that a list of them names: with what stands around them they fit a screen of 24 lines."""


def mixable_layers(
    network: nn.Module,
    shape: tuple[int, int, int],
    *,
    left: bool = False,
    stages: bool = False,
) -> list[Layer]:
    """The layers of `network` that run exactly once in a forward pass and return one batch tensor.

    Also those at which mixing makes little sense: their `disguise`, `affine`, `cut` and `same_as` say
    why. `stages` leaves them out: the list is that of `python -m hiddenmix.layers` then.

    Found by forward passes of a copy on Gaussian images of `shape` (C, H, W), in training mode (a
    module that was put in evaluation mode within a training network stays there) and in evaluation
    mode. `left` also measures what each bypassed layer leaves, which takes a pass for every 16 of them.
    Names are those of the network that torch.compile or a data-parallel wrapper stands around. The
    network itself stays as it is. Raises `UserError` where it refuses the shape.
    """
    layers = survey(copy_of(unwrapped(network)), shape, left=left).layers
    return listed(layers) if stages else layers


def listed(layers: Sequence[Layer]) -> list[Layer]:
    """Of all `layers` that can be mixed, the input and the stages to list."""
    return [layers[0], *stages(layers)]


def behind_first_convolution(layers: Sequence[Layer]) -> Layer | None:
    """The layer at which the paper mixes: the lowest stage, where only a convolution lies below it."""
    lowest = next(iter(stages(layers)), None)
    # A map of less than three dimensions has no pixels, such as a first linear layer's.
    if lowest is None or lowest.depth != 1 or len(lowest.shape) != 3:
        return None
    return lowest


def stages(layers: Sequence[Layer]) -> list[Layer]:
    """The stages to list: all of them, or of more than 16 every second (third, ...), and the last."""
    found = all_stages(layers)
    step = max(1, -(-(len(found) - 1) // (_MOST - 1)))
    return [*found[:-1:step], *found[-1:]]


def all_stages(layers: Sequence[Layer]) -> list[Layer]:
    """Cuts in no disguise, each once, outermost first: as many levels of nesting as it takes for four.

    In the order in which they run.
    """
    honest = [layer for layer in layers if layer.name != "input" and not _against(layer)]
    deepest = max((layer.name.count(".") for layer in honest), default=0)
    found: list[Layer] = []
    for level in range(deepest + 1):
        found = [layer for layer in honest if layer.name.count(".") <= level]
        if len(found) >= _ENOUGH:
            break
    return found


def reasons(layers: Sequence[Layer]) -> dict[str, str]:
    """What speaks against mixing at each layer that is neither a stage of the list nor the input, in
    words."""
    every = [layer.name for layer in all_stages(layers)]
    chosen = {layer.name for layer in stages(layers)}
    found, last = {}, ""
    for layer in layers:
        if layer.name in chosen:
            last = layer.name
        elif layer.name in every:
            following = next(name for name in every[every.index(layer.name) :] if name in chosen)
            found[layer.name] = f"a stage between {last} and {following}"
        elif layer.name != "input":
            found[layer.name] = (
                _against(layer) or f"finer: inside {_parent(layer.name, set(every))}"
            )
    return found


def _against(layer: Layer) -> str | None:
    if layer.disguise:
        return "image mixup in disguise: affine up to here"
    if not layer.cut:
        share = "" if layer.left is None else f": leaves {layer.left:.2f}"
        return f"bypassed{share}"
    if layer.affine:
        return "image mixup but for the batch's statistics: affine in evaluation mode"
    if layer.same_as is not None:
        return f"same as {layer.same_as}: affine in between"
    return None


def _parent(name: str, chosen: set[str]) -> str:
    above = name.split(".")[:-1]
    while above and ".".join(above) not in chosen:
        above.pop()
    return ".".join(above or name.split(".")[:1])
