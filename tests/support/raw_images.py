"""Image files of forms that Pillow reads and does not write, byte by byte."""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG, with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(
    values: NDArray[np.integer[Any]], kind: int, depth: int, clear: tuple[int, ...] = ()
) -> bytes:
    """A PNG (ISO 15948) of `values` [H, W] or [H, W, C] of `depth` bits.

    `kind` is its colour type: 0 grey, 2 RGB, 4 grey with alpha, 6 RGBA; `clear` is the colour that is
    transparent.
    """
    rows = b""
    for row in values:
        digits = "".join(f"{int(value):0{depth}b}" for value in row.ravel())
        digits += "0" * (-len(digits) % 8)
        rows += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    size = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0)
    transparent = chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + transparent
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def raw_tiff(values: NDArray[Any], photometric: int) -> bytes:
    """A TIFF (6.0) of `values` [H, W] or [H, W, C] in their own type, little-endian, not packed.

    `photometric`: 0 where 0 is white, 1 where it is black, 2 for RGB.
    """
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = values.dtype.itemsize * 8
    tags: list[tuple[int, str, list[int]]] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [bits] * samples),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", [0]),
        (277, "H", [samples]),
        (278, "I", [height]),
        (279, "I", [values.nbytes]),
        (339, "H", [sample_format] * samples),
    ]
    end = 8 + 2 + 12 * len(tags) + 4
    lists = sum(len(each) * 2 for _, kind, each in tags if kind == "H" and len(each) > 2)
    directory, beyond = struct.pack("<H", len(tags)), b""
    for tag, kind, numbers in tags:
        content = struct.pack(f"<{len(numbers)}{kind}", *([end + lists] if tag == 273 else numbers))
        if len(content) > 4:
            content, beyond = struct.pack("<I", end + len(beyond)), beyond + content
        directory += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers))
        directory += content.ljust(4, b"\0")
    pixels = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return b"II" + struct.pack("<HI", 42, 8) + directory + b"\0\0\0\0" + beyond + pixels
