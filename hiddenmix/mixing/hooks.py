"""The hook that mixes the maps of one layer, in training forward passes alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from hiddenmix.mixing.draws import Draw
from hiddenmix.mixing.operations import mix


class LayerMixing:
    """Hooks on layers of a network that mix the maps of the one armed layer, in training mode only.

    `input` names the network's input; any other name is a dotted submodule name. The hooks live
    within the `with` block: they are removed on exit, on error too. In evaluation mode, or when no
    layer is armed, the network behaves as if they were not there.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._network = network
        self._layers = list(layers)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._armed: str | None = None
        self._transform: Callable[[Tensor], Tensor] | None = None
        self._fired = 0

    def __enter__(self) -> "LayerMixing":
        try:
            for layer in self._layers:
                self._handles.append(self._register(layer))
        except AttributeError as error:
            self.__exit__(None, None, None)
            names = [name for name, _ in self._network.named_modules() if name]
            unknown = [layer for layer in self._layers if layer not in ("input", *names)]
            raise ValueError(
                f"unknown layer {unknown[0]!r}; expected input or one of {names}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._armed = None

    def _register(self, layer: str) -> torch.utils.hooks.RemovableHandle:
        if layer == "input":

            def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
                if self._armed != layer or not self._network.training:
                    return None
                if not args:
                    raise TypeError("mixing at the input needs the images as a positional argument")
                return (self._apply(args[0]), *args[1:])

            return self._network.register_forward_pre_hook(before)

        def after(module: nn.Module, args: object, output: Any) -> Tensor | None:
            if self._armed != layer or not self._network.training:
                return None
            return self._apply(output)

        return self._network.get_submodule(layer).register_forward_hook(after)

    def _apply(self, maps: Any) -> Tensor:
        if not isinstance(maps, Tensor):
            raise TypeError(f"layer {self._armed} returns {type(maps).__name__}, not one tensor")
        self._fired += 1
        if self._fired > 1:
            raise RuntimeError(
                f"layer {self._armed} ran more than once in a forward pass; mix at a layer that "
                "runs once (python -m hiddenmix.layers lists them)"
            )
        assert self._transform is not None
        return self._transform(maps)

    def arm(self, layer: str, transform: Callable[[Tensor], Tensor]) -> None:
        """Let the next training forward pass send the maps at `layer` through `transform`."""
        if layer not in self._layers:
            raise ValueError(f"layer {layer} is not hooked; hooked are {self._layers}")
        self._armed, self._transform, self._fired = layer, transform, 0

    def disarm(self) -> None:
        """End the pass; raises `RuntimeError` if the layer did not run exactly once in it."""
        layer, fired = self._armed, self._fired
        self._armed, self._transform = None, None
        if self._network.training and fired != 1:
            raise RuntimeError(f"layer {layer} ran {fired} times in the forward pass, not once")


@contextmanager
def mixing_at(network: nn.Module, layer: str, draw: Draw) -> Iterator[None]:
    """Within the block, one training forward pass of `network` mixes its maps at `layer`.

    For one's own training loop, without touching the network's code. Raises `ValueError` for an
    unknown layer or another batch size, `TypeError` for a layer that returns no tensor, `RuntimeError`
    where the layer did not run exactly once.
    """
    with LayerMixing(network, [layer]) as hooks:
        hooks.arm(layer, lambda maps: mix(maps, draw))
        yield
        hooks.disarm()


class _ReachedLayer(Exception):  # noqa: N818  # a signal, not an error
    """Ends a branch's forward pass at the layer."""


def branch_maps(network: nn.Module, hooks: LayerMixing, layer: str, images: Tensor) -> Tensor:
    """The maps of one literal branch: `network` run on `images` up to `layer` and no further.

    `hooks` must hook `layer`. In training mode, so that BatchNorm takes this branch's statistics.
    """
    reached: list[Tensor] = []

    def stop(maps: Tensor) -> Tensor:
        reached.append(maps)
        raise _ReachedLayer

    hooks.arm(layer, stop)
    with suppress(_ReachedLayer):
        network(images)
    hooks.disarm()
    return reached[0]
