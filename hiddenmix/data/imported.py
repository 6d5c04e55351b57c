"""`dataset=import`: training and test set from a function of the user's own, imported as it is named.

The function takes nothing and returns (train, test): each a torch `Dataset` of (image, label), or a pair
of arrays (images, labels).
"""

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hiddenmix.config import ConfigError, DatasetConfig, UserError, counted, show
from hiddenmix.data.arrays import as_bytes, class_numbers, image_shape
from hiddenmix.data.image_files import as_bytes as as_bytes_of_image
from hiddenmix.data.images import Images, check_memory

_EXPECTED = "expected: (train, test), each a torch Dataset of (image, label) or (images, labels)"
_TWICE = 4  # so many images are taken twice, which shows augmentation


def read_imported(config: DatasetConfig) -> tuple[Images, Images, list[str]]:
    """Training set, test set and classes. Raises `UserError`."""
    target = str(config.target)
    return _made(_function(target), target)


def _function(target: str) -> Callable[[], Any]:
    module, _, name = target.rpartition(".")
    if not all(part.isidentifier() for part in target.split(".")) or not module:
        raise ConfigError("dataset.target", target, "<module>.<function>, such as mydata.make")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` has it, but an installed command does not
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _own(target, error) from error
        raise UserError(
            f"dataset.target={show(target)}: there is no module {show(error.name)}\n"
            f"  put {show(module.replace('.', '/'))}.py into this folder, or install it"
        ) from error
    except Exception as error:
        raise _own(target, error) from error
    if not callable(function):
        known = [key for key, value in vars(sys.modules[module]).items() if _is_own(module, value)]
        raise UserError(
            f"dataset.target={show(target)}: {show(module)} has no function {show(name)}\n"
            f"  it has: {show(known)}"
        )
    return function  # type: ignore[no-any-return]


def _is_own(module: str, value: object) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module


def _own(target: str, error: Exception) -> UserError:
    """An error of the user's own code, with the place in it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UserError(
        f"dataset.target={show(target)} raised {type(error).__name__}: {show(error)}\n"
        f"  in {show(Path(last.filename).name)}, line {last.lineno}"
    )


@lru_cache(maxsize=1)
def _made(function: Callable[[], Any], target: str) -> tuple[Images, Images, list[str]]:
    """What `function` returns, called once a process."""
    try:
        made = function()
    except Exception as error:
        raise _own(target, error) from error
    what = f"dataset.target={show(target)}"
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise UserError(f"{what} returned {_kind(made)}\n  {_EXPECTED}")
    whole = getattr(made[0], "dataset", None)  # of a torch Subset
    names = getattr(made[0], "classes", getattr(whole, "classes", None))
    pixels, labels = zip(
        *(
            _arrays(f"{what}, {split}", each)
            for split, each in zip(("train", "test"), made, strict=True)
        ),
        strict=True,
    )
    if pixels[0].shape[1:] != pixels[1].shape[1:]:
        sizes = [list(each.shape[1:]) for each in pixels]
        raise UserError(
            f"{what}: training images are {sizes[0]} and test images {sizes[1]}\n"
            "  expected: images of one size and one number of channels"
        )
    listed = [str(name) for name in names] if isinstance(names, (list, tuple)) else None
    train, test, classes = class_numbers(what, labels[0], labels[1], listed)
    for images, numbers, split in zip(pixels, (train, test), ("train", "test"), strict=True):
        if len(images) != len(numbers):
            raise UserError(
                f"{what}, {split}: {counted(len(images), 'image')}, but "
                f"{counted(len(numbers), 'label')}\n  {_EXPECTED}"
            )
    splits = [
        Images(torch.from_numpy(images), torch.from_numpy(numbers))
        for images, numbers in zip(pixels, (train, test), strict=True)
    ]
    return splits[0], splits[1], classes


def _arrays(what: str, made: Any) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """uint8 images [N, C, H, W] and labels of one split."""
    if isinstance(made, (tuple, list)):
        if len(made) != 2:
            raise UserError(f"{what} has {counted(len(made), 'part')}\n  {_EXPECTED}")
        return as_bytes(what, _whole(what, np.asarray(made[0]))), np.asarray(made[1])
    if not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
        raise UserError(f"{what} is {_kind(made)}\n  {_EXPECTED}")
    count = len(made)
    if not count:
        raise UserError(f"{what} is empty\n  {_EXPECTED}")
    images: NDArray[Any] | None = None
    labels: list[Any] = []
    for index in range(count):
        try:
            sample = made[index]
        except Exception as error:
            raise _own(f"{what}[{index}]", error) from error
        image, label = _sample(f"{what}[{index}]", sample)
        if images is None:
            size = image_shape(f"{what}, with its images,", (count, *image.shape))
            check_memory(count, size)
            images = np.empty((count, *image.shape), image.dtype)
        if image.shape != images.shape[1:] or image.dtype != images.dtype:
            raise UserError(
                f"{what}[{index}] is {list(image.shape)}, the first {list(images.shape[1:])}\n"
                "  expected: images of one size and type; resize them in the function"
            )
        if index < _TWICE and not np.array_equal(_sample(what, made[index])[0], image):
            raise UserError(
                f"{what}[{index}] is another image each time\n"
                "  leave random transforms away: hiddenmix augments at each step, see dataset.augment"
            )
        images[index] = image
        labels.append(label)
    assert images is not None
    return as_bytes(what, images), np.array(labels)


def _sample(what: str, sample: Any) -> tuple[NDArray[Any], Any]:
    """One image, floats from 0 to 1 as bytes, and its label."""
    if isinstance(sample, Mapping):  # as Hugging Face's data sets give them
        image, label = (
            next((sample[key] for key in keys if key in sample), None)
            for keys in (("image", "img"), ("label", "labels"))
        )
    else:
        fits = isinstance(sample, (tuple, list)) and len(sample) > 1
        image, label = sample[:2] if fits else (None, None)
    if image is None or label is None:
        raise UserError(f"{what} is {_kind(sample)}\n  expected: (image, label)")
    if isinstance(label, (torch.Tensor, np.generic)):
        label = label.item()
    if isinstance(image, Image.Image):
        image = as_bytes_of_image(image)
    return _whole(what, np.asarray(image)), label


def _whole(what: str, images: NDArray[Any]) -> NDArray[Any]:
    """Floats that are bytes / 255, as torchvision's `ToTensor` makes them, as bytes again."""
    if images.dtype.kind != "f" or not images.size:
        return images
    levels = images.astype(np.float64) * 255
    whole = np.rint(levels)
    if not (whole.min() >= 0 and whole.max() <= 255 and np.abs(levels - whole).max() < 0.01):
        raise UserError(
            f"{what} has pixels from {images.min():g} to {images.max():g} that are no bytes / 255\n"
            "  leave Normalize away and return uint8 images: hiddenmix normalises them"
        )
    return whole.astype(np.uint8)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" + (
        f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    )
