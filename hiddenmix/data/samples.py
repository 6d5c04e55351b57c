"""One split of the user's own: a torch `Dataset` of (image, label), or a pair (images, labels).

Images are PIL images, or arrays or tensors of bytes or of bytes / 255.
"""

import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hiddenmix.config import UserError, counted, show
from hiddenmix.data.arrays import as_bytes, shape_of_array
from hiddenmix.data.image_files import Kinds, picture_as_bytes
from hiddenmix.data.images import check_memory
from hiddenmix.data.labels import label_array

EXPECTED = "expected: (train, test), each a torch Dataset of (image, label) or (images, labels)"
LABEL = ("label", "labels")
"""What a sample's label is called where a sample has names for its parts."""

_TWICE = (
    32  # so many images are taken twice: a mirroring of every second one escapes 1 of 2^32 times
)


@dataclass(frozen=True)
class Split:
    """One split as it was returned: uint8 images [N, C, H, W] and labels."""

    images: NDArray[np.uint8]
    labels: NDArray[Any]
    pictures: bool
    """Whether they were PIL images, whose modes tell which are grey."""


def read_split(what: str, made: Any, kinds: Kinds) -> Split:
    """Images and labels as `made` has them; `kinds` gets what was converted. Raises `UserError`."""
    if isinstance(made, (tuple, list)):
        if len(made) != 2:
            raise UserError(f"{what} has {counted(len(made), 'part')}\n  {EXPECTED}")
        images, labels = made[0], label_array(what, made[1])
        if isinstance(images, (tuple, list)) and any(isinstance(x, Image.Image) for x in images):
            pile = _Pile(what, len(images), kinds)
            for index, image in enumerate(images):
                pile.put(index, image)
            return pile.split(labels)
        return Split(as_bytes(what, _whole(what, _array(what, images))), labels, pictures=False)
    if not (hasattr(made, "__len__") and hasattr(made, "__getitem__")):
        raise UserError(f"{what} is {kind(made)}\n  {EXPECTED}")
    try:
        count = len(made)
    except Exception as error:
        raise own_error(f"len({what})", error) from error
    if not count:
        raise UserError(f"{what} is empty\n  {EXPECTED}")
    pile, found = _Pile(what, count, kinds), list[Any]()
    twice = {*np.linspace(0, count - 1, min(count, _TWICE), dtype=int).tolist()}
    for index in range(count):
        image, label = _sample(what, made, index)
        pixels = pile.put(index, image)
        if index in twice:
            again = _pixels(f"{what}[{index}]", _sample(what, made, index)[0], Kinds())
            if not np.array_equal(again, pixels):
                raise UserError(
                    f"{what}[{index}] is another image each time\n"
                    "  leave random transforms out: hiddenmix augments at each step, see "
                    "dataset.augment"
                )
        found.append(label)
    return pile.split(label_array(what, found))


@dataclass
class _Pile:
    """Images of one size, put into one array one after another."""

    what: str
    count: int
    kinds: Kinds
    array: NDArray[Any] | None = None
    pictures: bool = True

    def put(self, index: int, image: Any) -> NDArray[Any]:
        """Add an image, and give its own pixels. Raises `UserError` for one that does not fit."""
        pixels = _pixels(f"{self.what}[{index}]", image, self.kinds)
        self.pictures = self.pictures and isinstance(image, Image.Image)
        if self.array is None:
            self.array = self._empty(pixels.shape, pixels.dtype)
        added = pixels
        if self.pictures and pixels.shape[:2] == self.array.shape[1:3]:
            if pixels.ndim < self.array.ndim - 1:
                added = np.repeat(pixels[..., None], 3, axis=2)
            elif pixels.ndim > self.array.ndim - 1:  # the first in colour: those before were grey
                grey, self.array = self.array, self._empty(pixels.shape, pixels.dtype)
                self.array[:index] = grey[:index, ..., None]
        if added.shape != self.array.shape[1:] or added.dtype != self.array.dtype:
            raise UserError(
                f"{self.what}[{index}] is {added.dtype} {list(added.shape)}, those before "
                f"{self.array.dtype} {list(self.array.shape[1:])}\n"
                "  expected: images of one size and type; resize them in the function"
            )
        self.array[index] = added
        return pixels

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        size = (self.count, *shape)
        check_memory(self.count, shape_of_array(f"{self.what}, with its images,", size))
        return np.empty(size, dtype)

    def split(self, labels: NDArray[Any]) -> Split:
        assert self.array is not None
        return Split(as_bytes(self.what, self.array), labels, self.pictures)


def of_one_colour(train: Split, test: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both splits' images; where one has PIL images that are all grey, as RGB beside the other in RGB."""
    channels = train.images.shape[1], test.images.shape[1]
    found = [train.images, test.images]
    for index, split in enumerate((train, test)):
        if split.pictures and channels[index] == 1 and channels[1 - index] == 3:
            found[index] = np.repeat(split.images, 3, axis=1)
    return found[0], found[1]


def _sample(what: str, made: Any, index: int) -> tuple[Any, Any]:
    """An image as it is, and its label."""
    what = f"{what}[{index}]"
    try:
        sample = made[index]
    except Exception as error:
        raise own_error(what, error) from error
    if isinstance(sample, Mapping):  # as Hugging Face's data sets give them
        image, label = (
            next((sample[key] for key in keys if key in sample), None)
            for keys in (("image", "img"), LABEL)
        )
    else:
        fits = isinstance(sample, (tuple, list)) and len(sample) > 1
        image, label = sample[:2] if fits else (None, None)
    if image is None or label is None:
        raise UserError(f"{what} is {kind(sample)}\n  expected: (image, label)")
    return image, _label(what, label)


def _label(what: str, label: Any) -> str | int:
    while isinstance(label, (list, tuple)) and len(label) == 1:
        label = label[0]
    if isinstance(label, (torch.Tensor, np.ndarray, np.generic)) and math.prod(label.shape) == 1:
        label = label.item()
    if isinstance(label, (str, Integral)):
        return label  # type: ignore[return-value]
    shape = getattr(label, "shape", ())
    size = f" {list(shape)}" if shape else ""
    hint = ": y.argmax() makes it of a one-hot row" if isinstance(label, Sequence) or shape else ""
    raise UserError(
        f"{what} has {kind(label)}{size} for its label\n"
        f"  expected: a whole number or the name of a class{hint}"
    )


def _pixels(what: str, image: Any, kinds: Kinds) -> NDArray[Any]:
    """One image's pixels, floats from 0 to 1 as bytes."""
    if isinstance(image, Image.Image):
        try:
            image = picture_as_bytes(image, kinds)
        except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
            raise UserError(
                f"{what} cannot be read: {show(str(error) or type(error).__name__)}\n"
                "  expected: an image of 8 or 16 bits, or an array of bytes"
            ) from error
    return _whole(what, _array(what, image))


def _array(what: str, images: Any) -> NDArray[Any]:
    try:
        return np.asarray(images.detach().cpu() if isinstance(images, torch.Tensor) else images)
    except Exception as error:  # NumPy and torch raise many kinds
        raise UserError(
            f"{what} cannot be one array of images, say because their sizes differ\n"
            "  expected: images of one size and type; resize them in the function"
        ) from error


def _whole(what: str, images: NDArray[Any]) -> NDArray[Any]:
    """Floats that are bytes / 255, as torchvision's `ToTensor` makes them, as bytes again."""
    if images.dtype.kind != "f" or not images.size:
        return images
    levels = images.astype(np.float64) * 255
    whole = np.rint(levels)
    if not (whole.min() >= 0 and whole.max() <= 255 and np.abs(levels - whole).max() < 0.01):
        raise UserError(
            f"{what} has pixels from {images.min():g} to {images.max():g} that are no bytes / 255\n"
            "  leave Normalize out and return uint8 images: hiddenmix normalises them"
        )
    return whole.astype(np.uint8)


def kind(value: object) -> str:
    return f"a {type(value).__name__}" + (
        f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    )


def own_error(target: str, error: Exception) -> UserError:
    """An error of the user's own code, with the place in it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return UserError(
        f"dataset.target={show(target)} raised {type(error).__name__}: {show(error)}\n"
        f"  in {show(Path(last.filename).name)}, line {last.lineno}"
    )
