"""The data as tensors: splits of uint8 images with labels, and what is known beforehand."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiddenmix.config import UserError
from hiddenmix.system import physical_memory


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Images":
        return Images(self.images.to(device), self.labels.to(device))

    def take(self, index: NDArray[np.int64]) -> "Images":
        chosen = torch.from_numpy(index)
        return Images(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Leaks:
    """Images whose pixels stand twice where a test set must be new. Counts of images."""

    test_in_train: int
    """Test images that stand in the training set too."""

    test_twice: int
    """Test images that repeat an earlier test image."""

    two_labels: int
    """Test images of which an equal image, in either set, has another label."""

    test: int
    """Test images that any of these holds for."""

    dropped: int = 0
    """Training images left out for them (`dataset.leaks=drop`)."""

    def as_dict(self) -> dict[str, int]:
        """As in `result.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Whole:
    """A data set as it is read, before `validation` and `train_size`, on the CPU."""

    train: Images
    test: Images
    classes: list[str]
    digest: str
    """Of the content; see `content.py`. Taken before leaking training images are dropped."""

    leaks: Leaks

    skipped: str = ""
    """Which files were no images, in words; empty where there were none."""

    remarks: tuple[str, ...] = ()
    """What a person should know of how the files were read: what was held out, what converted."""


@dataclass(frozen=True)
class Data:
    """A data set as it is trained on; `mean` and `std` are float32 [C], of `train`, for [0, 1]."""

    train: Images
    test: Images
    validation: Images | None
    classes: list[str]
    mean: Tensor
    std: Tensor
    digest: str
    leaks: Leaks

    def to(self, device: torch.device | str) -> "Data":
        return Data(
            train=self.train.to(device),
            test=self.test.to(device),
            validation=self.validation.to(device) if self.validation is not None else None,
            classes=self.classes,
            mean=self.mean.to(device),
            std=self.std.to(device),
            digest=self.digest,
            leaks=self.leaks,
        )


def check_memory(count: int, shape: tuple[int, int, int]) -> None:
    """Raise `UserError` where `count` images of `shape` are larger than this machine's memory."""
    need = count * shape[0] * shape[1] * shape[2]
    have = physical_memory()
    if have is not None and need > have:
        raise UserError(
            f"{count:,} images of {shape[2]}x{shape[1]} pixels need {need / 2**30:.0f} GiB "
            f"of {have / 2**30:.0f}\n  make them smaller; dataset.resize=<side> does so with image_folder"
        )
