"""1x1 convolutions with a stride, where oneDNN's gradient of them is wrong."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_WIDEST_BLOCK = 16
"""Channels that oneDNN's 1x1 convolutions take at once: 8 with AVX2, 16 with AVX-512."""


def mend_projections(network: nn.Module) -> None:
    """Let the narrow strided 1x1 convolutions of `network` pick their pixels first: the same numbers.

    For channels_last maps of fewer channels than a block, oneDNN's weight gradient of a strided 1x1
    convolution writes past its workspace: a crash, a hang or wrong numbers
    (github.com/uxlfoundation/oneDNN/issues/6035, open in torch 2.14).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _is_exposed(module):
            down, right = module.stride
            module.stride = (1, 1)
            module.register_forward_pre_hook(_Picking(down, right))


def _is_exposed(module: nn.Conv2d) -> bool:
    # One that pads takes other pixels; none that is known does.
    plain = module.padding in ((0, 0), "valid") and module.kernel_size == (1, 1)
    return plain and module.stride != (1, 1) and module.in_channels // module.groups < _WIDEST_BLOCK


class Watch(TorchDispatchMode):
    """Within the block, notes narrow strided 1x1 convolutions that `mend_projections` could not reach:
    those that a network computes with functions of its own, from weights that it holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.exposed: set[int] = set()
        """Their channels."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            weight, stride, padding, transposed = args[1], args[3], args[4], args[6]
            strided = list(weight.shape[2:]) == [1, 1] and max(stride) > 1
            if strided and not max(padding) and not transposed and weight.shape[1] < _WIDEST_BLOCK:
                self.exposed.add(weight.shape[1])
        return func(*args, **(kwargs or {}))


# Without what torch wraps it in: the first call of that imports torch's compiler, which takes 2.7 s.
Watch.__torch_dispatch__ = unwrap(Watch.__torch_dispatch__)  # type: ignore[method-assign]


class _Picking:
    """A pre-hook, of a class of its own so that networks can be copied and pickled."""

    def __init__(self, down: int, right: int) -> None:
        self._down, self._right = down, right

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][..., :: self._down, :: self._right], *args[1:])
