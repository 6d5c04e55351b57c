"""Forward passes that look at every layer of a network: as it trains, and image by image."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hiddenmix.mixing import mixable_tensors, replace_tensor
from hiddenmix.networks.buffers import Buffers
from hiddenmix.networks.graph import Node, Place, places
from hiddenmix.networks.projections import Watch
from hiddenmix.networks.whole_precision import WholePrecision
from hiddenmix.randomness import default_generators

BATCH = 4
"""Images in a training pass: the fewest with which BatchNorm behaves as with many."""

_SHARE = 0.3
_LOOKED_AT = 1 << 14
_AFFINE = 1e-4
"""Part of a map's range below which a distance is rounding, through deep stacks in float32 too."""

NOTHING = 1e-4
"""Part of the difference between two images below which it is rounding, where they should be equal."""

_WALKERS = 8

Listener = Callable[[object], object]


@contextmanager
def listening(network: nn.Module, listen: Callable[[str], Listener]) -> Iterator[None]:
    """Within the block, `listen(name)` is called with each submodule and its output, which it may
    replace."""
    handles = []
    try:
        for name, module in network.named_modules():
            if name:
                heard = listen(name)
                handles.append(
                    module.register_forward_hook(
                        lambda module, args, output, heard=heard: heard(output)
                    )
                )
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Trained:
    """What training passes show of the layers, by name, in the order in which they ran."""

    runs: dict[str, int] = field(default_factory=dict)
    """How often each layer ran in a pass."""

    unfit: dict[str, str] = field(default_factory=dict)
    """Why a layer that ran cannot be mixed."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of the map without the batch dimension."""

    affine: dict[str, bool] = field(default_factory=dict)
    """Whether mixing the images gives the same map as mixing the maps."""

    output: tuple[tuple[int, ...] | None, str] = (None, "nothing")
    """Shape of what the network returns without the batch dimension, if it is one map, and in words."""

    places: dict[str, Place] | None = None
    """Where the map stands in the graph; None where autograd's has no way from image to output."""


def settle_statistics(network: nn.Module) -> None:
    """Let the next training pass give BatchNorm its statistics for evaluation mode, as if all of a long
    training had been like it."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0


def first_pass(network: nn.Module, images: Tensor) -> tuple[set[int], bool]:
    """Runs `network` on `images` in the mode that it is in, so that it settles what it initialises by
    data; returns the channels of convolutions that `Watch` notes, and whether the network casts to half
    precision, so that the passes to come need `WholePrecision`."""
    with WholePrecision() as whole, Watch() as watch, torch.no_grad(), _same_dropout(images):
        network(images)
    return watch.exposed, whole.used


def train_passes(network: nn.Module, images: Tensor) -> Trained:
    """Runs `network` in the mode that it is in, on `images` [4, C, H, W], their partners and the mixed
    images, with the same dropout and buffers in each.

    Needs a gradient in every parameter. BatchNorm has the statistics of `images` afterwards.
    """
    partners = images.roll(1, 0)
    mixed = _SHARE * images + (1 - _SHARE) * partners
    found = Trained()
    seen: list[dict[str, Tensor]] = []
    # Such as spectral_norm's, with which it goes on from pass to pass.
    buffers = Buffers(network)
    for batch in (mixed, partners):
        _no_gradient_pass(network, batch, seen)
        buffers.restore()
    seen.append({})
    # Nodes, not maps: what overwrites a map in place gives it another node.
    nodes: dict[str, Node] = {}
    image = images.detach().clone().requires_grad_().clone()
    source = image.grad_fn
    assert source is not None

    def listen(name: str) -> Listener:
        def heard(output: object) -> object:
            found.runs[name] = found.runs.pop(name, 0) + 1
            maps = _maps(output, BATCH)
            if isinstance(maps, str):
                found.unfit[name] = maps
                return None
            # A node of its own in the graph, also where a module returns what it was given.
            own = maps.clone()
            try:
                changed = replace_tensor(output, lambda _: own, name)
            except TypeError:
                found.unfit[name] = f"returns {type(output).__name__}, which cannot be made anew"
                return None
            if own.grad_fn is not None:
                nodes[name] = own.grad_fn
            found.shapes[name] = tuple(own.shape[1:])
            seen[2][name] = _part(own)
            return changed

        return heard

    settle_statistics(network)
    with torch.enable_grad(), _same_dropout(images), listening(network, listen):
        output = network(image)
    for name in seen[0].keys() & seen[1].keys() & seen[2].keys():
        mixed_map, partner, own_map = (each[name] for each in seen)
        found.affine[name] = _is_affine(own_map, partner, mixed_map)
    found.output = _described(output)
    found.places = places(source, mixable_tensors(output), nodes, network)
    return found


def _no_gradient_pass(network: nn.Module, batch: Tensor, seen: list[dict[str, Tensor]]) -> None:
    seen.append({})
    with torch.no_grad(), _same_dropout(batch), listening(network, _keep(seen[-1])):
        network(batch)


def _keep(seen: dict[str, Tensor]) -> Callable[[str], Listener]:
    def listen(name: str) -> Listener:
        def heard(output: object) -> None:
            maps = _maps(output, BATCH)
            if isinstance(maps, Tensor):
                seen[name] = _part(maps)

        return heard

    return listen


def _maps(output: object, batch: int) -> Tensor | str:
    """The tensor that would be mixed of what a layer returns, or why there is none."""
    found = mixable_tensors(output)
    if isinstance(output, Tensor) and not found:
        return f"returns {str(output.dtype).removeprefix('torch.')}"
    if len(found) != 1:
        return f"returns {type(output).__name__}, not one tensor"
    if found[0].dim() == 0 or len(found[0]) != batch:
        return "its first dimension is not the batch"
    return found[0]


def _described(output: object) -> tuple[tuple[int, ...] | None, str]:
    if not isinstance(output, Tensor):
        return None, f"a {type(output).__name__}"
    if isinstance(reason := _maps(output, BATCH), str):
        return None, f"a tensor of shape {list(output.shape)} ({reason})"
    return tuple(output.shape[1:]), f"a tensor [batch, {', '.join(map(str, output.shape[1:]))}]"


def _part(value: Tensor) -> Tensor:
    """[B, at most some ten thousand] of a map: enough to see whether it is affine."""
    flat = _numbers(value.detach())
    # An odd step meets every channel, whatever the layout.
    step = max(1, flat.shape[1] // _LOOKED_AT) | 1
    return flat[:, ::step].to(torch.float64, copy=True)


def _numbers(value: Tensor) -> Tensor:
    """[B, all real numbers of it]."""
    return (torch.view_as_real(value) if value.is_complex() else value).flatten(1)


def _is_affine(first: Tensor, second: Tensor, mixed: Tensor) -> bool:
    distance = (_SHARE * first + (1 - _SHARE) * second - mixed).abs().max()
    return bool(distance <= _AFFINE * (first - second).abs().max())


def _same_dropout(batch: Tensor) -> AbstractContextManager[None]:
    return default_generators(0, "dropout", batch.device)


@dataclass
class Evaluated:
    """What a pass in evaluation mode shows of the layers, by name."""

    affine: dict[str, bool] = field(default_factory=dict)
    """Whether mixing the images gives the same map as mixing the maps, image by image."""

    varies: dict[str, bool] = field(default_factory=dict)
    """Whether the map depends on the image."""

    steps: dict[str, bool] = field(default_factory=dict)
    """Of the chain's layers: whether the way from it to the next is affine."""

    sound: bool = True
    """Whether nothing flows past a layer of the chain, as far as numbers show."""

    held: dict[str, float] = field(default_factory=dict)
    """Of the held layers: the share of the difference between two images' outputs that is left where
    the map is held constant, 0 at a cut."""


def evaluation_pass(
    network: nn.Module,
    images: Tensor,
    fit: Collection[str],
    chain: Collection[str],
    held: Sequence[str],
) -> Evaluated:
    """Runs `network` in evaluation mode, where no image has to do with another, on two of `images`
    and copies of them of which each serves another question.

    `fit`: the layers that run once and return one map; `chain`: those of them that should be cuts.
    """
    first, second = images[:1], images[1:2]
    mixed = _SHARE * first + (1 - _SHARE) * second
    # Walkers get one of the two images' maps at each layer of the chain, by the toss of a coin: what
    # flows past a layer brings the other one to some later layer.
    tosses = torch.Generator().manual_seed(0)
    stands = torch.randint(2, (_WALKERS,), generator=tosses)
    walkers = torch.cat([first, second])[stands.to(images.device)]
    # The third row is mixed once, the fourth anew at each layer of the chain; the last ones are the
    # second image, which gets the map of the first at the held layer.
    batch = torch.cat([first, second, mixed, mixed, walkers, *[second] * len(held)])
    walking = slice(4, 4 + _WALKERS)
    own = {name: walking.stop + number for number, name in enumerate(held)}
    found = Evaluated()
    before: list[str] = []

    def arrived(rows: Tensor) -> bool:
        distance = (rows[walking] - rows[:2][stands.to(rows.device)]).abs().max()
        return bool(distance <= NOTHING * (rows[0] - rows[1]).abs().max())

    def listen(name: str) -> Listener:
        def heard(output: object) -> object:
            nonlocal stands
            maps = _maps(output, len(batch)) if name in fit else ""
            if isinstance(maps, str):
                return None
            rows = _part(maps[: walking.stop])
            one, other, both, walked = (each[None] for each in rows[:4])
            found.affine[name] = _is_affine(one, other, both)
            found.varies[name] = not torch.equal(one, other)
            changed = maps.clone()
            if name in chain:
                if before:
                    found.steps[before.pop()] = _is_affine(one, other, walked)
                    found.sound &= arrived(rows)
                before.append(name)
                changed[3] = _SHARE * maps[0] + (1 - _SHARE) * maps[1]
                stands = torch.randint(2, (_WALKERS,), generator=tosses)
                changed[walking] = maps[:2][stands.to(maps.device)]
            if name in own:
                changed[own[name]] = maps[0]
            return replace_tensor(output, lambda _: changed, name)

        return heard

    network.eval()
    with torch.no_grad(), listening(network, listen):
        flat = _rows(network(batch), len(batch))
    found.sound &= arrived(flat)
    for name, row in own.items():
        found.held[name] = _share_left(flat[:1], flat[row : row + 1], flat[:1], flat[1:2])
    return found


def shares_pass(network: nn.Module, images: Tensor, mixed: Sequence[str]) -> dict[str, float]:
    """For each layer of `mixed`, the share of the difference between two images' outputs that is left
    where both have the mean of their two maps there; of the halves of `images`, in evaluation mode."""
    first, second = images.chunk(2)
    size = len(first)
    pair = torch.cat([first, second])
    batch = torch.cat([pair] * (1 + len(mixed)))
    own = {name: 2 * size * number for number, name in enumerate(mixed, start=1)}

    def listen(name: str) -> Listener:
        def heard(output: object) -> object:
            maps = _maps(output, len(batch)) if name in own else ""
            if isinstance(maps, str):
                return None
            changed = maps.clone()
            mean = (maps[:size] + maps[size : 2 * size]) / 2
            changed[own[name] : own[name] + 2 * size] = torch.cat([mean, mean])
            return replace_tensor(output, lambda _: changed, name)

        return heard

    network.eval()
    with torch.no_grad(), listening(network, listen):
        flat = _rows(network(batch), len(batch))
    parts = flat.split(size)
    return {
        name: _share_left(parts[2 * number], parts[2 * number + 1], parts[0], parts[1])
        for number, name in enumerate(mixed, start=1)
    }


def _rows(output: object, batch: int) -> Tensor:
    """[batch, all numbers of it] of what a network returns, as float64."""
    parts = [
        _numbers(each).double()
        for each in mixable_tensors(output)
        if each.dim() and len(each) == batch
    ]
    if not parts:
        raise ValueError("the network returns nothing whose first dimension is the batch")
    return torch.cat(parts, 1)


def _share_left(one: Tensor, other: Tensor, first: Tensor, second: Tensor) -> float:
    whole = float((first - second).norm())
    return float((one - other).norm()) / whole if whole else 0.0
