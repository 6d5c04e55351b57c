"""One image file to pixels: opened by its header, checked, converted. Raises errors that name it.

Everything is converted to RGB, or to one channel where every image is greyscale; transparency is laid
over white, 16-bit grey is scaled to 8 bits, palettes and CMYK are converted, EXIF rotation is ignored
(as torchvision ignores it).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hiddenmix.config import UserError, show

# A file is read as one of these or refused, whatever its extension says: Pillow's other readers
# include PostScript, which would start an interpreter for it.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")

MAX_PIXELS = 2**26
"""Larger images (8192x8192) are refused by their header and never decoded."""

MIN_SIDE = 8


def unreadable(name: str, error: Exception) -> UserError:
    if isinstance(error, UnidentifiedImageError):
        why = "is not an image of a known format"
    else:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = f"cannot be read: {show(text or type(error).__name__)}"
    return UserError(f"{show(name)} {why}\n  replace or remove it")


def is_grey(root: str, name: str) -> bool:
    """Whether the file's pixels are shades of grey."""
    with opened(root, name) as image:
        return image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")


@contextmanager
def opened(root: str, name: str) -> Iterator[Image.Image]:
    """An image whose header is read and whose size is bounded; any error inside names the file."""
    try:
        with Image.open(f"{root}{os.sep}{name}", formats=_FORMATS) as image:
            _check_pixels(image)
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{show(name)} is too large to decode\n  allowed: at most {MAX_PIXELS:,} pixels"
        ) from error
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise unreadable(name, error) from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError


def decode_files(
    root: str, names: list[str], shape: tuple[int, int, int], resize: int | None
) -> NDArray[np.uint8]:
    """Decode files into uint8 [N, C, H, W]. Raises `UserError`, which names the file."""
    channels, height, width = shape
    images = np.empty((len(names), *shape), np.uint8)
    with warnings.catch_warnings(action="ignore"):  # Pillow's remarks on odd metadata
        for index, name in enumerate(names):
            with opened(root, name) as image:
                if resize is None and image.size != (width, height):
                    raise UserError(
                        f"{show(name)} is {image.width}x{image.height} pixels, others "
                        f"{width}x{height}\n  set dataset.resize=<side> to resize all images"
                    )
                pixels = np.asarray(_convert(image, "L" if channels == 1 else "RGB", resize))
                images[index] = pixels if channels == 1 else pixels.transpose(2, 0, 1)
    return images


def _convert(image: Image.Image, mode: str, resize: int | None) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit floats; convert it to 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels have more than 16 bits; convert it to 8 or 16 bits")
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer)
    if image.mode != mode:
        image = image.convert(mode)
    if resize is not None and image.size != (resize, resize):
        # Pillow's bilinear filter widens as it shrinks, which avoids aliasing
        image = image.resize((resize, resize), Image.Resampling.BILINEAR)
    return image
