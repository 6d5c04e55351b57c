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
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import UserError, show
from hiddenmix.data.image_files import MIN_SIDE, decode_files, is_grey, opened
from hiddenmix.data.image_folder import Scan

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""
_SERIAL_FILES = 2000  # fewer are decoded sooner than decoding processes start
_CHUNK_FILES = 64
_MAX_PROCESSES = 32


def image_shape(found: Scan, resize: int | None) -> tuple[int, int, int]:
    """(channels, height, width) of the decoded images, from headers alone.

    The size is the first image's, or `resize` squared; it is one channel if every image is
    greyscale, which takes reading headers up to the first one in colour. Raises `UserError`.
    """
    with warnings.catch_warnings(action="ignore"):
        with opened(found.root, found.names[0]) as image:
            width, height = (resize, resize) if resize else image.size
        grey = all(is_grey(found.root, name) for name in found.names)
    if min(width, height) < MIN_SIDE:
        raise UserError(
            f"{show(found.names[0])} is {width}x{height} pixels\n"
            f"  allowed: at least {MIN_SIDE}x{MIN_SIDE}; dataset.resize=<side> resizes all images"
        )
    return 1 if grey else 3, height, width


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
