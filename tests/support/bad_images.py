"""Image files that must be refused."""

import io
import struct
import zlib

from PIL import Image, PngImagePlugin

from tests.support.image_folders import pixels
from tests.support.raw_images import chunk


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG that says it is side x side, in 100 bytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 3_000_000, zip=True)  # three times what Pillow unpacks
    buffer = io.BytesIO()
    Image.fromarray(pixels(0)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
