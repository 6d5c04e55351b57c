"""`model=timm`: any classification network of timm."""

import difflib
from typing import Any

from torch import nn

from hiddenmix.config import ConfigError, TimmConfig, UserError
from hiddenmix.system import install_extra
from hiddenmix.terminal import clean


def timm_network(config: TimmConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Raises `ConfigError` for an unknown name and `UserError` where timm is not there, or refuses."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f"model=timm needs timm\n  {install_extra('timm')}") from error
    names = timm.list_models()
    if config.arch not in names:
        near = difflib.get_close_matches(config.arch, names, n=5, cutoff=0.3) or names[:5]
        raise ConfigError("model.arch", config.arch, ", ".join(near) + f" (of {len(names)})")
    channels, height, width = shape
    size = height if height == width else (height, width)
    arguments: dict[str, Any] = {"num_classes": classes, "in_chans": channels, "img_size": size}
    arguments |= config.arguments or {}
    try:
        try:
            network: nn.Module = timm.create_model(config.arch, pretrained=False, **arguments)
        except TypeError as error:
            if "img_size" not in str(error) or "img_size" in (config.arguments or {}):
                raise
            # A network that takes any size.
            del arguments["img_size"]
            network = timm.create_model(config.arch, pretrained=False, **arguments)
    except (AssertionError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"model.arch={config.arch} cannot be built for {height}x{width} images\n"
            f"  {clean(error, 400) or type(error).__name__}; see model.arguments"
        ) from error
    return network
