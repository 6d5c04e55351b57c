"""One image file to pixels: opened by its header, checked, converted. Raises errors that name it.

Everything is converted to RGB, or to one channel where every image is greyscale; images are turned
upright as EXIF says, transparency is laid over white, 16 bits are scaled to 8, palettes and CMYK are
converted, colour profiles are not applied. Of several frames the first is taken.
"""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, features

from hiddenmix.config import UserError, show
from hiddenmix.data.resizing import Resize
from hiddenmix.data.strangers import what_it_is

# A file is read as one of these or refused, whatever its extension says: Pillow's other readers
# include PostScript, which would start an interpreter for it.
_FORMATS = (
    *(
        "JPEG",
        "PNG",
        "PPM",
        "BMP",
        "TIFF",
        "WEBP",
        "GIF",
        "JPEG2000",
        "DIB",
        "PCX",
        "QOI",
        "SGI",
        "SUN",
    ),
    *(("AVIF",) if "avif" in features.modules and features.check("avif") else ()),
)

EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),  # torchvision's
    *(".jpe", ".jif", ".jfif", ".mpo", ".gif", ".apng", ".pbm", ".pnm", ".dib", ".pcx"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".qoi", ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".tga"),
    *((".avif", ".avifs") if "AVIF" in _FORMATS else ()),
)
"""What a file that counts as an image ends with, in small letters; others are skipped, and counted."""

MAX_PIXELS = 2**26
"""Larger images (8192x8192) are refused by their header and never decoded, but for JPEGs that are
resized: these are decoded at a half to an eighth of their size."""

MIN_SIDE = 8

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation: what turns the stored pixels upright."""

_STORED = "stored as"
"""The key of `Image.info` under which `opened` leaves `_stored`."""

LARGEST = "largest 16-bit value"
"""The one entry of `Kinds` that is no count."""

Kinds = Counter[str]
"""How many images were converted from what, by words such as "in CMYK"."""


def conversions(kinds: Kinds) -> list[str]:
    """What to say of what was converted, a line each."""
    counts = {kind: count for kind, count in kinds.items() if kind != LARGEST}
    said = (
        [f"converted: {', '.join(f'{n:,} {kind}' for kind, n in counts.items())}"] if counts else []
    )
    levels = (kinds[LARGEST] * 255 + 32767) // 65535 + 1
    if counts.get("of 16 bits") and levels <= 128:
        said.append(
            f"warning: the largest 16-bit value is {kinds[LARGEST]:,} of 65,535, so that {levels} of 256 "
            "grey levels are left; scale the images to 16 bits first"
        )
    return said


class UnreadableError(UserError):
    """A file that cannot be decoded: `name` and `why` are for messages about many such files."""

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"{show(name)} {why}\n  replace or remove it")


def unreadable(name: str, error: Exception) -> UnreadableError:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UnreadableError(name, f"cannot be read: {show(text or type(error).__name__)}")


def is_grey(image: Image.Image) -> bool:
    """Whether the pixels of an opened file are shades of grey."""
    return image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")


@contextmanager
def opened(root: str, name: str, resize: Resize | None = None) -> Iterator[Image.Image]:
    """An image whose header is read and whose size is bounded; any error inside names the file.

    `resize`: what it will be brought to, if anything, so that a large JPEG need not be decoded whole.
    """
    try:
        # TGA has no mark at its beginning: nearly anything can be taken for it.
        formats = (*_FORMATS, "TGA") if name.lower().endswith(".tga") else _FORMATS
        with Image.open(f"{root}{os.sep}{name}", formats=formats) as image:
            if resize is not None and image.width * image.height > MAX_PIXELS:
                side = 2 * max(resize.height, resize.width)
                image.draft(image.mode, (side, side))  # of a JPEG; others stay as they are
            _check_pixels(image)
            # Known until the pixels are loaded, as reading metadata may do.
            image.info[_STORED] = _stored(image)
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        why = (
            f"is too large to decode (allowed: at most {MAX_PIXELS:,} pixels, of a JPEG with "
            "dataset.resize more)"
        )
        raise UnreadableError(name, why) from error
    except UnidentifiedImageError as error:
        found = what_it_is(f"{root}{os.sep}{name}")
        raise UnreadableError(name, found or "is not an image of a known format") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise unreadable(name, error) from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError


def _transposition(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return _UPRIGHT.get(orientation)  # type: ignore[arg-type]
    except Exception:  # metadata that are damaged leave the pixels as they are stored
        return None


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an opened image once it is turned upright. May decode it."""
    width, height = image.size
    # Pillow gives a TIFF's sides, and its pixels, upright already.
    turn = None if image.format == "TIFF" else _transposition(image)
    lies = turn is not None and turn in [_UPRIGHT[each] for each in (5, 6, 7, 8)]
    return (height, width) if lies else (width, height)


def decode_files(
    root: str,
    names: list[str],
    shape: tuple[int, int, int],
    resize: Resize | None,
    kinds: Kinds,
    broken: list[tuple[str, str]],
) -> NDArray[np.uint8]:
    """Decode files into uint8 [N, C, H, W]. Raises `UserError` for an image of another size.

    `kinds` gets what was converted; `broken` (name, why) of the files that cannot be read, whose pixels
    mean nothing.
    """
    channels, height, width = shape
    images = np.empty((len(names), *shape), np.uint8)
    with warnings.catch_warnings(action="ignore"):  # Pillow's remarks on odd metadata
        for index, name in enumerate(names):
            try:
                with opened(root, name, resize) as image:
                    if resize is None and upright_size(image) != (width, height):
                        raise UserError(
                            f"{show(name)} is {'x'.join(map(str, upright_size(image)))} pixels, "
                            f"others {width}x{height}\n  set dataset.resize=<side> to resize all images"
                        )
                    found = _convert(image, "L" if channels == 1 else "RGB", kinds)
                    pixels = np.asarray(resize.apply(found) if resize is not None else found)
            except UnreadableError as error:
                broken.append((name, error.why))
                continue
            images[index] = pixels if channels == 1 else pixels.transpose(2, 0, 1)
    return images


def picture_as_bytes(image: Image.Image, kinds: Kinds) -> Image.Image:
    """An image of any mode in mode L if it is grey, else in RGB, converted as those of files. `kinds`
    gets what was converted."""
    known = {_STORED: _stored(image)} | image.info
    image.info = dict(known)
    try:
        return _convert(image, "L" if is_grey(image) else "RGB", kinds)
    finally:
        image.info |= known  # it may be taken again


def _convert(image: Image.Image, mode: str, kinds: Kinds) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit floats; convert it to 8 or 16 bits")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        kinds["of several frames (the first is taken)"] += 1
    tiff_turn = image.format == "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    transparent, stored = image.has_transparency_data, image.info.get(_STORED, "")
    image.load()
    turn = None if image.format == "TIFF" else _transposition(image)
    if tiff_turn or turn is not None:
        kinds["turned upright (EXIF)"] += 1
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bits(image, kinds)
    elif re.match(r"(RGB[AaX]?|LA|CMYK)X*;16", stored):  # of which Pillow takes the high bytes
        colours = [band for band in image.getbands() if band != "A"]
        largest = max(int(image.getchannel(band).getextrema()[1]) for band in colours)  # type: ignore[arg-type]
        _count_16_bits(kinds, largest * 257)
    if transparent or image.has_transparency_data:
        kinds["with transparency (laid over white)"] += 1
        _scale_clear_value(image, stored)
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer)
    if image.mode == "CMYK":
        kinds["in CMYK"] += 1
    if image.mode != mode:
        image = image.convert(mode)
    return image if turn is None else image.transpose(turn)


def _stored(image: Image.Image) -> str:
    """How the file stores the pixels, in Pillow's words, such as `RGB;16B`."""
    for tile in getattr(image, "tile", ()):
        how = tile[3]
        return str(how[0]) if isinstance(how, tuple) and how else str(how)
    return ""


def _scale_clear_value(image: Image.Image, stored: str) -> None:
    """Bring a PNG's transparent value from the file's bits to 8, as Pillow has the pixels by now."""
    clear = image.info.get("transparency")
    if stored.startswith("RGB;16") and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif stored in ("L;2", "L;4") and isinstance(clear, int):
        image.info["transparency"] = clear * (85 if stored == "L;2" else 17)


def _count_16_bits(kinds: Kinds, largest: int) -> None:
    kinds["of 16 bits"] += 1
    kinds[LARGEST] = max(kinds[LARGEST], largest)


def _eight_bits(image: Image.Image, kinds: Kinds) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0:
        raise ValueError("its pixels are negative; convert it to 8 or 16 bits without sign")
    if values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits; convert it to 8 or 16 bits")
    if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
        values = 65535 - values  # 0 is white, which Pillow heeds up to 8 bits alone
    _count_16_bits(kinds, int(values.max()))
    pixels = ((values * 255 + 32767) // 65535).astype(np.uint8)
    clear = image.info.get("transparency")  # of 16 bits too, which Pillow would compare with 8
    if not isinstance(clear, int):
        return Image.fromarray(pixels)
    opaque = np.where(values == clear, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(pixels), Image.fromarray(opaque)))
