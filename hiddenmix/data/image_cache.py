"""Decoded image folders on disk: opened in well under a second, rebuilt whenever in doubt.

One safetensors file beside the images (`root/.hiddenmix/`), or below the user's cache folder where
the root cannot be written. Nothing in it can execute, and it is used only if the fingerprint (all
images' names, sizes and times), shape and checksum fit. Of any number of processes that need it at
once, one decodes and the others wait for it.
"""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import show
from hiddenmix.data.decoding import Progress, decode, shape_of_files
from hiddenmix.data.image_files import Kinds
from hiddenmix.data.image_folder import Scan
from hiddenmix.data.resizing import Resize
from hiddenmix.system import LockError, hold

_VERSION = "3"  # of this file's layout and of the conversions in image_files.py
_TENSOR = "images"


def shape(found: Scan, resize: Resize | None) -> tuple[int, int, int]:
    """`shape_of_files`, or the same from the cache, which saves opening files. Raises `UserError`."""
    for path in _places(found, resize):
        try:
            channels, height, width = _check_header(path, found)[1:]
        except Exception:  # noqa: S112 - absent, stale or damaged in any way
            continue
        return channels, height, width
    return shape_of_files(found, resize)


def holds(found: Scan, resize: Resize | None) -> bool:
    """Whether the images lie in the cache, as its header says."""
    for path in _places(found, resize):
        try:
            _check_header(path, found)
        except Exception:  # noqa: S112 - absent, stale or damaged in any way
            continue
        return True
    return False


def load(
    found: Scan,
    resize: Resize | None,
    progress: Progress | None = None,
    kinds: Kinds | None = None,
    given: tuple[int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """All images of `found` as uint8 [N, C, H, W], from the cache or decoded and then cached.

    `kinds` gets what was converted; `given` is the shape [C, H, W] to decode to, which must then be part
    of the fingerprint; without it, that of the files. Raises `UserError` for files that cannot be
    decoded. Warns where the cache cannot be written.
    """
    kinds = Kinds() if kinds is None else kinds
    if found.broken:
        given = given or shape_of_files(found, resize)
        return decode(found, given, resize, progress)  # raises, naming them all
    places = _places(found, resize)
    for path in places:
        images = _read(path, found, kinds)
        if images is not None:
            return images
    with _locked(places, progress) as place:
        if place is not None:
            images = _read(place, found, kinds)  # another process may have built it meanwhile
            if images is not None:
                return images
        given = given or shape_of_files(found, resize)
        images = decode(found, given, resize, progress, kinds=kinds)
        if place is not None:
            _write(place, images, found.fingerprint, kinds)
    return images


def _places(found: Scan, resize: Resize | None) -> list[Path]:
    """Where the cache file may lie, best first; one for each size and choice of folders."""
    size = resize.name if resize is not None else "original"
    name = f"images-{size}{'-' if found.variant else ''}{found.variant}.safetensors"
    real = Path(found.root).resolve()
    digest = hashlib.blake2b(os.fsencode(real), digest_size=8).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    beside = real / ".hiddenmix"
    # A link there would take the writing elsewhere.
    places = [] if beside.is_symlink() else [beside / name]
    return [*places, home / "hiddenmix" / f"{digest}-{name}"]


def _check_header(path: Path, found: Scan) -> tuple[int, ...]:
    """The shape of a cache whose header fits `found`; any exception otherwise. Reads no pixels."""
    from safetensors import safe_open

    if not path.is_file():  # opening a pipe would wait for ever
        raise FileNotFoundError(path)
    with safe_open(path, framework="np") as file:
        size = tuple(file.get_slice(_TENSOR).get_shape())
        said = file.metadata()
        dtype = file.get_slice(_TENSOR).get_dtype()
    expected = {"version": _VERSION, "fingerprint": found.fingerprint, "shape": str(size)}
    if {key: said.get(key) for key in expected} != expected or dtype != "U8":
        raise ValueError("another version or other images")
    if len(size) != 4 or size[0] != len(found.names):
        raise ValueError("another number of images")
    return size


def _read(path: Path, found: Scan, kinds: Kinds) -> NDArray[np.uint8] | None:
    """The cached images, or None where the file is absent, stale or damaged in any way."""
    from safetensors import safe_open

    try:
        _check_header(path, found)
        with safe_open(path, framework="np") as file:
            images: NDArray[np.uint8] = file.get_tensor(_TENSOR)
            said = file.metadata()["kinds"]
            if file.metadata()["crc32"] != _checksum(images, said):
                return None
            converted = json.loads(said)
    except Exception:  # however it is damaged, a cache can be built again from the images
        return None
    kinds.update(converted)
    return images


@contextmanager
def _locked(places: list[Path], progress: Progress | None) -> Iterator[Path | None]:
    """The first place that can be written, locked against other builders; None if there is none."""
    for path in places:
        lock = path.with_name(f"{path.name}.lock")
        with ExitStack() as held:
            try:
                if not held.enter_context(hold(lock, timeout=0)):
                    if progress is not None:
                        progress("waiting for another run that decodes images", 0, 1)
                    held.enter_context(hold(lock))
            except (OSError, LockError):  # read-only, a link, or a file system without locks
                continue
            yield path
            return
    _warn(places[-1], "no folder for it can be written")
    yield None


def _write(path: Path, images: NDArray[np.uint8], fingerprint: str, kinds: Kinds) -> None:
    """Write the cache whole or not at all; the caller holds its lock. Warns where that fails.

    By hand, because safetensors' own writer first copies all pixels in memory.
    """
    metadata = {
        "version": _VERSION,
        "fingerprint": fingerprint,
        "shape": str(images.shape),
        "crc32": _checksum(images, json.dumps(kinds)),
        "kinds": json.dumps(kinds),
    }
    tensor = {"dtype": "U8", "shape": images.shape, "data_offsets": [0, images.nbytes]}
    header = json.dumps({"__metadata__": metadata, _TENSOR: tensor}).encode()
    header += b" " * (-len(header) % 8)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        try:
            with temporary.open("xb") as file:
                file.write(len(header).to_bytes(8, "little"))
                file.write(header)
                file.write(images.data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        _warn(path, error.strerror or str(error))


def _checksum(images: NDArray[np.uint8], kinds: str) -> str:
    return str(zlib.crc32(images.data, zlib.crc32(kinds.encode())))


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut, where folders can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _warn(path: Path, why: str) -> None:
    message = f"the decoded images are not cached at {show(path)}: {why}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
