"""Folders of images made for tests."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiddenmix.data.decoding import decode, image_shape
from hiddenmix.data.image_folder import scan

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


def load(root: Path, resize: int | None = None) -> Pixels:
    found = scan(str(root))
    return decode(found, image_shape(found, resize), resize)
