"""Folders of images as one uint8 array: found, checked, decoded on all cores, and cached.

A folder holds `train/<class>/*` and `test/<class>/*`, files anywhere below their class. Everything
is converted to RGB, or to one channel where every image is greyscale; transparency is laid over
white, 16-bit grey is scaled to 8 bits, palettes and CMYK are converted, EXIF rotation is ignored
(as torchvision ignores it). No torch here: decoding processes start by importing this module.

The cache is one safetensors file: nothing in it can execute, and it is used only if its fingerprint
(names, sizes and times of all files), shape and checksum fit.
"""

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hiddenmix.config import UserError, show

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image, as in torchvision's ImageFolder; other files are ignored."""

# A file is read as one of these or refused, whatever its extension says: Pillow's other readers
# include PostScript, which would start an interpreter for it.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")

MAX_PIXELS = 2**26
"""Larger images (8192x8192) are refused by their header and never decoded."""

MIN_SIDE = 8
_SERIAL_FILES = 2000  # fewer are decoded sooner than decoding processes start
_CHUNK_FILES = 64
_MAX_PROCESSES = 32
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
            found = sorted(_files(root, f"{split}{os.sep}{folder}"))
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
            return sorted(e.name for e in entries if e.name[0] != "." and _is_folder(e))
    except PermissionError as error:
        raise _unreadable(split, error) from error
    except OSError:  # absent, not a folder, or a link that leads nowhere
        raise UserError(f"dataset.root={show(root)} has no folder {split}/\n  {_LAYOUT}") from None


def _files(root: str, start: str) -> Iterator[tuple[str, int, int]]:
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
            raise _unreadable(name, error) from error
        for entry in listed:
            child = f"{name}{os.sep}{entry.name}"
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                pending.append(child)
            elif entry.name.lower().endswith(EXTENSIONS):
                yield _file(child, entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(name: str, entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        status = entry.stat()
    except OSError as error:
        raise _unreadable(name, error) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UserError(f"{show(name)} is not a regular file\n  remove it")
    if status.st_size == 0:
        raise UserError(f"{show(name)} is empty (0 bytes)\n  replace or remove it")
    return name, status.st_size, status.st_mtime_ns


def _unreadable(name: str, error: Exception) -> UserError:
    if isinstance(error, UnidentifiedImageError):
        why = "is not an image of a known format"
    else:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = f"cannot be read: {show(text or type(error).__name__)}"
    return UserError(f"{show(name)} {why}\n  replace or remove it")


def image_shape(found: Scan, resize: int | None) -> tuple[int, int, int]:
    """(channels, height, width) of the decoded images, from headers alone.

    The size is the first image's, or `resize` squared; it is one channel if every image is
    greyscale, which takes reading headers up to the first one in colour. Raises `UserError`.
    """
    with warnings.catch_warnings(action="ignore"):
        with _opened(found.root, found.names[0]) as image:
            width, height = (resize, resize) if resize else image.size
        grey = all(_is_grey(found.root, name) for name in found.names)
    if min(width, height) < MIN_SIDE:
        raise UserError(
            f"{show(found.names[0])} is {width}x{height} pixels\n"
            f"  allowed: at least {MIN_SIDE}x{MIN_SIDE}; dataset.resize=<side> resizes all images"
        )
    return 1 if grey else 3, height, width


def _is_grey(root: str, name: str) -> bool:
    with _opened(root, name) as image:
        return image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")


@contextmanager
def _opened(root: str, name: str) -> Iterator[Image.Image]:
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
        raise _unreadable(name, error) from error


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
            with _opened(root, name) as image:
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


def decode(
    found: Scan,
    shape: tuple[int, int, int],
    resize: int | None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> NDArray[np.uint8]:
    """Decode all files into uint8 [N, C, H, W], on all cores if there are many. Raises `UserError`.

    `processes` is for tests and measurements; 1 decodes in this process.
    """
    total = len(found.names)
    images = np.empty((total, *shape), np.uint8)
    if processes is None:
        processes = min(_cores(), _MAX_PROCESSES) if total >= _SERIAL_FILES else 1
    chunks = [slice(at, min(at + _CHUNK_FILES, total)) for at in range(0, total, _CHUNK_FILES)]
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def in_parent(chunk: slice) -> None:
        images[chunk] = decode_files(found.root, found.names[chunk], shape, resize)

    def in_worker(chunk: slice) -> None:
        worker = idle.get()
        try:
            _ask(worker, [found.root, found.names[chunk], shape, resize], images[chunk])
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        workers = _start_workers(stack, min(processes, len(chunks)))
        for worker in workers:
            idle.put(worker)
        threads = ThreadPoolExecutor(max(len(workers), 1))
        stack.callback(threads.shutdown, cancel_futures=True)
        waits = [threads.submit(in_worker if workers else in_parent, chunk) for chunk in chunks]
        for chunk, wait in zip(chunks, waits, strict=True):
            wait.result()  # the first failure in the order of the files
            if progress is not None:
                progress("decoding images", chunk.stop, total)
    return images


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_workers(stack: ExitStack, count: int) -> list[subprocess.Popen[bytes]]:
    """Start decoding processes that end with `stack`; none if they would not pay or cannot start.

    Not multiprocessing: its spawned children import the caller's main script again, which starts
    a script without a `__main__` guard a second time, and torch with it; and a fork copies locks
    that other threads hold.
    """
    if count < 2 or not sys.executable:
        return []
    code = "import sys; sys.path[:] = sys.argv[1:]; import hiddenmix.image_folder as it; it.serve()"
    command = [sys.executable, "-P", "-c", code, *sys.path]
    workers: list[subprocess.Popen[bytes]] = []
    with suppress(OSError):  # as many as the machine allows
        for _ in range(count):
            # In a session of its own: Ctrl-C reaches the parent alone, whose end closes the pipe.
            worker = subprocess.Popen(  # noqa: S603 - our own code, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)
    return workers


def _ask(worker: subprocess.Popen[bytes], job: list[Any], images: NDArray[np.uint8]) -> None:
    """Have `worker` decode `job` into `images`; the counterpart of `serve`."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        worker.stdin.flush()
    except BrokenPipeError:
        with suppress(BrokenPipeError):
            worker.stdin.close()  # else its unsent rest fails again later
    reply = worker.stdout.readline()
    if not reply:
        raise UserError(
            f"a decoding process ended (code {worker.wait()}) near {show(job[1][0])}\n"
            "  too little memory, or a file that crashes the image library"
        )
    message = json.loads(reply)
    if message is not None:
        raise UserError(message)
    pixels = cast(io.BufferedReader, worker.stdout)
    if pixels.readinto(images.data) != images.nbytes:
        raise UserError("a decoding process ended early\n  run the command again")


def serve() -> None:
    """Loop of a decoding process: a line of JSON in; null and pixels, or an error, out."""
    for line in sys.stdin.buffer:
        root, names, shape, resize = json.loads(line)
        try:
            images = decode_files(root, names, tuple(shape), resize)
        except UserError as error:
            sys.stdout.buffer.write(json.dumps(str(error)).encode() + b"\n")
        else:
            sys.stdout.buffer.write(b"null\n")
            sys.stdout.buffer.write(images.data)
        sys.stdout.buffer.flush()
