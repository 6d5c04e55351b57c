"""Arrays in NumPy's files: their headers first, then their content; never a pickle."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import UserError, show
from hiddenmix.data.image_files import unreadable
from hiddenmix.data.strangers import what_it_is

Header = tuple[tuple[int, ...], np.dtype[Any]]
"""An array's shape and type."""


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Any error inside names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on a damaged file
        raise unreadable(file, error) from error


def npy_header(path: Path) -> Header:
    with reading(path.name):
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            return _header(file, path.stat().st_size)


def array(path: Path, key: str = "") -> NDArray[Any]:
    """The array `key` of an `.npz` file, or an `.npy` file's, of which only what is used is read."""
    with reading(path.name):
        found = np.load(path, mmap_mode=None if key else "r", allow_pickle=False)
        with found if key else nullcontext():
            array: NDArray[Any] = found[key] if key else found
    return array


def _header(file: IO[bytes], size: int) -> Header:
    """Shape and type of an array in NumPy's format. ValueError where `size` in bytes is another."""
    if np.lib.format.read_magic(file) != (1, 0):  # later versions are for records
        raise ValueError("it is no plain array")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    need = file.tell() + math.prod(shape) * dtype.itemsize
    if size != need and not dtype.hasobject:  # a pickle has any size, and its type is refused
        raise ValueError(f"it has {size:,} bytes, by its header {need:,}")
    return shape, dtype


def npz_headers(place: Path, keys: Sequence[str], expected: str) -> list[Header]:
    """The headers of the arrays `keys` of an `.npz` file. Raises `UserError`, also where one lacks."""
    headers: list[Header] = []
    with reading(place.name), zipfile.ZipFile(place) as archive:
        for key in keys:
            if f"{key}.npy" not in archive.namelist():
                names = [name.removesuffix(".npy") for name in sorted(archive.namelist())]
                raise UserError(
                    f"{show(place.name)} holds no {key}, only {show(names)}\n  expected: {expected}"
                )
            with archive.open(f"{key}.npy") as file:
                headers.append(_header(file, archive.getinfo(f"{key}.npy").file_size))
    return headers


def npz_damage(place: Path) -> str:
    """What a file is that is no zip archive: half a sentence."""
    with place.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        return "is cut short: copy or download it again"
    if start == b"\x93NUMPY":
        return "is a single array (.npy)"
    return what_it_is(place, "an .npz file") or "is no .npz file"
