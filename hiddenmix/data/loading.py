"""Data sets as uint8 tensors, with fixed stratified splits; `describe` tells the shape beforehand.

Sources: scikit-learn's bundled digits; torchvision's own loaders, which check the MD5 sums of what
they unpickle; and folders of images (`image_folder.py`, cached by `image_cache.py`).
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hiddenmix.config import DatasetConfig, UserError, show
from hiddenmix.data import image_cache, image_folder
from hiddenmix.data.content import content, leaks, not_in_test
from hiddenmix.data.decoding import Progress
from hiddenmix.data.images import Data, Description, Images, Whole, check_memory
from hiddenmix.data.named import NAMED, digits, torchvision_set
from hiddenmix.data.splitting import split, split_sizes


def describe(config: DatasetConfig) -> Description:
    """What `load` will give, without decoding or downloading anything and without writing.

    An image folder is scanned: layout, classes, empty files, the first header. Raises `UserError`
    for a wrong folder and `ConfigError` for a `validation` or `train_size` that does not fit.
    """
    if config.name == "image_folder":
        found = image_folder.scan(config.root)
        shape = image_cache.shape(found, config.resize)
        check_memory(len(found.names), shape)
        classes, available = len(found.classes), found.train_size
    else:
        named = NAMED[config.name]
        shape, classes, available = named.shape, named.classes, named.train_size
    return Description(shape, classes, split_sizes(config, available, classes)[1])


def load(config: DatasetConfig, progress: Progress | None = None) -> Data:
    """`read` and `prepare` in one, for seed 0."""
    return prepare(read(config, progress), config)


def source(config: DatasetConfig) -> tuple[object, ...]:
    """What `read` depends on: configurations with an equal one share what it returns."""
    return (config.name, config.root, config.download, config.resize, config.leaks)


def read(config: DatasetConfig, progress: Progress | None = None) -> Whole:
    """Read, decode or download a data set. Needs the memory of its uint8 pixels.

    With `leaks=drop` training images that stand in the test set too are left out. Raises `UserError`
    for data that is missing or damaged.
    """
    if config.name == "digits":
        train, test, classes = digits()
    elif config.name == "image_folder":
        train, test, classes = _image_folder(config, progress)
    else:
        train, test, classes = torchvision_set(config, progress)
    found = content(train, test, classes)
    leaking = leaks(found, train, test)
    if config.leaks == "drop" and leaking.test_in_train:
        kept = not_in_test(found)
        leaking = replace(leaking, dropped=len(found.train) - len(kept))
        train = train.take(kept)
        lost = [
            name for label, name in enumerate(classes) if not bool((train.labels == label).any())
        ]
        if lost:
            raise UserError(
                f"dataset.leaks=drop leaves no training image of {show(lost)}: all of them stand in the "
                "test set\n  use dataset.leaks=keep, or other test images"
            )
    return Whole(train, test, classes, found.digest, leaking)


def prepare(whole: Whole, config: DatasetConfig, seed: int = 0) -> Data:
    """Hold out `validation`, take `train_size` images, and measure what normalises them.

    The hold-out depends on `split_seed` alone and is drawn first, so every `train_size` has the same
    one, and a larger `train_size` contains a smaller one's images but for rounding. With `resample`
    each `seed` has another subset. Raises `ConfigError` for a split that does not fit.
    """
    train, validation = split(config, whole.train, len(whole.classes), seed)
    mean, std = _statistics(train.images)
    return Data(
        train=train,
        test=whole.test,
        validation=validation,
        classes=whole.classes,
        mean=mean,
        std=std,
        digest=whole.digest,
        leaks=whole.leaks,
    )


def _image_folder(
    config: DatasetConfig, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    found = image_folder.scan(config.root)
    images = torch.from_numpy(image_cache.load(found, config.resize, progress))
    labels = torch.from_numpy(found.labels)
    train = Images(images[: found.train_size], labels[: found.train_size])
    test = Images(images[found.train_size :], labels[found.train_size :])
    return train, test, found.classes


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
