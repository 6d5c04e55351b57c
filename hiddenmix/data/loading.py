"""Data sets as uint8 tensors, with fixed stratified splits; `describe` tells the shape beforehand.

Sources: scikit-learn's bundled digits; torchvision's own loaders, which check the MD5 sums of what
they unpickle; and folders of images (`image_folder.py`, cached by `image_cache.py`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiddenmix import image_cache, image_folder
from hiddenmix.config import ConfigError, DatasetConfig, UserError, show
from hiddenmix.randomness import stream

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


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


@dataclass(frozen=True)
class _Named:
    """What is known of a named data set, and which files belong where below its root."""

    shape: tuple[int, int, int]
    classes: int
    train_size: int
    loader: str = ""
    files: str = ""
    folder: str = ""


_IDX = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and both t10k-*-ubyte.gz"
_NAMED = {
    "digits": _Named((1, 8, 8), 10, 1_437),
    "mnist": _Named((1, 28, 28), 10, 60_000, "MNIST", _IDX, "MNIST/raw"),
    "fashion_mnist": _Named((1, 28, 28), 10, 60_000, "FashionMNIST", _IDX, "FashionMNIST/raw"),
    "kmnist": _Named((1, 28, 28), 10, 60_000, "KMNIST", _IDX, "KMNIST/raw"),
    "cifar10": _Named((3, 32, 32), 10, 50_000, "CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": _Named((3, 32, 32), 100, 50_000, "CIFAR100", "cifar-100-python.tar.gz"),
    "svhn": _Named((3, 32, 32), 10, 73_257, "SVHN", "train_32x32.mat and test_32x32.mat"),
}


def describe(config: DatasetConfig) -> Description:
    """What `load` will give, without decoding or downloading anything and without writing.

    An image folder is scanned: layout, classes, empty files, the first header. Raises `UserError`
    for a wrong folder and `ConfigError` for a `validation` or `train_size` that does not fit.
    """
    if config.name == "image_folder":
        found = image_folder.scan(config.root)
        shape = image_cache.shape(found, config.resize)
        _check_memory(len(found.names), shape)
        classes, available = len(found.classes), found.train_size
    else:
        named = _NAMED[config.name]
        shape, classes, available = named.shape, named.classes, named.train_size
    return Description(shape, classes, _sizes(config, available, classes)[1])


def load(config: DatasetConfig, progress: Progress | None = None) -> Data:
    """Read, decode or download a data set and split it. Needs the memory of its uint8 pixels.

    Raises `UserError` for data that is missing or damaged, `ConfigError` for a split that does not
    fit. `validation` and `train_size` depend on `split_seed` alone; the hold-out is drawn first, so
    every `train_size` has the same one, and a larger `train_size` contains a smaller one's images
    but for rounding.
    """
    if config.name == "digits":
        train, test, classes = _digits()
    elif config.name == "image_folder":
        train, test, classes = _image_folder(config, progress)
    else:
        train, test, classes = _torchvision(config, progress)
    train, validation = _split(config, train, len(classes))
    mean, std = _statistics(train.images)
    return Data(train, test, validation, classes, mean, std)


def _digits() -> tuple[Images, Images, list[str]]:
    """scikit-learn's 1,797 digits, 0..16 scaled to 0..255, split once and for all."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train_size = _NAMED["digits"].train_size
    train, test = train_test_split(
        np.arange(len(labels)), train_size=train_size, stratify=labels, random_state=0
    )
    whole = Images(torch.from_numpy(pixels), torch.from_numpy(labels))
    return whole.take(train), whole.take(test), [str(name) for name in digits.target_names]


def _image_folder(
    config: DatasetConfig, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    found = image_folder.scan(config.root)
    images = torch.from_numpy(image_cache.load(found, config.resize, progress))
    labels = torch.from_numpy(found.labels)
    train = Images(images[: found.train_size], labels[: found.train_size])
    test = Images(images[found.train_size :], labels[found.train_size :])
    return train, test, found.classes


def _check_memory(count: int, shape: tuple[int, int, int]) -> None:
    need = count * shape[0] * shape[1] * shape[2]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if need > have:
            raise UserError(
                f"{count:,} images of {shape[2]}x{shape[1]} pixels need {need / 2**30:.0f} GiB "
                f"of {have / 2**30:.0f}\n  set dataset.resize=<side> to make them smaller"
            )


def _torchvision(
    config: DatasetConfig, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    named = _NAMED[config.name]
    try:
        try:
            return _read_torchvision(named, config.root, False, progress)
        except Exception:
            if not config.download:
                raise
            # In here, so that where it fails too the first error stays beside its own.
            return _download_torchvision(config, named, progress)
    except Exception as error:  # torchvision's loaders raise many kinds on absent or damaged files
        state = "cannot be downloaded or read" if config.download else "is not complete"
        where = f"{named.folder} of " if named.folder else ""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{config.name} {state} ({show(lines[-1].strip())}): put {named.files} into "
            f"{where}dataset.root={show(config.root)} and set dataset.download=true\n"
            "  or use a folder of images instead: dataset=image_folder dataset.root=<folder>"
        ) from error


def _download_torchvision(
    config: DatasetConfig, named: _Named, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    from filelock import FileLock

    folder = Path(config.root) / ".hiddenmix"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{config.name}.lock"):  # two downloads would mix their bytes
        return _read_torchvision(named, config.root, True, progress)


def _read_torchvision(
    named: _Named, root: str, download: bool, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    from torchvision import datasets

    loader = getattr(datasets, named.loader)
    # MNIST's loader also accepts a pickled `processed/training.pt` of old versions: not here.
    loader = type(named.loader, (loader,), {"_check_legacy_exist": lambda _: False})
    splits: list[Images] = []
    for index, split in enumerate(("train", "test")):
        if progress is not None:
            progress(f"reading {named.loader}", index, 2)
        which: dict[str, Any] = {"train": split == "train"}
        source = loader(
            root, download=download, **({"split": split} if named.loader == "SVHN" else which)
        )
        splits.append(_from_torchvision(source, named))
    if progress is not None:
        progress(f"reading {named.loader}", 2, 2)
    classes = getattr(source, "classes", None) or range(named.classes)
    return splits[0], splits[1], [str(name) for name in classes]


def _from_torchvision(source: Any, named: _Named) -> Images:
    images = torch.as_tensor(source.data)
    if images.ndim == 3:  # MNIST and its kin: [N, H, W]
        images = images[:, None]
    elif images.shape[-1] == 3:  # CIFAR: [N, H, W, C]
        images = images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(source.labels if named.loader == "SVHN" else source.targets)
    labels = labels.to(torch.int64)
    fits = images.dtype == torch.uint8 and images.shape[1:] == named.shape
    if not fits or len(labels) != len(images) or not len(images):
        raise ValueError(f"unexpected images {images.dtype} {tuple(images.shape)}")
    if labels.min() < 0 or labels.max() >= named.classes:
        raise ValueError(f"labels outside 0 to {named.classes - 1}")
    return Images(images.contiguous(), labels)


def _sizes(config: DatasetConfig, available: int, classes: int) -> tuple[int, int]:
    """How many images are held out and trained on, of `available`. Raises `ConfigError`."""
    held = round(config.validation * available)
    left = available - held
    if config.validation > 0 and (held < classes or left < classes):
        raise ConfigError(
            "dataset.validation",
            config.validation,
            f"0, or a fraction of the {available:,} training images that leaves at least one for "
            f"each of {classes} classes on both sides",
        )
    size = left if config.train_size is None else config.train_size
    if config.train_size is not None and not classes <= size <= left:
        raise ConfigError(
            "dataset.train_size",
            size,
            f"null, or from {classes:,} (one a class) to {left:,} (all but the held-out ones)",
        )
    return held, size


def _split(config: DatasetConfig, train: Images, classes: int) -> tuple[Images, Images | None]:
    """Apply `validation`, then `train_size`."""
    held, size = _sizes(config, len(train.labels), classes)
    validation = None
    if held:
        keys = stream(config.split_seed, "split", 0).random(len(train.labels))
        chosen = stratified(train.labels.numpy(), held, keys, leave=1)
        validation = train.take(np.flatnonzero(chosen))
        train = train.take(np.flatnonzero(~chosen))
    if size < len(train.labels):
        keys = stream(config.split_seed, "split", 1).random(len(train.labels))
        train = train.take(np.flatnonzero(stratified(train.labels.numpy(), size, keys)))
    return train, validation


def stratified(
    labels: NDArray[np.int64], size: int, keys: NDArray[np.float64], leave: int = 0
) -> NDArray[np.bool_]:
    """Mask [N] of a subset of `size` that has each class in its proportion, rounded.

    `keys` [N] are uniform draws: of each class, the images with the smallest keys are taken. Every
    class gives at least one image and keeps `leave`, if it has them. (scikit-learn's splitter
    refuses subsets that leave fewer images than classes, or classes of one image.)
    """
    counts = np.bincount(labels)
    high = np.maximum(counts - leave, 0)
    ideal = counts * (size / len(labels))
    quotas = np.clip(np.floor(ideal).astype(np.int64), np.minimum(1, high), high)
    while (missing := size - int(quotas.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = quotas < high if missing > 0 else quotas > np.minimum(1, high)
        assert room.any(), "callers check that the size is possible"
        # the class that is furthest from its proportion, among those that can change
        quotas[np.argmax(np.where(room, step * (ideal - quotas), -np.inf))] += step
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(keys[members], kind="stable")[:quota]]] = True
    return chosen


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation [C] of all pixels in [0, 1]; std at least 1/255.

    From exact histograms: the same on any machine and with any number of threads.
    """
    _, channels, height, width = images.shape
    histogram = np.zeros((channels, 256), np.int64)
    for chunk in images.split(max(1, 2**18 // (height * width))):
        for channel, pixels in enumerate(chunk.unbind(1)):
            histogram[channel] += np.bincount(pixels.numpy().ravel(), minlength=256)
    share = histogram / histogram.sum(1, keepdims=True)
    levels = np.arange(256)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    std = np.maximum(np.sqrt(variance), 1.0)
    return torch.from_numpy(mean / 255).float(), torch.from_numpy(std / 255).float()
