"""CutMix: boxes of the partners' maps are pasted (Yun et al. 2019), at any layer's own resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hiddenmix.mixing.draws import Draw
from hiddenmix.mixing.operations import check_maps

_ALIKE = 1.1
"""Factor within which two proportions are the same: convolutions without padding change them a little."""


def cutmix(maps: Tensor, draw: Draw, image: tuple[int, int] | None = None) -> tuple[Tensor, Draw]:
    """`maps` [B, ...] with a box of each partner's pasted in, and the draw that the targets need.

    `draw` is one of `operation="cutmix"`. Branch 0 is the ground; branches 1 to K - 1 are pasted one
    over the other, each a box of share w_b of all positions, its sides in their proportion, around a
    centre that is uniform over them; what lies outside is cut off. Positions are the rows and columns
    of [B, C, H, W] (of [B, H, W, C] where the first two of the three are equal and differ from the last),
    the volume of [B, C, D, H, W], the tokens of [B, T, C], the units of [B, C]; of one-dimensional
    convolutions, [B, C, L], the channels. `image`, height and width of the images, tells rows and
    columns from channels where they are oblong: the two that have its proportions. The weights returned
    are the areas that are seen, [K, 1] or [K, B]: those of K = 2 are (1 - box, box) as in the paper.

    Raises as `mix` does, and `ValueError` for a draw of mixup, maps of other dimensions, or maps whose
    channels may come first or last as far as `image` tells.
    """
    if draw.centres is None:
        raise ValueError("hiddenmix: `cutmix` needs a draw of operation='cutmix', not one of mixup")
    check_maps(maps, draw)
    mixed, areas = cut_branches(
        [maps.index_select(0, row) for row in draw.index],
        draw.weights,
        draw.centres,
        position_axes(maps, image),
    )
    return mixed, Draw.unchecked(areas, draw.index, layer=draw.layer)


def cut_branches(
    branches: Sequence[Tensor], weights: Tensor, centres: Tensor, axes: range
) -> tuple[Tensor, Tensor]:
    """CutMix of K literal branches [B, ...], and the areas seen of each, float32 [K, 1] or [K, B].

    `weights` [K, 1] or [K, B] are the boxes' shares, `centres` [K, 3, 1] or [K, 3, B] where they lie,
    `axes` the positions' (`position_axes`).
    """
    sizes = [branches[0].shape[axis] for axis in axes]
    ground = branches[0]
    owner = torch.zeros((), dtype=torch.int64, device=ground.device)
    mixed = ground
    for number, maps in enumerate(branches[1:], start=1):
        box = _box(weights[number], centres[number, -len(axes) :], sizes)
        owner = torch.where(box, number, owner)
        shape = [1] * ground.dim()
        shape[0] = len(box)
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
        mixed = torch.where(box.reshape(shape), maps, mixed)
    seen = owner.flatten(1)
    areas = [(seen == number).float().mean(dim=1) for number in range(len(branches))]
    return mixed, torch.stack(areas)


def _box(shares: Tensor, centre: Tensor, sizes: Sequence[int]) -> Tensor:
    """Which positions lie within the box, bool [B or 1, *sizes]; `shares` [B or 1], `centre` [D, B or 1].

    A position belongs to it where its middle does, so that nothing has to be rounded.
    """
    half = shares.float() ** (1 / len(sizes)) / 2
    inside = torch.ones((), dtype=torch.bool, device=shares.device)
    for axis, size in enumerate(sizes):
        middles = (torch.arange(size, device=shares.device) + 0.5) / size
        within = (middles - centre[axis].unsqueeze(1)).abs() < half.unsqueeze(1)
        shape = [len(within), *[1] * len(sizes)]
        shape[axis + 1] = size
        inside = inside & within.reshape(shape)
    return inside


def position_axes(maps: Tensor, image: tuple[int, int] | None = None) -> range:
    """Those of the positions in `maps` [B, ...], made of images of the size `image`: see `cutmix`."""
    match maps.dim():
        case 2 | 3:
            return range(1, 2)
        case 4:
            return range(1, 3) if _channels_last(maps, image) else range(2, 4)
        case 5:
            return range(2, 5)
        case _:
            raise ValueError(
                f"hiddenmix: cutmix takes maps of 2 to 5 dimensions, not {list(maps.shape)}"
            )


def _channels_last(maps: Tensor, image: tuple[int, int] | None) -> bool:
    """Whether `maps` are [B, H, W, C], as in Swin transformers."""
    _, first, second, third = maps.shape
    if image is None or image[0] == image[1]:
        return first == second != third
    # Such strides are those of [B, C, H, W] that a convolution wrote in channels_last layout.
    if (first > 1 and maps.stride(1) == 1) or not _alike(first, second, image):
        return False
    if not _alike(second, third, image):
        return True
    if (second, third) != tuple(image):
        raise ValueError(
            f"hiddenmix: maps {list(maps.shape)} of images of {image[0]}x{image[1]} may have their "
            "channels first or last, so that where CutMix's boxes lie is not clear; choose another layer"
        )
    return False


def _alike(height: int, width: int, image: tuple[int, int]) -> bool:
    """Whether rows and columns have the image's proportions, or would have but for rounding."""
    down, right = height / image[0], width / image[1]
    return 1 / _ALIKE < down / right < _ALIKE or abs(down - right) < 1 / image[0] + 1 / image[1]


def size_of(images: Tensor) -> tuple[int, int] | None:
    """Height and width of the images that a network is given, if they are images."""
    if images.dim() != 4:
        return None
    height, width = (images.shape[axis] for axis in position_axes(images))
    return height, width
