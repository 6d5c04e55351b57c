"""Which layers of a network can be mixed, and where mixing is image mixup in disguise."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiddenmix.config import ConfigError, ModelConfig, UserError
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators
from hiddenmix.system import physical_memory
from hiddenmix.terminal import clean


@dataclass(frozen=True)
class Layer:
    """A place where a network can be mixed."""

    name: str
    """Dotted submodule name, or `input`."""

    shape: tuple[int, ...]
    """Shape of its output without the batch dimension."""

    disguise: bool
    """Whether the map up to here is affine, so that mixing here is image mixup in disguise."""


def mixable_layers(network: nn.Module, shape: tuple[int, int, int]) -> list[Layer]:
    """The layers of `network` that run exactly once in a forward pass and return one batch tensor.

    One forward pass in evaluation mode, on three Gaussian images x, x' and 0.3 x + 0.7 x' of `shape`
    (C, H, W), both finds the layers and tests numerically whether h(sum w x) = sum w h(x) holds. The
    training mode comes back afterwards. Raises `UserError` where the network refuses the shape.
    """
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(2, *shape, generator=generator)
    images = torch.cat([pair, 0.3 * pair[:1] + 0.7 * pair[1:]])
    images = images.to(next(network.parameters()).device)
    found: dict[str, list[Layer | None]] = {}

    def listen(name: str) -> None:
        def hook(module: nn.Module, args: object, output: object) -> None:
            found.setdefault(name, []).append(_layer(name, output))

        handles.append(network.get_submodule(name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    training = network.training
    try:
        for name, _ in network.named_modules():
            if name:
                listen(name)
        network.eval()
        with torch.no_grad():
            network(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, shape))
        reason = str(error).splitlines()[0]
        raise UserError(f"the network does not accept {size} images\n  {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    order = [Layer("input", shape, False)]
    once = [results[0] for results in found.values() if len(results) == 1]
    return order + [layer for layer in once if layer is not None]


def _layer(name: str, output: object) -> Layer | None:
    if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != 3:
        return None
    first, second, mixed = output.double().unbind()
    distance = (0.3 * first + 0.7 * second - mixed).abs().max()
    # float32 rounding through a deep affine stack stays far below 1e-4 of the map's own range.
    scale = (first - second).abs().max()
    return Layer(name, tuple(output.shape[1:]), bool(distance <= 1e-4 * scale))


def check_layers(names: list[str], available: list[Layer]) -> list[Layer]:
    """The layers called `names`; raises `ConfigError` with the available names for any other."""
    by_name = {layer.name: layer for layer in available}
    for name in names:
        if name not in by_name:
            stages = [key for key in by_name if "." not in key] or list(by_name)
            if "." in name or name in {key.split(".")[0] for key in by_name}:
                stages = list(by_name)
            text = ", ".join(["none", *stages[:60]]) + ("\u2026" if len(stages) > 60 else "")
            if "." in name:
                text += " (what runs once in a pass and returns one map)"
            raise ConfigError("layer", name, text)
    return [by_name[name] for name in names]


_FOUND: dict[tuple[str, tuple[int, int, int], int], list[Layer]] = {}


def layers_of(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> list[Layer]:
    """`mixable_layers` of the network that `build` makes, looked for once in a process.

    Raises `UserError` where it cannot be built for images of `shape` (C, H, W), or needs more memory
    than this machine has.
    """
    key = repr(model), shape, classes
    if key not in _FOUND:
        _FOUND[key] = _find_layers(model, shape, classes)
    return _FOUND[key]


def _find_layers(model: ModelConfig, shape: tuple[int, int, int], classes: int) -> list[Layer]:
    try:
        with torch.device("meta"):  # counts the weights without making them
            network = build(model, shape, classes)
    except (AssertionError, RuntimeError, ValueError) as error:
        size = "x".join(map(str, shape))
        reason = clean(error, 500)
        raise UserError(f"this network cannot be built for {size} images\n  {reason}") from error
    # Weights, their gradients and the optimizer's averages.
    need = 3 * sum(value.nbytes for value in network.state_dict().values())
    have = physical_memory()
    if have is not None and need > have:
        raise UserError(
            f"this network needs {need / 2**30:,.0f} GiB of memory to train, this machine has "
            f"{have / 2**30:,.0f}\n  choose a smaller one, such as model.width=64"
        )
    with default_generators(0, "init"):
        network = build(model, shape, classes)
    return mixable_layers(network, shape)
