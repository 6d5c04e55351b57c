"""Folders of images: which files count, their classes and their fingerprint. Opens no file.

A folder holds `train/<class>/*` and `test/<class>/*`, files anywhere below their class.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import UserError, show
from hiddenmix.data.image_files import unreadable

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image, as in torchvision's ImageFolder; other files are ignored."""
_LAYOUT = "expected: train/<class>/* and test/<class>/* with the same two or more classes"


@dataclass(frozen=True)
class Scan:
    """The files of a folder: training images first, each split sorted by class and name."""

    root: str
    classes: list[str]
    names: list[str]  # paths below root
    labels: NDArray[np.int64]
    train_size: int
    fingerprint: str


def scan(root: str) -> Scan:
    """List the images below `root` without opening them. Raises `UserError` for a wrong layout."""
    folders, test = _class_folders(root, "train"), _class_folders(root, "test")
    if folders != test:
        sides = {"train": sorted({*folders} - {*test}), "test": sorted({*test} - {*folders})}
        parts = [f"only in {split}/: {show(names)}" for split, names in sides.items() if names]
        raise UserError(f"train/ and test/ differ in classes, {'; '.join(parts)}\n  {_LAYOUT}")
    if len(folders) < 2:
        raise UserError(f"dataset.root={show(root)} has {len(folders)} class(es)\n  {_LAYOUT}")
    digest = hashlib.blake2b(digest_size=16)
    names: list[str] = []
    labels: list[int] = []
    train_size = 0
    for split in ("train", "test"):
        train_size = len(names)
        for label, folder in enumerate(folders):
            found = sorted(files(root, f"{split}{os.sep}{folder}"))
            if not found:
                raise UserError(
                    f"class folder {show(f'{split}/{folder}')} holds no image\n"
                    f"  expected: at least one file that ends with {', '.join(EXTENSIONS)}"
                )
            for name, size, time in found:
                # os.fsencode: names need not be valid UTF-8; NUL is in none of them
                digest.update(os.fsencode(f"{label}\0{name}\0{size}\0{time}\0"))
                names.append(name)
            labels += [label] * len(found)
    classes = [folder if folder.isprintable() else show(folder) for folder in folders]
    return Scan(root, classes, names, np.array(labels, np.int64), train_size, digest.hexdigest())


def _class_folders(root: str, split: str) -> list[str]:
    try:
        with os.scandir(f"{root}{os.sep}{split}") as entries:
            return sorted(e.name for e in entries if e.name[0] != "." and is_folder(e))
    except PermissionError as error:
        raise unreadable(split, error) from error
    except OSError:  # absent, not a folder, or a link that leads nowhere
        raise UserError(f"dataset.root={show(root)} has no folder {split}/\n  {_LAYOUT}") from None


def files(root: str, start: str) -> Iterator[tuple[str, int, int]]:
    """(path below root, size, mtime in ns) of every image below `start`.

    Links to folders are followed, as torchvision does, but each folder is entered once, so a link
    that leads back up ends there.
    """
    pending, entered = [start], set[tuple[int, int]]()
    while pending:
        name = pending.pop()
        try:
            status = os.stat(f"{root}{os.sep}{name}")  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}{os.sep}{name}") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise unreadable(name, error) from error
        for entry in listed:
            child = f"{name}{os.sep}{entry.name}"
            if entry.name.startswith("."):
                continue
            if is_folder(entry):
                pending.append(child)
            elif entry.name.lower().endswith(EXTENSIONS):
                yield _file(child, entry)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(name: str, entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        status = entry.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UserError(f"{show(name)} is not a regular file\n  remove it")
    if status.st_size == 0:
        raise UserError(f"{show(name)} is empty (0 bytes)\n  replace or remove it")
    return name, status.st_size, status.st_mtime_ns
