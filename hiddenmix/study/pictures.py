"""Pictures of the mixing, for the trackers: each says what its rows and columns are."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiddenmix import mixing, randomness
from hiddenmix.config import Config, images_of, layers, mode_words
from hiddenmix.data import Data, normalise
from hiddenmix.mixing import Draw
from hiddenmix.study.cells import is_plain

PICTURED = 8
"""Samples, and channels of a feature map, that are shown."""


@dataclass(frozen=True)
class Picture:
    """A picture, and what a reader has to know of it."""

    tag: str
    """`mixing/` and what the rows are: TensorBoard and Weights & Biases show it with the picture."""

    title: str
    """The setting: layer, mode and alpha."""

    description: str
    """Markdown; TensorBoard's Images dashboard shows it at the picture's "i"."""

    image: Tensor
    """Float [C, height, width] in [0, 1], on the CPU."""


Pictures = list[Picture]


def mixed_pictures(network: nn.Module, data: Data, config: Config) -> Pictures:
    """A few training images with their partners and mixtures and, where the setting mixes at a hidden
    layer that has feature maps, the mixed maps of the same samples.

    Draws from a stream of its own and leaves the network, its BatchNorm statistics included, as it was.
    """
    images = data.train.images[:PICTURED]
    count = len(images)
    pixels = images.float() / 255
    if is_plain(config):
        text = f"The first {count} training images, before augmentation. Nothing is mixed."
        title = "none (plain training)"
        return [Picture("mixing/images (none mixed)", title, text, image_grid(pixels, count))]
    generator = randomness.stream(config.seed, "picture")
    draw = mixing.draw(
        generator,
        count,
        mode=images_of(config.mode),
        alpha=config.alpha,
        lam=config.lam,
        operation=config.operation,
    ).to(images.device)
    layer = layers(config)[-1]
    pictures = [_images(pixels, draw, config)]
    if layer != "input":
        maps = feature_maps(network, layer, normalise(images, data.mean, data.std))
        if maps is not None and maps.dim() == 4:
            pictures.append(_maps(_mixed(maps, draw, images)[0], config))
    return pictures


def _mixed(maps: Tensor, draw: Draw, images: Tensor) -> tuple[Tensor, Tensor]:
    """`maps` of `images` mixed by the draw's operation, and the weights of their targets."""
    if draw.centres is None:
        return mixing.mix(maps, draw), draw.weights
    mixed, seen = mixing.cutmix(maps, draw, (images.shape[2], images.shape[3]))
    return mixed, seen.weights


def feature_maps(network: nn.Module, layer: str, inputs: Tensor) -> Tensor | None:
    """What the submodule `layer` makes of `inputs` [n, C, H, W] in evaluation mode: [n, ...], or None
    where the network makes no use of it."""
    found: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        # A copy, for the next module may write in place.
        lambda module, args, output: found.extend(
            each.clone() for each in mixing.mixable_tensors(output)
        )
    )
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        hook.remove()
        network.train(training)
    return found[0] if found else None


def _title(config: Config) -> str:
    operation = "" if config.operation == "mixup" else f"{config.operation}, "
    return (
        f"{'+'.join(layers(config))}, {operation}{mode_words(config.mode)}, alpha={config.alpha:g}"
    )


def _images(pixels: Tensor, draw: Draw, config: Config) -> Picture:
    """`pixels` [n, C, H, W], branch by branch, and their mixture."""
    branches, count = draw.index.shape
    mixed, shown = _mixed(pixels, draw, pixels)
    cut = draw.centres is not None
    rows = []
    for row, weights in enumerate(shown.tolist(), 1):
        what = "the original images" if row == 1 else "their partners"
        shares = ", ".join(f"{weight:.2f}" for weight in weights)
        rows.append(f"- Row {row}: {what}, {'area' if cut else 'weight'} {shares}")
    how = "boxes of the partners pasted in" if cut else "the weighted sum of the rows above"
    rows.append(f"- Row {branches + 1}: their mixture, {how}")
    layer = layers(config)[-1]
    if layer != "input":
        rows[-1] += f" (for comparison: the network mixes its feature maps at `{layer}` instead)"
    columns = f"- Columns: the first {count} training images, before augmentation"
    if config.lam == "sample":
        columns += ", each with weights of its own"
    partners = ["partner"] * (branches - 1) if branches < 5 else [f"{branches - 1} partners"]
    names = ["original", *partners, "mixture"]
    return Picture(
        tag=f"mixing/images (rows: {', '.join(names)})",
        title=_title(config),
        description="\n".join([_where(config), "", *rows, columns]),
        image=image_grid(torch.cat([*pixels[draw.index], mixed]), count),
    )


def _maps(maps: Tensor, config: Config) -> Picture:
    """The first channels of `maps` [n, C, H, W], each map from its least to its greatest value."""
    layer, shown = layers(config)[-1], min(PICTURED, maps.shape[1])
    channels = maps[:, :shown].transpose(0, 1).reshape(-1, 1, *maps.shape[2:])
    low, high = channels.amin((2, 3), keepdim=True), channels.amax((2, 3), keepdim=True)
    scaled = (channels - low) / (high - low).clamp_min(1e-6)
    return Picture(
        tag=f"mixing/mixed feature maps at {layer} (rows: channels)",
        title=_title(config),
        description=(
            f"{_where(config)} The mixed maps of the untrained network, as the layers above see them.\n\n"
            f"- Rows: the first {shown} of {maps.shape[1]} channels\n"
            "- Columns: the samples of the picture of the images, mixed with the same weights\n"
            "- Each map has a grey scale of its own: its least value is black, its greatest white"
        ),
        image=image_grid(scaled, len(maps)),
    )


def _where(config: Config) -> str:
    names = layers(config)
    mixing_at = f"Mixing at `{names[0]}`"
    if len(names) > 1:
        mixing_at = f"Mixing at one of `{', '.join(names)}`, drawn at each step, here `{names[-1]}`"
    return f"{mixing_at}; mode {config.mode}, alpha {config.alpha:g}, seed {config.seed}."


def image_grid(images: Tensor, columns: int) -> Tensor:
    """`images` [n, C, H, W] in [0, 1], row by row, as one picture [C, ...] with a line between them.

    Small images are magnified to at least 32 pixels a side, so that they can be looked at.
    """
    images = images.detach().float().cpu()
    factor = max(1, 32 // images.shape[-1])
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    images = torch.nn.functional.pad(images, (1, 1, 1, 1))
    _, channels, height, width = images.shape
    grid = images.reshape(-1, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, -1, columns * width)
