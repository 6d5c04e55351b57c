"""CutMix: boxes of the partners' maps are pasted (Yun et al. 2019), at any layer's own resolution."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hiddenmix.mixing.draws import Draw
from hiddenmix.mixing.operations import check_maps


def cutmix(maps: Tensor, draw: Draw) -> tuple[Tensor, Draw]:
    """`maps` [B, ...] with a box of each partner's pasted in, and the draw that the targets need.

    `draw` is one of `operation="cutmix"`. Branch 0 is the ground; branches 1 to K - 1 are pasted one
    over the other, each a box of share w_b of all positions, its sides in their proportion, around a
    centre that is uniform over them; what lies outside is cut off. Positions are the rows and columns
    of [B, C, H, W] (of [B, H, W, C] where the first two of the three are equal and differ from the last),
    the volume of [B, C, D, H, W], the tokens of [B, T, C], the units of [B, C]; of one-dimensional
    convolutions, [B, C, L], the channels. The weights returned are
    the areas that are seen, [K, 1] or [K, B]: those of K = 2 are (1 - box, box) as in the paper.

    Raises as `mix` does, and `ValueError` for a draw of mixup or maps of other dimensions.
    """
    if draw.centres is None:
        raise ValueError("hiddenmix: `cutmix` needs a draw of operation='cutmix', not one of mixup")
    check_maps(maps, draw)
    mixed, areas = cut_branches(
        [maps.index_select(0, row) for row in draw.index], draw.weights, draw.centres
    )
    return mixed, Draw.unchecked(areas, draw.index, layer=draw.layer)


def cut_branches(
    branches: Sequence[Tensor], weights: Tensor, centres: Tensor
) -> tuple[Tensor, Tensor]:
    """CutMix of K literal branches [B, ...], and the areas seen of each, float32 [K, 1] or [K, B].

    `weights` [K, 1] or [K, B] are the boxes' shares, `centres` [K, 3, 1] or [K, 3, B] where they lie.
    """
    axes = _position_axes(branches[0].shape)
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


def _position_axes(shape: torch.Size) -> range:
    match len(shape):
        case 2 | 3:
            return range(1, 2)
        case 4:
            last = shape[1] == shape[2] != shape[3]  # as in Swin transformers
            return range(1, 3) if last else range(2, 4)
        case 5:
            return range(2, 5)
        case _:
            raise ValueError(
                f"hiddenmix: cutmix takes maps of 2 to 5 dimensions, not {list(shape)}"
            )
