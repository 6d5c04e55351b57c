"""Many image files to one uint8 array, on all cores."""

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import astuple
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import UserError, show
from hiddenmix.data.image_files import (
    LARGEST,
    MIN_SIDE,
    Kinds,
    UnreadableError,
    decode_files,
    is_grey,
    opened,
    upright_size,
)
from hiddenmix.data.image_folder import Scan
from hiddenmix.data.resizing import Resize

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
_SERIAL_FILES = 2000  # fewer are decoded sooner than decoding processes start
_CHUNK_FILES = 64
_MAX_PROCESSES = 32
_NAMED_FILES = 10  # of those that cannot be read
_Outcome = tuple[Kinds, list[tuple[str, str]]]  # of a chunk, as `decode_files` gives them


def shape_of_files(found: Scan, resize: Resize | None) -> tuple[int, int, int]:
    """(channels, height, width) of the decoded images, from headers alone.

    The size is the first image's, upright, or that of `resize`; it is one channel if every image is
    greyscale, which takes reading headers up to the first one in colour. Files that cannot be read are
    passed over here, `decode` names them. Raises `UserError`.
    """
    size: tuple[int, int] | None = None
    grey = True
    broken = list(found.broken)
    known, first = dict(broken), ""
    with warnings.catch_warnings(action="ignore"):
        for name in found.names:
            if name in known:  # opening a pipe would wait for ever
                continue
            try:
                with opened(found.root, name, resize) as image:
                    size, first = size or upright_size(image), name if size is None else first
                    grey = is_grey(image)
            except UnreadableError as error:
                broken.append((name, error.why))
            if not grey:
                break
    if size is None:
        raise unreadable_files(broken, len(found.names))
    width, height = (resize.width, resize.height) if resize is not None else size
    if min(width, height) < MIN_SIDE:
        raise UserError(
            f"{show(first)} is {width}x{height} pixels\n"
            f"  allowed: at least {MIN_SIDE}x{MIN_SIDE}; dataset.resize=<side> resizes all images"
        )
    return 1 if grey else 3, height, width


def unreadable_files(broken: list[tuple[str, str]], total: int) -> UserError:
    """One error for all files that cannot be read."""
    if len(broken) == 1:
        return UnreadableError(*broken[0])
    shown = [show(name) for name, _ in broken[:_NAMED_FILES]]
    rest = f" and {len(broken) - len(shown):,} more" if len(broken) > len(shown) else ""
    return UserError(
        f"{len(broken):,} of {total:,} image files cannot be read: {', '.join(shown)}{rest}\n"
        f"  replace or remove them (the first {broken[0][1]})"
    )


def decode(
    found: Scan,
    shape: tuple[int, int, int],
    resize: Resize | None,
    progress: Progress | None = None,
    processes: int | None = None,
    kinds: Kinds | None = None,
) -> NDArray[np.uint8]:
    """Decode all files into uint8 [N, C, H, W], on all cores if there are many.

    `kinds` gets what was converted. Raises `UserError`, for files that cannot be read once for all of
    them. `processes` is for tests and measurements; 1 decodes in this process.
    """
    broken, known = list(found.broken), dict(found.broken)
    names = [name for name in found.names if name not in known] if broken else found.names
    total = len(names)
    images = np.empty((total, *shape), np.uint8)
    if processes is None:
        processes = min(_cores(), _MAX_PROCESSES) if total >= _SERIAL_FILES else 1
    chunks = [slice(at, min(at + _CHUNK_FILES, total)) for at in range(0, total, _CHUNK_FILES)]
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def in_parent(chunk: slice) -> _Outcome:
        mine, failed = Kinds(), list[tuple[str, str]]()
        images[chunk] = decode_files(found.root, names[chunk], shape, resize, mine, failed)
        return mine, failed

    def in_worker(chunk: slice) -> _Outcome:
        worker = idle.get()
        try:
            how = None if resize is None else astuple(resize)
            return _ask(worker, [found.root, names[chunk], shape, how], images[chunk])
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
            theirs, failed = wait.result()  # the first failure in the order of the files
            broken += failed
            if kinds is not None:
                largest = max(kinds[LARGEST], theirs.pop(LARGEST, 0))
                kinds.update(theirs)
                kinds[LARGEST] = largest
            if progress is not None:
                progress("decoding images", chunk.stop, total)
    if broken:
        raise unreadable_files(broken, len(found.names))
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
    code = "import sys; sys.path[:] = sys.argv[1:]; from hiddenmix.data import decoding; decoding.serve()"
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


def _ask(worker: subprocess.Popen[bytes], job: list[Any], images: NDArray[np.uint8]) -> _Outcome:
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
    if isinstance(message, str):
        raise UserError(message)
    pixels = cast(io.BufferedReader, worker.stdout)
    if pixels.readinto(images.data) != images.nbytes:
        raise UserError("a decoding process ended early\n  run the command again")
    return Kinds(message[0]), [(name, why) for name, why in message[1]]


def serve() -> None:
    """Loop of a decoding process: a line of JSON in; what `_ask` reads, or an error, out."""
    for line in sys.stdin.buffer:
        root, names, shape, how = json.loads(line)
        resize = None if how is None else Resize(*how)
        kinds, broken = Kinds(), list[tuple[str, str]]()
        try:
            images = decode_files(root, names, tuple(shape), resize, kinds, broken)
        except UserError as error:
            sys.stdout.buffer.write(json.dumps(str(error)).encode() + b"\n")
        else:
            sys.stdout.buffer.write(json.dumps([kinds, broken]).encode() + b"\n")
            sys.stdout.buffer.write(images.data)
        sys.stdout.buffer.flush()
