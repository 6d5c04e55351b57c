"""`dataset=arrays`: an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test`, as Keras has them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiddenmix.config import DatasetConfig, UserError, counted, show
from hiddenmix.data.array_files import array, npz_damage, npz_headers
from hiddenmix.data.image_files import MIN_SIDE
from hiddenmix.data.images import Description, Images, check_memory
from hiddenmix.data.labels import class_numbers

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_OTHER_KEYS = (
    ("X_train", "y_train", "X_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST's
)
_EXPECTED = "uint8 images x_train and x_test, class numbers y_train and y_test"
_LAYOUTS = "[N, H, W], [N, H, W, C] or [N, C, H, W] with sides of at least 8 and fewer channels"


def describe_arrays(config: DatasetConfig) -> Description:
    """What `read_arrays` will give, from headers and labels. Raises `UserError`."""
    place = _place(config)
    file, keys = show(place.name), _keys(place)
    headers = npz_headers(place, keys, _EXPECTED)
    (size, dtype), (test_size, test_dtype) = headers[0], headers[2]
    for key, kind in ((keys[0], dtype), (keys[2], test_dtype)):
        if kind.kind not in "iu":
            raise _no_bytes(f"{file}: {key}", kind)
    shape = shape_of_array(f"{file}: {keys[0]}", size)
    if shape_of_array(f"{file}: {keys[2]}", test_size) != shape:
        raise UserError(
            f"{file}: {keys[0]} is {list(size)}, {keys[2]} {list(test_size)}\n"
            "  expected: images of one size and one number of channels"
        )
    check_memory(size[0] + test_size[0], shape)
    train, test, classes = class_numbers(file, array(place, keys[1]), array(place, keys[3]))
    for key, count, labels in ((keys[0], size[0], train), (keys[2], test_size[0], test)):
        if len(labels) != count:
            raise _counts(f"{file}: {key}", count, len(labels))
    return Description(shape, len(classes), size[0])


def read_arrays(config: DatasetConfig) -> tuple[Images, Images, list[str]]:
    """Training set, test set and classes. Raises `UserError`."""
    describe_arrays(config)
    place = _place(config)
    keys = _keys(place)
    train, test, classes = class_numbers(
        show(place.name), array(place, keys[1]), array(place, keys[3])
    )
    return (
        _read_images(place, keys[0], train),
        _read_images(place, keys[2], test),
        classes,
    )


def _read_images(place: Path, key: str, labels: NDArray[np.int64]) -> Images:
    pixels = as_bytes(f"{show(place.name)}: {key}", array(place, key))
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


def _keys(place: Path) -> tuple[str, ...]:
    """The names of the arrays, in the order of `_KEYS`; those where the file has none of them."""
    with zipfile.ZipFile(place) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
    return next((keys for keys in _OTHER_KEYS if names.issuperset(keys)), _KEYS)


def _place(config: DatasetConfig) -> Path:
    place = Path(config.root or "").expanduser()
    if place.is_dir() or not place.exists():
        state = "is a folder" if place.is_dir() else "does not exist"
        advice = "add dataset=image_folder" if place.is_dir() else f"an .npz file with {_EXPECTED}"
        raise UserError(f"dataset.root={show(config.root)} {state}\n  {advice}")
    if not zipfile.is_zipfile(place):
        raise UserError(
            f"dataset.root={show(config.root)} {npz_damage(place)}\n  expected: a whole .npz file, as of "
            "numpy.savez(name, x_train=..., y_train=..., x_test=..., y_test=...)"
        )
    return place


def shape_of_array(what: str, size: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of an array of images.

    The channels are the axis that is too short for a side of an image. Raises `UserError` where none is,
    or more than one.
    """
    if len(size) == 3 and min(size[1:]) >= MIN_SIDE and size[0]:
        return 1, size[1], size[2]
    if len(size) == 4 and size[0]:
        short = [axis for axis in (1, 2, 3) if size[axis] < MIN_SIDE]
        if short == [1]:
            return size[1], size[2], size[3]
        if short == [3]:
            return size[3], size[1], size[2]
    raise UserError(f"{what} is {list(size)}\n  expected: {_LAYOUTS}")


def as_bytes(what: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images in any layout as uint8 [N, C, H, W], contiguous. Raises `UserError`."""
    channels, height, width = shape_of_array(what, images.shape)
    if images.dtype.kind not in "iu":
        raise _no_bytes(what, images.dtype)
    if images.dtype != np.uint8 and (images.min() < 0 or images.max() > 255):
        raise _no_bytes(f"{what}, from {images.min()} to {images.max()},", images.dtype)
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[1:] != (channels, height, width):
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images, np.uint8)


def _no_bytes(what: str, dtype: np.dtype[Any]) -> UserError:
    hint = "whole numbers from 0 to 255, as uint8"
    if dtype.kind == "f":
        hint += ": (x * 255).round().astype(numpy.uint8) for x from 0 to 1"
    return UserError(f"{what} is {show(dtype)}\n  expected: {hint}")


def _counts(what: str, images: int, labels: int) -> UserError:
    return UserError(
        f"{what} has {counted(images, 'image')}, but {counted(labels, 'label')}\n"
        "  expected: as many labels as images"
    )
