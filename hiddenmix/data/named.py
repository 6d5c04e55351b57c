"""The named data sets: scikit-learn's digits, and those that torchvision reads and downloads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiddenmix.config import DatasetConfig, UserError, show
from hiddenmix.data.decoding import Progress
from hiddenmix.data.images import Images


@dataclass(frozen=True)
class Named:
    """What is known of a named data set, and which files belong where below its root."""

    shape: tuple[int, int, int]
    classes: int
    train_size: int
    loader: str = ""
    files: str = ""
    folder: str = ""


_IDX = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and both t10k-*-ubyte.gz"
NAMED = {
    "digits": Named((1, 8, 8), 10, 1_437),
    "mnist": Named((1, 28, 28), 10, 60_000, "MNIST", _IDX, "MNIST/raw"),
    "fashion_mnist": Named((1, 28, 28), 10, 60_000, "FashionMNIST", _IDX, "FashionMNIST/raw"),
    "kmnist": Named((1, 28, 28), 10, 60_000, "KMNIST", _IDX, "KMNIST/raw"),
    "cifar10": Named((3, 32, 32), 10, 50_000, "CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": Named((3, 32, 32), 100, 50_000, "CIFAR100", "cifar-100-python.tar.gz"),
    "svhn": Named((3, 32, 32), 10, 73_257, "SVHN", "train_32x32.mat and test_32x32.mat"),
}


def digits() -> tuple[Images, Images, list[str]]:
    """scikit-learn's 1,797 digits, 0..16 scaled to 0..255, split once and for all."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train_size = NAMED["digits"].train_size
    train, test = train_test_split(
        np.arange(len(labels)), train_size=train_size, stratify=labels, random_state=0
    )
    whole = Images(torch.from_numpy(pixels), torch.from_numpy(labels))
    return whole.take(train), whole.take(test), [str(name) for name in digits.target_names]


def torchvision_set(
    config: DatasetConfig, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    named = NAMED[config.name]
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
    config: DatasetConfig, named: Named, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    from filelock import FileLock

    folder = Path(config.root) / ".hiddenmix"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{config.name}.lock"):  # two downloads would mix their bytes
        return _read_torchvision(named, config.root, True, progress)


def _read_torchvision(
    named: Named, root: str, download: bool, progress: Progress | None
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


def _from_torchvision(source: Any, named: Named) -> Images:
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
