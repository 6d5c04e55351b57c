"""Data sets as uint8 tensors, with fixed stratified splits; `describe` tells the shape beforehand.

Sources: scikit-learn's bundled digits; the MNIST family's own files; torchvision's loaders of other sets,
which check the MD5 sums of what they unpickle; folders of images (`image_folder.py`, cached by
`image_cache.py`); arrays; and a function of the user's own.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hiddenmix.config import DatasetConfig, UserError, counted, show
from hiddenmix.data import folder_remarks, image_cache, image_folder
from hiddenmix.data.arrays import describe_arrays, read_arrays
from hiddenmix.data.content import content, labels_of, leaks, not_in_test, two_labels
from hiddenmix.data.decoding import Progress
from hiddenmix.data.idx_files import idx_remarks
from hiddenmix.data.image_files import Kinds
from hiddenmix.data.images import Data, Description, Images, Whole, check_memory
from hiddenmix.data.imported import read_imported
from hiddenmix.data.leftovers import skipped_text
from hiddenmix.data.named import NAMED, digits, torchvision_set
from hiddenmix.data.resizing import Resize
from hiddenmix.data.splitting import split, split_sizes


def describe(config: DatasetConfig) -> Description:
    """What `load` will give, without decoding or downloading anything and without writing.

    An image folder is scanned: layout, classes, empty files, the first header. Raises `UserError`
    for a wrong folder and `ConfigError` for a `validation` or `train_size` that does not fit.
    """
    if config.name == "image_folder":
        found = image_folder.scan(config)
        shape = image_cache.shape(found, Resize.of(config))
        check_memory(len(found.names), shape)
        classes, available = len(found.classes), found.train_size
    elif config.name == "arrays":
        whole = describe_arrays(config)
        shape, classes, available = whole.shape, whole.classes, whole.train_size
    elif config.name == "import":
        train, _, names, _ = read_imported(config)
        channels, height, width = train.images.shape[1:]
        shape, classes, available = (channels, height, width), len(names), len(train.labels)
    else:
        named = NAMED[config.name]
        shape, classes, available = named.shape, named.classes, named.train_size
    return Description(shape, classes, split_sizes(config, available, classes)[1])


def load(config: DatasetConfig, progress: Progress | None = None) -> Data:
    """`read` and `prepare` in one, for seed 0."""
    return prepare(read(config, progress), config)


def source(config: DatasetConfig) -> tuple[object, ...]:
    """What `read` depends on: configurations with an equal one share what it returns."""
    keys = ("name", "root", "train", "test", "test_fraction", "target", "download", "leaks")
    return (*(getattr(config, key) for key in keys), Resize.of(config))


def read(config: DatasetConfig, progress: Progress | None = None) -> Whole:
    """Read, decode or download a data set. Needs the memory of its uint8 pixels.

    With `leaks=drop` training images that stand in the test set too are left out. Raises `UserError`
    for data that is missing or damaged.
    """
    remarks: list[str] = []
    skipped = ""
    match config.name:
        case "digits":
            train, test, classes = digits()
        case "image_folder":
            found_files = image_folder.scan(config)
            train, test, remarks = _image_folder(config, found_files, progress)
            classes, skipped = found_files.classes, skipped_text(found_files.skipped)
        case "arrays":
            train, test, classes = read_arrays(config)
        case "import":
            train, test, classes, said = read_imported(config)
            remarks = [*said]
        case _:
            train, test, classes = torchvision_set(config, progress)
            remarks = idx_remarks(config.name, train.labels.numpy(), test.labels.numpy())
    found = content(train, test, classes)
    trained = labels_of(found.train, train)
    leaking = leaks(found, trained, test)
    if contrary := two_labels(found, trained):
        remarks.append(
            f"warning: {counted(contrary, 'training image')} with an equal one of another label"
        )
    if config.leaks == "drop" and leaking.test_in_train:
        kept, before = not_in_test(found), {*train.labels.tolist()}
        leaking = replace(leaking, dropped=len(found.train) - len(kept))
        train = train.take(kept)
        if lost := [classes[label] for label in sorted(before - {*train.labels.tolist()})]:
            raise UserError(
                f"dataset.leaks=drop leaves no training image of {show(lost)}: all of them stand in the "
                "test set\n  use dataset.leaks=keep, or other test images"
            )
    return Whole(train, test, classes, found.digest, leaking, skipped, tuple(remarks))


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
    config: DatasetConfig, found: image_folder.Scan, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    """Both splits, and what to say of them."""
    kinds = Kinds()
    images = torch.from_numpy(image_cache.load(found, Resize.of(config), progress, kinds))
    labels = torch.from_numpy(found.labels)
    train = Images(images[: found.train_size], labels[: found.train_size])
    test = Images(images[found.train_size :], labels[found.train_size :])
    return train, test, folder_remarks.remarks(found, kinds, config)


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
