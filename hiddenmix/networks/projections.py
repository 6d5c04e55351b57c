"""1x1 convolutions with a stride, where oneDNN's gradient of them is wrong."""

from torch import Tensor, nn

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


class _Picking:
    """A pre-hook, of a class of its own so that networks can be copied and pickled."""

    def __init__(self, down: int, right: int) -> None:
        self._down, self._right = down, right

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0][..., :: self._down, :: self._right], *args[1:])
