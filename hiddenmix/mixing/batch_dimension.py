"""Whether the first dimension of a layer's maps is the batch, where their shape cannot tell.

Transformers and recurrent networks may put the steps of a sequence first, [L, B, E]: with as many steps
as samples, the steps would be mixed unnoticed.
"""

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

_KNOWN: WeakKeyDictionary[nn.Module, set[tuple[int, ...]]] = WeakKeyDictionary()
"""Of each layer's module, the shapes of maps in which the batch is known to come first."""


class ReachedLayer(Exception):  # noqa: N818  # a signal, not an error
    """Ends the pass at the layer."""


def doubtful(maps: Tensor) -> bool:
    """Whether the batch may be the second dimension of `maps` as well as the first."""
    return maps.dim() in (3, 5) and maps.shape[0] == maps.shape[1]


def check_batch_first(
    network: nn.Module,
    module: nn.Module,
    name: str,
    shape: tuple[int, ...],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
) -> None:
    """Raise `ValueError` where the first dimension of `module`'s maps of `shape` is not the batch.

    A pass without numbers (on torch's meta device) that was given one sample more than `arguments` says;
    where a network cannot run so, nothing is known and nothing raised.
    """
    if shape in _KNOWN.setdefault(module, set()):
        return
    if _first_dimension(network, module, shape[0], arguments) == shape[0]:
        raise ValueError(
            f"hiddenmix: what layer {name} returns is {list(shape)}, and its first dimension is not the "
            "batch: choose another layer"
        )
    _KNOWN[module].add(shape)


def _first_dimension(
    network: nn.Module,
    module: nn.Module,
    batch: int,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
) -> int | None:
    """The first dimension of the maps for a batch of one more, None where that is not to be had."""
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    if any(type(value) not in (nn.Parameter, Tensor) for value in state.values()):
        return None  # sharded: its hooks would talk to other processes
    reached: list[int] = []

    def one_more(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        more = bool(value.dim()) and len(value) == batch
        shape = (batch + 1, *value.shape[1:]) if more else value.shape
        return torch.empty(shape, dtype=value.dtype, device="meta")

    def stop(module: nn.Module, args: object, output: Any) -> None:
        tensors: list[Tensor] = []
        tree_map(lambda value: tensors.append(value) if isinstance(value, Tensor) else None, output)
        reached.extend(len(each) for each in tensors if each.is_floating_point())
        raise ReachedLayer

    handle = module.register_forward_hook(stop, prepend=True)
    meta = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    args, kwargs = tree_map(one_more, arguments)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.func.functional_call(network, meta, args, kwargs)
    except Exception:  # noqa: S110  # whatever a network does with tensors that hold no numbers
        pass
    finally:
        handle.remove()
    return reached[0] if reached else None
