"""Passes in which nothing is rounded to half precision, whatever the network's own code asks for."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class WholePrecision(TorchDispatchMode):
    """Within the block, what would be cast to half precision or made in it becomes float32: by
    torch.autocast, or in a network's own forward. Rounding would hide that a map is affine."""

    used = False
    """Whether there was any."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if is_half(given.get("dtype")):
            given = {**given, "dtype": torch.float32}
            self.used = True
        return func(*args, **given)


# Without what torch wraps it in: the first call of that imports torch's compiler, which takes 2.7 s.
WholePrecision.__torch_dispatch__ = unwrap(WholePrecision.__torch_dispatch__)  # type: ignore[method-assign]


def is_half(dtype: torch.dtype | None) -> bool:
    """Whether `dtype` is floating point of less than 32 bits."""
    return dtype is not None and dtype.is_floating_point and dtype.itemsize < 4
