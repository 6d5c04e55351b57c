"""The layers of the network that a configuration describes, looked for once in a process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from hiddenmix.config import ConfigError, ImportConfig, ModelConfig, UserError
from hiddenmix.networks.building import bare, build
from hiddenmix.networks.copying import copy_of
from hiddenmix.networks.mixable import stages
from hiddenmix.networks.passes import BATCH, NOTHING
from hiddenmix.networks.survey import Layer, Survey, shares_left, survey
from hiddenmix.networks.weights import take_weights
from hiddenmix.randomness import default_generators
from hiddenmix.system import physical_memory
from hiddenmix.terminal import clean

_Key = tuple[str, tuple[int, int, int], int]
_FOUND: dict[_Key, Survey] = {}
_LEFT: dict[tuple[_Key, str], float] = {}
_LAYOUT: dict[_Key, torch.memory_format] = {}

_DIGITS = (1, 8, 8)
"""Shape of the images of the data set that is taken where none is named."""

_LAYOUTS = (torch.channels_last, torch.contiguous_format)
"""The faster one first."""


def check_layers(names: list[str], available: list[Layer]) -> list[Layer]:
    """The layers called `names`; raises `ConfigError` with the available names for any other."""
    by_name = {layer.name: layer for layer in available}
    for name in names:
        if name not in by_name:
            inside = "." in name or any(key.startswith(f"{name}.") for key in by_name)
            shown = [layer.name for layer in available if inside or "." not in layer.name]
            if not inside:
                shown += [layer.name for layer in stages(available) if "." in layer.name]
            text = ", ".join(["none", *shown[:60]]) + ("\u2026" if len(shown) > 60 else "")
            if inside:
                text += " (what runs once in a pass and returns one map)"
            raise ConfigError("layer", name, text)
    return [by_name[name] for name in names]


def layers_of(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """The layers that can be mixed of the network that `build` makes, looked for once in a process.

    As in `mixable_layers`, but as training runs it, which calls `network.train()`: a module that the
    network's code put in evaluation mode stays there only where its own `train` puts it back.

    Raises `UserError` where it cannot be built for images of `shape` (C, H, W), needs more memory than
    this machine has, or does not return logits [B, classes].
    """
    return survey_of(model, shape, classes).layers


def survey_of(
    model: ModelConfig, shape: tuple[int, int, int], classes: int, *, left: bool = False
) -> Survey:
    """`layers_of`, and why the other submodules cannot be mixed; `left` as in `mixable_layers`."""
    key = repr(model), shape, classes
    if left or key not in _FOUND:
        _check_memory(model, shape, classes)
        with _naming_data(shape):
            found = survey(_made(model, shape, classes), shape, left=left)
        if found.output != (classes,):
            raise UserError(
                f"the network returns {found.output_text} where it trains\n"
                f"  allowed: logits, one tensor [batch, {classes}] for {classes} classes"
            )
        _FOUND[key] = found
    return _FOUND[key]


@contextmanager
def _naming_data(shape: tuple[int, int, int]) -> Iterator[None]:
    """Says of images of the default data's size, which a network may refuse as it asks for more pixels,
    where they come from: whoever chooses a network and names no data has these."""
    try:
        yield
    except UserError as error:
        refused, text = "8x8 images", str(error)
        if shape != _DIGITS or refused not in text:
            raise
        more = f"{refused}, the size of the default dataset=digits; give dataset=<name> for others"
        raise UserError(text.replace(refused, more, 1)) from error


def bypassed(
    model: ModelConfig, shape: tuple[int, int, int], classes: int, names: Sequence[str]
) -> dict[str, float]:
    """Those of the layers `names` that images flow past, and the share of the difference between two
    images' logits that is left where both have the mean of their maps there."""
    key = repr(model), shape, classes
    past = [
        layer.name
        for layer in layers_of(model, shape, classes)
        if layer.name in names and not layer.cut
    ]
    if unknown := [name for name in past if (key, name) not in _LEFT]:
        found = shares_left(_made(model, shape, classes), shape, unknown)
        _LEFT.update({(key, name): share for name, share in found.items()})
    # The graph may lead past a layer where nothing flows, as tokens do that no head reads.
    return {name: _LEFT[key, name] for name in past if _LEFT[key, name] >= NOTHING}


def layout_of(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> torch.memory_format:
    """The layout in which the network that `build` makes is trained and evaluated, looked for once in
    a process: channels_last, or contiguous where it runs in that alone, as with `view` behind a
    convolution."""
    key = repr(model), shape, classes
    if key not in _LAYOUT:
        network = _made(model, shape, classes)
        fits = (each for each in _LAYOUTS if _runs(copy_of(network), shape, each))
        # One that runs in neither says why where it is surveyed or trained.
        _LAYOUT[key] = next(fits, _LAYOUTS[0])
    return _LAYOUT[key]


def _runs(network: nn.Module, shape: tuple[int, int, int], layout: torch.memory_format) -> bool:
    """Whether `network` runs with images and weights in `layout`, in training mode and then in
    evaluation mode, where the images are contiguous ones. Changes it."""
    images = torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))
    try:
        network.to(memory_format=layout)
        with torch.no_grad(), default_generators(0, "dropout"):
            network(images.contiguous(memory_format=layout))
            network.eval()
            network(images)
    except Exception:  # whatever a network does
        return False
    return True


def weights_text(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> str | None:
    """What `model.weights` has for the network, in words; None without."""
    if model.weights is None:
        return None
    return take_weights(_made(replace(model, weights=None), shape, classes), model.weights)


def _check_memory(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> None:
    if isinstance(model, ImportConfig):
        return  # the user's code is called once, as it is meant to be
    try:
        with torch.device("meta"):  # counts the weights without making them
            network = bare(model, shape, classes)
    except UserError:
        raise
    except (AssertionError, RuntimeError, TypeError, ValueError):
        # One that looks at the values of tensors as it is built, such as torchvision's RegNets, has none
        # here. What is really wrong with a network comes up again where it is built in earnest.
        return
    # Weights, their gradients and the optimizer's averages.
    need = 3 * sum(value.nbytes for value in network.state_dict().values())
    have = physical_memory()
    if have is not None and need > have:
        raise UserError(
            f"this network needs {need / 2**30:,.0f} GiB of memory to train, this machine has "
            f"{have / 2**30:,.0f}\n  choose a smaller one, such as model.width=64"
        )


def _made(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """As a training starts with it: built, and put in training mode."""
    try:
        with default_generators(0, "init"):
            network = build(model, shape, classes)
            network.train()
            return network
    except (AssertionError, RuntimeError, ValueError) as error:
        size = "x".join(map(str, shape))
        raise UserError(
            f"this network cannot be built for {size} images\n  {clean(error, 500)}"
        ) from error
