"""Which layers of a network can be mixed, and what mixing each of them comes to."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hiddenmix.config import UserError
from hiddenmix.networks.copying import make_typical
from hiddenmix.networks.graph import Place
from hiddenmix.networks.lazy_modules import initialise
from hiddenmix.networks.passes import (
    BATCH,
    NOTHING,
    Evaluated,
    Trained,
    evaluation_pass,
    first_pass,
    settle_statistics,
    shares_pass,
    train_passes,
)
from hiddenmix.networks.whole_precision import WholePrecision
from hiddenmix.terminal import clean

_LAYERS_A_PASS = 16

_OUTER = 2
"""Levels of nesting whose bypassed layers are measured too, as far as one pass has room."""

_SETTLING = 32
"""Images that give BatchNorm its statistics, others than those of which a share is measured: with few,
where a map is one pixel, the share is that of their own noise."""

_PAIRED = 8
"""Images, in pairs, of which a share is measured."""


@dataclass(frozen=True)
class Layer:
    """A place where a network can be mixed."""

    name: str
    """Dotted submodule name, or `input`."""

    shape: tuple[int, ...]
    """Shape of its output without the batch dimension."""

    disguise: bool
    """Whether the map up to here is affine as the network trains, so that mixing here is image mixup in
    disguise. Dropout aside: with the same one, it would be."""

    affine: bool = False
    """Whether the map up to here is affine in evaluation mode: in training, the statistics of a batch
    (BatchNorm) alone tell mixing here from image mixup."""

    cut: bool = True
    """Whether the whole image passes through here. Where it does not, unmixed parts of it flow past
    the layer while its label is mixed."""

    left: float | None = None
    """Share of the difference between two images' logits that is left where both have the mean of their
    maps here (weights ½); 0 at a cut, None where it was not measured."""

    same_as: str | None = None
    """The cut from which, or to which, the way is affine in evaluation mode, if there is a better known
    one: mixing there is the same."""

    depth: int = 0
    """Products with weights (convolutions, linear maps) on the longest way from the image up to here."""

    below: float = 0.0
    """Share of the network's parameters up to here."""


@dataclass(frozen=True)
class Survey:
    """What there is to know of the layers of a network."""

    layers: list[Layer]
    """Those that can be mixed, `input` first, in the order in which they run."""

    refused: dict[str, str]
    """Why each other submodule cannot."""

    output: tuple[int, ...] | None
    """Shape of what the network returns without the batch dimension, None where it is not one tensor."""

    output_text: str
    """What the network returns, in words."""

    exposed: set[int]
    """Channels of strided 1x1 convolutions whose gradient oneDNN gets wrong and `build` cannot mend."""


def survey(network: nn.Module, shape: tuple[int, int, int], *, left: bool = False) -> Survey:
    """The layers that can be mixed, and why the other submodules cannot. Changes `network`.

    `left` also measures what each bypassed layer leaves. Raises `UserError` where the network refuses
    the shape.
    """
    with _refusing(shape):
        images = _prepare(network, shape)
        exposed, halves = first_pass(network, images)
        with WholePrecision() if halves else nullcontext():
            modes = [(module, module.training) for module in network.modules()]
            trained = train_passes(network, images)
            layers = _layers(network, images, trained)
            if left:
                for module, mode in modes:
                    module.training = mode
                rest = [layer.name for layer in layers if layer.left is None]
                found = _shares(network, images, rest)
                layers = [_measured(each, found) for each in layers]
    names = {layer.name for layer in layers}
    refused = {
        name: trained.unfit.get(name) or _unlisted(trained.runs.get(name, 0))
        for name, _ in network.named_modules()
        if name and name not in names
    }
    start = Layer("input", shape, False, left=0.0)
    return Survey([start, *layers], refused, *trained.output, exposed)


def _measured(layer: Layer, left: Mapping[str, float]) -> Layer:
    share = left.get(layer.name, layer.left)
    # The graph may lead past a layer where nothing flows, as tokens do that no head reads.
    return replace(layer, left=share, cut=layer.cut or (share is not None and share < NOTHING))


def _unlisted(runs: int) -> str:
    if runs == 0:
        return "does not run"
    return "does not depend on the image" if runs == 1 else f"runs {runs} times"


def shares_left(
    network: nn.Module, shape: tuple[int, int, int], names: Sequence[str]
) -> dict[str, float]:
    """`Layer.left` of the layers `names`. Changes `network`."""
    with _refusing(shape), WholePrecision():
        return _shares(network, _prepare(network, shape), names)


def _prepare(network: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    initialise(network, shape)
    make_typical(network)
    if not network.training:
        network.train()
    return _images(network, BATCH, shape, seed=0)


def _images(network: nn.Module, number: int, shape: Sequence[int], seed: int) -> Tensor:
    """Gaussian ones, of the network's precision and on its device."""
    images = torch.randn(number, *shape, generator=torch.Generator().manual_seed(seed))
    own = [each for each in (*network.parameters(), *network.buffers()) if each.is_floating_point()]
    return images.to(own[0].device, own[0].dtype) if own else images


@contextmanager
def _refusing(shape: tuple[int, int, int]) -> Iterator[None]:
    """Raises what goes wrong within the block as a `UserError` that names the images' size."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        size = "x".join(map(str, shape))
        first = str(error).splitlines()[0] if str(error) else ""
        plain = isinstance(error, (RuntimeError, ValueError, AssertionError))
        kind = "" if plain else f"{type(error).__name__}: "
        raise UserError(
            f"the network does not accept {size} images\n  {kind}{clean(first, 500)}"
        ) from error


def _layers(network: nn.Module, images: Tensor, trained: Trained) -> list[Layer]:
    fit = [name for name, runs in trained.runs.items() if runs == 1 and name in trained.affine]
    places = trained.places or {}
    chain = [name for name in fit if name in places and places[name].cut]
    # Where autograd's graph ends before the image, numbers alone say what is a cut.
    unknown = [name for name in fit if name not in places]
    # And of the outer layers last to run: the graph leads past one through tokens that no head reads.
    past = [name for name in fit if name in places and not places[name].cut]
    unknown += [name for name in past if name.count(".") < _OUTER][-_LAYERS_A_PASS:]
    seen, left = _hold(network, images, fit, chain, unknown)
    if not seen.sound:
        # Rounding, which a map of one pixel behind BatchNorm may blow up, or a way without a gradient.
        network, images = network.double(), images.double()
        seen, left = _hold(network, images, fit, chain, unknown)
    if not seen.sound:
        # A way without a gradient: numbers say past what.
        unknown = fit
        seen, left = _hold(network, images, fit, [], unknown)
    cuts = [name for name in fit if left.get(name, float(name not in chain)) < NOTHING]
    if cuts != chain:
        seen, _ = _hold(network, images, fit, cuts, [])
    layers = []
    for name in fit:
        if seen.varies.get(name, False):
            place = places.get(name, Place(False, 0, 0.0))
            layer = Layer(
                name,
                trained.shapes[name],
                disguise=trained.affine[name],
                affine=seen.affine[name],
                cut=name in cuts,
                left=0.0 if name in cuts else None,
                depth=place.depth,
                below=place.below,
            )
            layers.append(layer)
    return _with_equals(layers, seen.steps)


def _hold(
    network: nn.Module,
    images: Tensor,
    fit: Collection[str],
    chain: Collection[str],
    held: Sequence[str],
) -> tuple[Evaluated, dict[str, float]]:
    left: dict[str, float] = {}
    for start in range(0, max(1, len(held)), _LAYERS_A_PASS):
        some = held[start : start + _LAYERS_A_PASS]
        seen = evaluation_pass(network, images, set(fit), set(chain), some)
        left |= seen.held
    return seen, left


def held_constant(
    network: nn.Module, shape: tuple[int, int, int], names: Sequence[str]
) -> dict[str, float]:
    """The share of the difference between two images' outputs that is left where the map of each layer
    of `names` is held constant: 0 at a cut. Changes `network`.

    The other way to find cuts: it knows nothing of graphs.
    """
    images = _prepare(network, shape)
    settle_statistics(network)
    with torch.no_grad():
        network(images)
    return _hold(network, images, fit=names, chain=[], held=names)[1]


def _with_equals(layers: list[Layer], steps: dict[str, bool]) -> list[Layer]:
    """Fills in `same_as`: within a run of cuts with affine ways in between, the best known one is the
    outermost, and of several the first."""
    runs: list[list[str]] = []
    for layer in layers:
        if layer.cut and not layer.affine:
            if runs and steps.get(runs[-1][-1], False):
                runs[-1].append(layer.name)
            else:
                runs.append([layer.name])
    best = {name: min(run, key=lambda each: each.count(".")) for run in runs for name in run}
    return [
        replace(layer, same_as=best[layer.name])
        if best.get(layer.name, layer.name) != layer.name
        else layer
        for layer in layers
    ]


def _shares(network: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, float]:
    if not names:
        return {}
    many = _images(network, _SETTLING + _PAIRED, images.shape[1:], seed=1)
    settle_statistics(network)
    with torch.no_grad():
        network(many[:_SETTLING])
    found: dict[str, float] = {}
    for start in range(0, len(names), _LAYERS_A_PASS):
        some = names[start : start + _LAYERS_A_PASS]
        found |= shares_pass(network, many[_SETTLING:], some)
    return found
