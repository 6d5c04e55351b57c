"""What a file is that is not what its name says: half a download, a pointer, another format."""

import re
from pathlib import Path

from hiddenmix.config import show

_BEGINNINGS = (
    (rb"(?i)\s*<(!doctype html|html|head|body)", "is a web page: its download failed"),
    (rb"version https://git-lfs", "is a pointer of Git LFS: git lfs pull brings the file"),
    (rb"/annex/objects/", "is a pointer of git-annex: git annex get brings the file"),
    (rb"\0\x05\x16\x07", "is what a Mac keeps beside a file"),
    (rb"\0+$", "holds zeros alone: it was not written to its end"),
    (
        rb"(?s)....ftyp(hei|hev|mif1|msf1)",
        "is an HEIC image, which Pillow does not read; convert it to JPEG",
    ),
    (rb"(?s)....ftyp", "is a video"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "is a JPEG XL image, which Pillow does not read; convert it"),
    (
        rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
        "is a TIFF of a kind that Pillow does not read; convert it to 8 or 16 bits a channel",
    ),
    (rb"8BPS", "is a project of Photoshop: export it as an image"),
    (rb"%PDF", "is a PDF"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ", "is an archive: unpack it"),
    (rb"(?i)\s*<(\?xml|svg|error)", "is XML or SVG"),
)


def what_it_is(path: str | Path, wanted: str = "an image") -> str:
    """A half sentence, such as "is a web page: its download failed"; empty where nothing is known.

    Of text, which a server's error may be, it shows the beginning. OSError where the file is not there.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - names need not be valid for Path's methods
        start = file.read(64)
    if not start:
        return "is empty (0 bytes)"
    known = next((says for pattern, says in _BEGINNINGS if re.match(pattern, start)), "")
    if known:
        return known
    line = start.splitlines()[0].decode("ascii", "replace")
    words = line.replace("\t", " ").strip()
    return f"is not {wanted} but text: {show(words)}" if words and words.isprintable() else ""
