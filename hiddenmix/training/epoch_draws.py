"""Everything random about training but initial weights and dropout, drawn for a whole epoch at once.

The draws of an epoch depend on the seed and the epoch's number alone, so a resumed epoch draws them
again; and they lie on the device before the first step, so that no step waits for the host.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiddenmix import mixing, randomness
from hiddenmix.config import Config, images_of, layers
from hiddenmix.data import AugmentationDraws, draw_augmentation

Part = slice | Tensor
"""Which columns of the draws: a slice, or int64 positions on the device."""


@dataclass(frozen=True)
class BatchDraws:
    """One batch's part of the draws. B images, K branches."""

    order: Tensor
    """Int64 [1 or K, B]: the images; K rows with independent partners."""

    augmentation: list[AugmentationDraws | None]
    """One for each row of `order`."""

    weights: Tensor | None
    """[K, 1] or, with `lam=sample`, [K, B]; None without mixing."""

    partners: Tensor | None
    """Int64 [K, B], positions within the batch; None without mixing or with independent partners."""

    centres: Tensor | None
    """[K, 3, 1] or, with `lam=sample`, [K, 3, B]: where CutMix's boxes lie; None without it."""


@dataclass(frozen=True)
class EpochDraws:
    """Everything random about one epoch but dropout, drawn before it starts. N images, K branches."""

    order: Tensor
    """Int64 [1 or K, N]: which image stands at each position; K rows with independent partners."""

    augmentation: list[AugmentationDraws | None]
    """One for each row of `order`."""

    weights: Tensor | None
    """[K, steps] or, with `lam=sample`, [K, N]; None without mixing."""

    partners: Tensor | None
    """Int64 [K, N], positions within the batch; None without mixing or with independent partners."""

    centres: Tensor | None
    """[K, 3, steps] or, with `lam=sample`, [K, 3, N]; None without CutMix."""

    layer: list[str]
    """The layer of each step."""

    sample: bool
    """Whether `weights` and `centres` have a column for each sample (`lam=sample`), not for each step."""

    def batch(self, step: Part, positions: Part) -> BatchDraws:
        """The part of one batch: its `step`, a single column, and its `positions` in the order.

        Slices give views. Positions on the device gather, so that a recorded step takes another
        batch whenever their contents change.
        """
        weights = partners = centres = None
        if self.weights is not None:
            weights = self.weights[:, positions if self.sample else step]
        if self.centres is not None:
            centres = self.centres[..., positions if self.sample else step]
        if self.partners is not None:
            partners = self.partners[:, positions]
        augmentation = [draws and draws[positions] for draws in self.augmentation]
        return BatchDraws(self.order[:, positions], augmentation, weights, partners, centres)

    def overwrite(self, draws: "EpochDraws") -> None:
        """Take over another epoch's `draws` in place: recorded steps read where these lie."""
        for mine, other in zip(self._tensors(), draws._tensors(), strict=True):
            mine.copy_(other)
        self.layer[:] = draws.layer

    def _tensors(self) -> list[Tensor]:
        rows = [draws for draws in self.augmentation if draws is not None]
        tensors = [self.order, *(each for row in rows for each in (row.flip, row.top, row.left))]
        mixing = (self.weights, self.partners, self.centres)
        return tensors + [each for each in mixing if each is not None]


def batch_bounds(images: int, batch_size: int) -> list[tuple[int, int]]:
    """First position of each batch of an epoch over `images` images, and the one after its last.

    A remainder of a single image joins the batch before it, because BatchNorm has no variance of one.
    """
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], images], strict=True))


def draw_epoch(config: Config, epoch: int, images: int, device: torch.device) -> EpochDraws:
    """The draws of `epoch` (from 0) for `images` training images, on `device`."""
    seed, names = config.seed, layers(config)
    bounds = batch_bounds(images, config.batch_size)
    mixes = names != ["none"]
    branches = images_of(config.mode)
    independent = mixes and config.partners == "independent"
    order, augmentation = [], []
    for row in range(branches if independent else 1):
        order.append(randomness.stream(seed, "order", epoch, row).permutation(images))
        generator = randomness.stream(seed, "augment", epoch, row)
        augmentation.append(draw_augmentation(config.dataset.augment, generator, images, device))
    weights = partners = centres = None
    chosen = [names[0]] * len(bounds)
    if mixes:
        generator = randomness.stream(seed, "mix", epoch)
        count = images if config.lam == "sample" else len(bounds)
        weights = mixing.draw_weights(generator, branches, config.alpha, count).to(device)
        if not independent:
            partners = _draw_partners(generator, branches, bounds).to(device)
        # Drawn last, so that a list of layers sees the weights and partners of a single layer.
        if len(names) > 1:
            chosen = [names[i] for i in generator.integers(len(names), size=len(bounds))]
        # From a stream of their own, so that CutMix sees the weights, partners and layers of mixup.
        if config.operation == "cutmix":
            generator = randomness.stream(seed, "mix", epoch, 1)
            centres = mixing.draw_centres(generator, branches, count).to(device)
    stacked = torch.from_numpy(np.stack(order)).to(device)
    sample = config.lam == "sample"
    return EpochDraws(stacked, augmentation, weights, partners, centres, chosen, sample)


def _draw_partners(
    generator: np.random.Generator, branches: int, bounds: list[tuple[int, int]]
) -> Tensor:
    """`mixing.draw_partners` for every batch of an epoch, side by side: int64 [K, N]."""
    *full, last = [stop - start for start, stop in bounds]
    parts = []
    if full:
        rows = np.tile(np.arange(full[0]), (branches, len(full), 1))
        generator.permuted(rows[1:], axis=2, out=rows[1:])
        parts.append(torch.from_numpy(rows.reshape(branches, -1)))
    parts.append(mixing.draw_partners(generator, branches, last))
    return torch.cat(parts, dim=1)
