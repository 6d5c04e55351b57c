"""Outside sets: further test sets of the same classes, checked before anything is trained.

What lies at a set's path tells its form: a folder of class folders; an `.npz` file with `x_test` and
`y_test`, as Keras has them; or a folder with `labels.npy` and a `.npy` file for each corruption, as
CIFAR-10-C and CIFAR-100-C have them (Hendrycks and Dietterich 2019). Pixels are read on demand.
"""

import functools
import hashlib
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiddenmix.config import ConfigError, UserError, show
from hiddenmix.data import image_cache
from hiddenmix.data.array_files import array, npy_header, npz_damage, npz_headers
from hiddenmix.data.decoding import unreadable_files
from hiddenmix.data.folder_layout import folders as class_folders
from hiddenmix.data.image_files import Kinds, UnreadableError, opened, upright_size
from hiddenmix.data.image_folder import File, Scan, counterparts, files, fingerprint
from hiddenmix.data.images import Images, check_memory
from hiddenmix.data.labels import known_numbers
from hiddenmix.data.resizing import Resize

SEVERITIES = 5
"""Strengths of each corruption in the files of CIFAR-10-C, one after another."""

_FORMS = (
    "expected: a folder of class folders, an .npz file with x_test and y_test, "
    "or a folder with labels.npy and <corruption>.npy files"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_NAME_RULE = (
    "1 to 50 letters, digits, '.', '_', '-' that start with a letter or digit, and then a path: "
    "dataset.outside.<name>=<path>"
)
_LABELS = "labels.npy"
_Read = Callable[[str], Images]


@dataclass(frozen=True)
class OutsideSet:
    """A further test set of the data set's classes; its labels are the data set's own indices."""

    name: str
    """The user's name of the set."""

    path: str
    """Where it lies, as the user wrote it."""

    conditions: tuple[str, ...]
    """What it is measured under: `<corruption>_<severity>` in order, or one empty name."""

    read: _Read = field(repr=False, compare=False)
    """How a condition is read; `images` adds the set's name to its errors."""

    kinds: Kinds = field(default_factory=Kinds, repr=False, compare=False)
    """What was converted of the images, once they are read."""

    in_training: int = 0
    """Images that stand in the training set too, where that was looked at."""

    def images(self, condition: str) -> Images:
        """The images of one condition: uint8 [N, C, H, W] in the data set's shape, labels [N].

        Corruptions are read anew at each call; a set without them stays in memory after the first, and
        the decoded images of a folder in a cache on the disk (`image_cache`).
        Raises `UserError` for a file that is damaged or has changed, KeyError for no condition of
        this set.
        """
        if condition not in self.conditions:
            raise KeyError(condition)
        with _blaming(self.name, self.path):
            return self.read(condition)

    @functools.cached_property
    def digest(self) -> str:
        """BLAKE2b (16 bytes, hex) of all conditions, labels and pixels. Reads the whole set.

        Neither name nor path nor form counts: the same images in an `.npz` have the same digest.
        Raises `UserError` as `images` does.
        """
        digest = hashlib.blake2b(digest_size=16)
        for condition in self.conditions:
            found = self.images(condition)
            digest.update(f"{condition}\0{tuple(found.images.shape)}\0".encode())
            digest.update(found.labels.numpy().astype("<i8").tobytes())
            digest.update(found.images.numpy().data)
        return digest.hexdigest()


def open_outside(
    sets: Mapping[str, str],
    classes: Sequence[str],
    shape: tuple[int, int, int],
    resize: Resize | None,
) -> list[OutsideSet]:
    """Check the outside sets {name: path} and give them in order. Reads labels and headers alone.

    `classes` and `shape` (channels, height, width) are the data set's, and so is `resize`: it
    applies to class folders; arrays must have the data set's size. Raises `ConfigError` for a name
    that cannot be one, `UserError` for whatever does not fit at a path.
    """
    if resize is not None and shape[1:] != (resize.height, resize.width):
        raise ValueError(f"images of shape {shape} are not resized to {resize}")
    found: list[OutsideSet] = []
    for name, path in sets.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError("dataset.outside", name, _NAME_RULE)
        kinds = Kinds()
        with _blaming(name, path):
            place = _place(path)
            if place.is_file() and zipfile.is_zipfile(place):
                conditions, read = _npz(place, classes, shape)
            elif not place.is_dir():
                state = "is no folder and no .npz file" if place.exists() else "does not exist"
                raise UserError(f"{npz_damage(place) if place.is_file() else state}\n  {_FORMS}")
            elif (place / _LABELS).exists():
                conditions, read = _corruptions(place, classes, shape)
            else:
                conditions, read = _class_folders(place, classes, shape, resize, kinds)
        found.append(OutsideSet(name, path, conditions, read, kinds))
    return found


def _place(path: str) -> Path:
    if not path:
        raise UserError(f"is no path\n  {_FORMS}")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"nobody's home folder\n  {_FORMS}") from error


@contextmanager
def _blaming(name: str, path: str) -> Iterator[None]:
    """A `UserError` inside gets the set's key and value in front, an OSError becomes one."""
    start = f"dataset.outside.{name}={show(path)}"
    try:
        yield
    except UserError as error:
        raise UserError(f"{start}: {error}") from error
    except OSError as error:  # of the path itself: those of files are named further in
        why = show(error.strerror or str(error))
        raise UserError(f"{start}: cannot be read: {why}\n  {_FORMS}") from error


# a folder of class folders


def _class_folders(
    place: Path,
    classes: Sequence[str],
    shape: tuple[int, int, int],
    resize: Resize | None,
    kinds: Kinds,
) -> tuple[tuple[str, ...], _Read]:
    if shape[0] not in (1, 3):
        raise UserError(
            f"image files have 1 or 3 channels, the data set {shape[0]}\n"
            "  expected: an .npz file with x_test and y_test"
        )
    found = _scan(place, classes, shape)
    check_memory(len(found.names), shape)
    if not image_cache.holds(found, resize):  # of which all headers were checked
        _check_headers(found, shape, resize)

    @functools.cache
    def read(_: str) -> Images:
        pixels = image_cache.load(found, resize, kinds=kinds, given=shape)
        return Images(torch.from_numpy(pixels), torch.from_numpy(found.labels))

    return ("",), read


def _check_headers(found: Scan, shape: tuple[int, int, int], resize: Resize | None) -> None:
    """Raise `UserError` for files that cannot be read or are of another size."""
    width, height = shape[2], shape[1]
    with warnings.catch_warnings(action="ignore"):  # Pillow's remarks on odd metadata
        for name in [each for each in found.names if each not in dict(found.broken)]:
            try:
                with opened(found.root, name, resize) as image:
                    fits = image.size == (width, height) or upright_size(image) == (width, height)
                    if resize is None and not fits:
                        raise UserError(
                            f"{show(name)} is {image.width}x{image.height} pixels, the data set's are "
                            f"{width}x{height}\n  give it their size, or set dataset.resize=<side> for "
                            "dataset=image_folder"
                        )
            except UnreadableError as error:
                found.broken.append((name, error.why))
    if found.broken:
        raise unreadable_files(found.broken, len(found.names))


def _scan(place: Path, classes: Sequence[str], shape: tuple[int, int, int]) -> Scan:
    """The image files of all class folders, sorted by class folder and name. Opens none."""
    folders = class_folders(str(place))
    if not folders:
        raise UserError(f"holds neither class folders nor {_LABELS}\n  {_FORMS}")
    # FashionMNIST has the class T-shirt/top, which no folder can be called.
    allowed = [name.replace("/", "_") for name in classes]
    # as image_folder.scan names the classes of folders that cannot be printed
    called = {folder if folder.isprintable() else show(folder): folder for folder in folders}
    found = counterparts(allowed, list(called))
    index_of = {called[name]: index for index, name in enumerate(found) if name}
    unknown = [folder for folder in folders if folder not in index_of]
    if unknown:
        raise UserError(
            f"not classes of the data set: {show(unknown)}\n"
            f"  expected: class folders with names of {show(allowed)}"
        )
    listed: list[File] = []
    labels: list[int] = []
    broken: list[tuple[str, str]] = []
    for folder in folders:
        mine = sorted(files(str(place), folder, Counter(), broken))
        if not mine:
            raise UserError(f"class folder {show(folder)} holds no image\n  add some, or remove it")
        # Class 0 throughout: the cached pixels serve data sets that count the classes otherwise.
        listed += [(name, 0, size, time, put) for name, size, time, put in mine]
        labels += [index_of[folder]] * len(mine)
    return Scan(
        str(place),
        list(classes),
        [name for name, *_ in listed],
        np.array(labels, np.int64),
        0,
        fingerprint(listed, f"outside {shape}"),
        broken=broken,
        variant=f"outside-{shape[0]}",
    )


# arrays


def _npz(
    place: Path, classes: Sequence[str], shape: tuple[int, int, int]
) -> tuple[tuple[str, ...], _Read]:
    file, (channels, height, width) = show(place.name), shape
    (size, dtype), (label_size, label_dtype) = npz_headers(
        place, ("x_test", "y_test"), "uint8 images x_test and class numbers y_test"
    )
    last, first = (height, width, channels), (channels, height, width)
    said = f"{file}: x_test is {show(dtype)} {list(size)}"
    layouts = [last, first, (height, width)] if channels == 1 else [last, first]
    if dtype != np.uint8 or size[1:] not in layouts or size[0] < 1:
        expected = " or ".join(f"[N, {', '.join(map(str, layout))}]" for layout in layouts)
        raise UserError(f"{said}\n  expected: uint8 {expected}")
    if last == first:
        raise UserError(f"{said}: are its channels first or last?\n  expected: any other size")
    check_memory(size[0], shape)
    if label_dtype.kind not in "iu" or label_size not in ((size[0],), (size[0], 1)):
        raise UserError(
            f"{file}: y_test is {show(label_dtype)} {list(label_size)}\n"
            f"  expected: integers [{size[0]}] or [{size[0]}, 1], a class number for each image"
        )
    labels = known_numbers(f"{file}: y_test", array(place, "y_test").reshape(-1), classes)

    @functools.cache
    def read(_: str) -> Images:
        pixels = _unchanged(file, array(place, "x_test"), size)
        if size[1:] == (height, width):
            pixels = pixels[:, None]
        elif size[1:] == last:
            pixels = pixels.transpose(0, 3, 1, 2)
        return _copied(pixels, labels)

    return ("",), read


def _corruptions(
    place: Path, classes: Sequence[str], shape: tuple[int, int, int]
) -> tuple[tuple[str, ...], _Read]:
    size, dtype = npy_header(place / _LABELS)
    if dtype.kind not in "iu" or len(size) != 1 or size[0] % SEVERITIES or size[0] < SEVERITIES:
        raise UserError(
            f"{_LABELS} is {show(dtype)} {list(size)}\n  expected: integers [5 * M], "
            "the class numbers of 5 severities one after another"
        )
    labels = known_numbers(_LABELS, array(place / _LABELS), classes)
    files = sorted(p for p in place.iterdir() if p.suffix == ".npy" and p.name[0] != ".")
    files = [path for path in files if path.name != _LABELS]
    if not files:
        raise UserError(f"holds {_LABELS} and no other file that ends with .npy\n  {_FORMS}")
    expected = (len(labels), *shape[1:], shape[0])
    for path in files:
        if not _NAME.fullmatch(path.stem):
            raise UserError(
                f"{show(path.name)} does not name a corruption\n"
                "  expected: <corruption>.npy with 1 to 50 letters, digits, '.', '_', '-'"
            )
        size, dtype = npy_header(path)
        if dtype != np.uint8 or size != expected:
            raise UserError(
                f"{show(path.name)} is {show(dtype)} {list(size)}\n  expected: uint8 {list(expected)}"
            )
    count = len(labels) // SEVERITIES
    check_memory(count, shape)

    def read(condition: str) -> Images:
        corruption, _, severity = condition.rpartition("_")
        path = place / f"{corruption}.npy"
        part = slice((int(severity) - 1) * count, int(severity) * count)
        pixels = _unchanged(show(path.name), array(path), expected)
        return _copied(pixels[part].transpose(0, 3, 1, 2), labels[part])

    severities = range(1, SEVERITIES + 1)
    return tuple(f"{path.stem}_{severity}" for path in files for severity in severities), read


def _unchanged(file: str, pixels: NDArray[Any], expected: tuple[int, ...]) -> NDArray[Any]:
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise UserError(f"{file} has changed since it was checked\n  run the command again")
    return pixels


def _copied(pixels: NDArray[Any], labels: NDArray[np.int64]) -> Images:
    """From uint8 [N, C, H, W] in any order of memory; copied, because it may lie in a file."""
    return Images(torch.from_numpy(np.array(pixels, order="C")), torch.from_numpy(labels))
