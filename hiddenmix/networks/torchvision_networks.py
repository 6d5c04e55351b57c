"""`model=torchvision`: any classification network of torchvision, fitted to small images."""

import difflib

from torch import nn

from hiddenmix.config import ConfigError, ModelConfig, TorchvisionConfig, UserError


def torchvision_network(
    config: TorchvisionConfig, shape: tuple[int, int, int], classes: int
) -> nn.Module:
    from torchvision import models

    names = models.list_models(module=models)
    if config.arch not in names:
        near = difflib.get_close_matches(config.arch, names, n=5, cutoff=0.3) or names[:5]
        raise ConfigError("model.arch", config.arch, ", ".join(near) + f" (of {len(names)})")
    channels, height, width = shape
    options: dict[str, object] = {"weights": None, "num_classes": classes}
    if config.arch in ("googlenet", "inception_v3"):
        # Auxiliary heads would make the training output a tuple.
        options |= {"aux_logits": False, "init_weights": True}
    if config.arch.startswith("vit_"):
        options["image_size"] = height
    try:
        network: nn.Module = models.get_model(config.arch, **options)
    except ValueError as error:
        raise UserError(
            f"model.arch={config.arch} does not accept {height}x{width} images: {error}"
        ) from error
    if isinstance(network, models.ResNet) and has_small_stem(config, shape):
        stem = network.conv1
        network.conv1 = nn.Conv2d(stem.in_channels, stem.out_channels, 3, 1, 1, bias=False)
        network.maxpool = nn.Identity()
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


_SMALL = 64
"""Height and width in pixels up to which a residual network gets the stem for small images."""


def has_small_stem(config: TorchvisionConfig, shape: tuple[int, int, int]) -> bool:
    """`model.small_stem`, or where it is null what the size of the images makes of it; true where the
    network has no choice."""
    if config.small_stem is not None:
        return config.small_stem
    return max(shape[1:]) <= _SMALL or not _is_residual(config)


def _is_residual(config: TorchvisionConfig) -> bool:
    return config.arch.startswith(("resnet", "resnext", "wide_resnet"))


def stem_text(config: ModelConfig, shape: tuple[int, int, int]) -> str | None:
    """Which stem a residual network has for images of `shape` (C, H, W), in words; None for one that has
    no choice."""
    if not isinstance(config, TorchvisionConfig) or not _is_residual(config):
        return None
    small = has_small_stem(config, shape)
    stem = "3x3 without pooling, for small images" if small else "7x7 with pooling, as published"
    return (
        f"{config.arch}, {shape[1]}x{shape[2]} images: its stem is {stem} "
        f"(model.small_stem={'false' if small else 'true'} for the other)"
    )


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            first = nn.Conv2d(
                channels,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]  # stored as tuple[int, ...]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, first)
            return
