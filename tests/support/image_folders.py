"""Folders of images made for tests."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiddenmix.config import DatasetConfig
from hiddenmix.data.decoding import decode, shape_of_files
from hiddenmix.data.image_files import LARGEST, Kinds
from hiddenmix.data.image_folder import Scan
from hiddenmix.data.image_folder import scan as scan_folder
from hiddenmix.data.resizing import Resize

Pixels = NDArray[np.uint8]


def pixels(seed: int, channels: int = 3, side: int = 10) -> Pixels:
    size = (side, side, channels) if channels > 1 else (side, side)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def make_folder(root: Path, images: int = 2, side: int = 10, channels: int = 3) -> Path:
    """train/ and test/ with the classes cat and dog, `images` PNG files each."""
    seed = 0
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(images):
                Image.fromarray(pixels(seed, channels, side)).save(folder / f"{index}.png")
                seed += 1
    return root


def scan(root: Path | str, **options: Any) -> Scan:
    """The files of an image folder; `options` are keys of `dataset`."""
    return scan_folder(DatasetConfig(name="image_folder", root=str(root), **options))


def square(side: int | None) -> Resize | None:
    return None if side is None else Resize(side, side)


def load(root: Path, resize: int | None = None) -> Pixels:
    found = scan(root)
    return decode(found, shape_of_files(found, square(resize)), square(resize))


def read_one(root: Path, name: str, content: bytes) -> tuple[Pixels, Kinds]:
    """A file's pixels among those of the folder of `make_folder`, and what is said of all."""
    (root / "train" / "cat" / "0.png").unlink(missing_ok=True)
    (root / "train" / "cat" / name).write_bytes(content)
    found, kinds = scan(root), Kinds()
    assert found.names[0] == f"train/cat/{name}"
    images = decode(found, shape_of_files(found, None), None, kinds=kinds)
    kinds.pop(LARGEST, None)
    return images[0], kinds
