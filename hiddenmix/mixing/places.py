"""Where to mix: a layer by its name, also in wrapped networks, and the tensor among what it returns."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

_WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP1 and checkpoint wrappers call the module that they stand around."""


def unwrapped(network: nn.Module) -> nn.Module:
    """The network that torch.compile or a data-parallel wrapper stands around."""
    while (inner := _inside(network)) is not None:
        network = inner
    return network


def _inside(module: nn.Module) -> nn.Module | None:
    children = module._modules
    if len(children) != 1:
        return None
    [(name, inner)] = children.items()
    parallel = name == "module" and "Parallel" in type(module).__name__
    return inner if parallel or name in _WRAPPED else None


def submodule(network: nn.Module, name: str) -> nn.Module:
    """The submodule with the dotted `name` that it has in the original network.

    The `_orig_mod` and `module` of wrappers may stand in the name or not. Raises `ValueError`.
    """
    module: nn.Module = network
    for part in name.split("."):
        while part not in module._modules and (inner := _inside(module)) is not None:
            module = inner
        child = module._modules.get(part)
        if child is not None:
            module = child
        elif part not in ("module", *_WRAPPED):
            raise ValueError(
                f"hiddenmix: unknown layer {name!r}; expected input or one of {names(network)}"
            )
    if module is network:
        raise ValueError(f"hiddenmix: layer {name!r} is the whole network; choose one within it")
    return module


def names(network: nn.Module) -> list[str]:
    """The dotted names of all submodules, those of wrappers left out."""
    found: dict[str, None] = {}
    for name, _ in network.named_modules():
        module, parts = network, []
        for part in filter(None, name.split(".")):
            if _inside(module) is None:
                parts.append(part)
            module = module.get_submodule(part)
        if parts:
            found[".".join(parts)] = None
    return list(found)


def replace_tensor(content: Any, transform: Callable[[Tensor], Tensor], what: str) -> Any:
    """`content` (tuples, lists and mappings of anything) with its one floating-point tensor transformed.

    Containers are made anew. Raises `TypeError`, calling it `what`, where there is none or several, or
    where a container cannot be made of its parts.
    """
    if isinstance(content, Tensor):
        return transform(content)
    floating = mixable_tensors(content)
    if len(floating) != 1:
        found = _tensors(content)
        shapes = ", ".join(f"{list(each.shape)} of {each.dtype}" for each in found) or "no tensor"
        raise TypeError(
            f"hiddenmix: {what} is a {type(content).__name__} with {shapes}: not one floating-point "
            "tensor, so that what to mix is not clear; choose another layer"
        )
    return _replaced(content, floating[0], transform(floating[0]), what)


def mixable_tensors(content: Any) -> list[Tensor]:
    """The tensors that can be mixed, floating-point and complex ones, in what a network or a layer
    returns: a tensor, or tuples, lists and mappings of anything."""
    return [each for each in _tensors(content) if each.is_floating_point() or each.is_complex()]


def _tensors(content: Any) -> list[Tensor]:
    if isinstance(content, Tensor):
        return [content]
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, (tuple, list)):
        return [tensor for each in content for tensor in _tensors(each)]
    return []


def _replaced(content: Any, old: Tensor, new: Tensor, what: str) -> Any:
    if content is old:
        return new
    if isinstance(content, dict):
        made = copy.copy(content)
        for key, each in content.items():
            made[key] = _replaced(each, old, new, what)
        return made
    if isinstance(content, Mapping):
        items = {key: _replaced(each, old, new, what) for key, each in content.items()}
        try:
            return type(content)(items)  # type: ignore[call-arg]  # as most mappings are made
        except Exception as error:
            raise TypeError(
                f"hiddenmix: {what} is a {type(content).__name__}, which cannot be made anew with the "
                "mixed tensor; choose another layer"
            ) from error
    if isinstance(content, (tuple, list)):
        parts = [_replaced(each, old, new, what) for each in content]
        return content._make(parts) if hasattr(content, "_make") else type(content)(parts)
    return content
