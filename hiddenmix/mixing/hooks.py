"""The hook that mixes the maps of one layer, in training forward passes alone."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from hiddenmix.mixing.batch_dimension import ReachedLayer, check_batch_first, doubtful
from hiddenmix.mixing.boxes import cutmix, size_of
from hiddenmix.mixing.draws import Draw
from hiddenmix.mixing.operations import check_maps, mix
from hiddenmix.mixing.places import mixable_tensors, replace_tensor, submodule, unwrapped
from hiddenmix.mixing.recomputation import backward_pass, checkpoints_around

Transform = Callable[[Tensor], Tensor]


class LayerMixing:
    """Hooks on layers of a network that mix the maps of the one armed layer, in training mode only.

    `input` names the network's input; any other name is a dotted submodule name, the same whether the
    network is wrapped (torch.compile, data-parallel) or not. The hooks live within the `with` block:
    they are removed on exit, on error too. In evaluation mode, or when no layer is armed, the network
    behaves as if they were not there; copies and pickles of it have none.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._network = unwrapped(network)
        self._layers = list(layers)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._armed: str | None = None
        self._transform: Transform | None = None
        self._fired = 0
        self._backward = -1
        self._checkpoints = 0
        self._checkpointed = self._recomputed = False

    def __enter__(self) -> "LayerMixing":
        _let_compiled_networks_see_hooks()
        try:
            for layer in self._layers:
                self._handles.append(self._register(layer))
        except ValueError:
            self.__exit__(None, None, None)
            raise
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
            return self._network.register_forward_pre_hook(_Before(self), with_kwargs=True)
        return submodule(self._network, layer).register_forward_hook(_Behind(self, layer))

    def applies(self, layer: str) -> bool:
        """Whether a pass that goes on just now is to be mixed at `layer`."""
        return self._armed == layer and self._network.training

    def apply(self, maps: Tensor) -> Tensor:
        """The maps of the armed layer, mixed."""
        assert self._transform is not None
        if not torch.compiler.is_compiling():  # a compiled checkpoint repeats the mixing
            if backward_pass() != self._backward:
                self._recomputed = True
                return self._transform(maps)
            self._checkpointed = checkpoints_around() > self._checkpoints
        self._fired += 1
        if self._fired > 1:
            raise RuntimeError(
                f"hiddenmix: layer {self._armed} ran more than once; a block is for one forward pass, "
                "at a layer that runs once in it (python -m hiddenmix.layers lists them)"
            )
        return self._transform(maps)

    def arm(self, layer: str, transform: Transform) -> None:
        """Let the next training forward pass send the maps at `layer` through `transform`."""
        if layer not in self._layers:
            raise ValueError(f"layer {layer} is not hooked; hooked are {self._layers}")
        self._armed, self._transform, self._fired = layer, transform, 0
        self._backward, self._checkpoints = backward_pass(), checkpoints_around()
        self._checkpointed = self._recomputed = False

    def disarm(self) -> None:
        """End the pass; raises `RuntimeError` if the layer did not run exactly once in it."""
        layer, fired = self._armed, self._fired
        self._armed, self._transform = None, None
        if self._network.training and fired != 1:
            raise RuntimeError(
                f"hiddenmix: layer {layer} ran {fired} times in the forward pass, not once"
            )
        if self._checkpointed and not self._recomputed and torch.is_grad_enabled():
            raise RuntimeError(
                f"hiddenmix: layer {layer} lies within an activation checkpoint, so that the backward "
                "pass runs it again: call backward() inside the block, or mix at another layer"
            )


class _Hook:
    """A hook of which copies and pickles of the network hold one that does nothing."""

    def __init__(self, mixing: LayerMixing) -> None:
        self._mixing = mixing

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")


class _Before(_Hook):
    """Mixes what the network is given: its first argument, or else its keywords' only such tensor."""

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self._mixing.applies("input"):
            return None
        apply = self._mixing.apply
        if args:
            return (replace_tensor(args[0], apply, "the network's input"), *args[1:]), kwargs
        return args, replace_tensor(kwargs, apply, "the network's input")


class _Arguments(_Hook):
    """Keeps what the network is given until the block ends."""

    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.arguments = args, kwargs

    def size(self) -> tuple[int, int] | None:
        """Height and width of the images, if the network is given images."""
        args, kwargs = self.arguments or ((), {})
        tensors = mixable_tensors(args[0] if args else kwargs)
        return size_of(tensors[0]) if len(tensors) == 1 else None


class _Behind(_Hook):
    """Mixes what a layer returns."""

    def __init__(self, mixing: LayerMixing, layer: str) -> None:
        super().__init__(mixing)
        self._layer = layer

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self._mixing.applies(self._layer):
            return None
        return replace_tensor(output, self._mixing.apply, f"what layer {self._layer} returns")


def _let_compiled_networks_see_hooks() -> None:
    """Have torch.compile guard on hooks: by default it runs what it compiled without them.

    What was compiled without such guards is dropped, once in a process.
    """
    dynamo = sys.modules.get("torch._dynamo")  # nothing is compiled where it is not loaded
    if dynamo is not None and dynamo.config.skip_nnmodule_hook_guards:
        dynamo.config.skip_nnmodule_hook_guards = False
        torch.compiler.reset()


@contextmanager
def mixing_at(network: nn.Module, layer: str, draw: Draw) -> Iterator[None]:
    """Within the block, one training forward pass of `network` mixes its maps at `layer`.

    For one's own training loop, without touching the network's code; `input` mixes the images, given
    as the first argument or by keyword. Where the layer lies in an activation checkpoint, the backward
    pass belongs into the block. Raises `ValueError` for an unknown layer, another batch size or device,
    `TypeError` where the layer returns whole numbers, or not one floating-point tensor, `RuntimeError`
    where it did not run exactly once.
    """
    if not isinstance(layer, str):
        raise TypeError(
            f"hiddenmix: layer={layer!r} is not one name; draw(..., layers=[...]).layer draws one"
        )
    what = "the network's input" if layer == "input" else f"what layer {layer} returns"
    draw.passed.unmixed, draw.passed.areas = True, None
    doubt: list[tuple[int, ...]] = []

    def transform(maps: Tensor) -> Tensor:
        check_maps(maps, draw, what)
        if doubtful(maps):
            doubt.append(tuple(maps.shape))
        draw.passed.unmixed = False
        if draw.centres is None:
            return mix(maps, draw)
        mixed, pasted = cutmix(maps, draw, None if layer == "input" else given.size())
        draw.passed.areas = pasted.weights
        return mixed

    with LayerMixing(network, [layer]) as hooks:
        inner = unwrapped(network)
        given = _Arguments(hooks)
        handle = inner.register_forward_pre_hook(given, with_kwargs=True, prepend=True)
        try:
            hooks.arm(layer, transform)
            yield
            hooks.disarm()
        finally:
            handle.remove()
    if doubt and given.arguments is not None and layer != "input":
        check_batch_first(inner, submodule(inner, layer), layer, doubt[0], given.arguments)


def branch_maps(network: nn.Module, hooks: LayerMixing, layer: str, images: Tensor) -> Tensor:
    """The maps of one literal branch: `network` run on `images` up to `layer` and no further.

    `hooks` must hook `layer`. In training mode, so that BatchNorm takes this branch's statistics.
    """
    reached: list[Tensor] = []

    def stop(maps: Tensor) -> Tensor:
        reached.append(maps)
        raise ReachedLayer

    hooks.arm(layer, stop)
    with suppress(ReachedLayer):
        network(images)
    hooks.disarm()
    return reached[0]
