"""The data as tensors: splits of uint8 images with labels, and what is known beforehand."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Description:
    """A data set before its images are read. Of torchvision's sets: the nominal numbers."""

    shape: tuple[int, int, int]
    """Channels, height, width."""

    classes: int

    train_size: int
    """Training images once `validation` and `train_size` are applied."""


@dataclass(frozen=True)
class Images:
    """One split: uint8 images [N, C, H, W], contiguous, and int64 labels [N]."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Images":
        return Images(self.images.to(device), self.labels.to(device))

    def take(self, index: NDArray[np.int64]) -> "Images":
        chosen = torch.from_numpy(index)
        return Images(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Data:
    """A data set as it is trained on; `mean` and `std` are float32 [C], of `train`, for [0, 1]."""

    train: Images
    test: Images
    validation: Images | None
    classes: list[str]
    mean: Tensor
    std: Tensor

    def to(self, device: torch.device | str) -> "Data":
        return Data(
            train=self.train.to(device),
            test=self.test.to(device),
            validation=self.validation.to(device) if self.validation is not None else None,
            classes=self.classes,
            mean=self.mean.to(device),
            std=self.std.to(device),
        )
