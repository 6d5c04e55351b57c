"""Measurements of `speed.py` that need a process of their own; each prints one JSON line.

memory N [plain]: peak memory of a process that trains the default network on N
    CIFAR-size images; `plain` leaves the allocator as it comes
sweep FOLDER OVERRIDE...: `python -m hiddenmix.train -m OVERRIDE...` in FOLDER, its time by part
cells FOLDER OVERRIDE...: the same in one process, CPU seconds before, of, and after its networks
decode N: N small JPEG files, made in a temporary folder, decoded to the cache, on all cores and one
"""

import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BORN = time.monotonic()


def memory(count: int, keep: bool) -> dict[str, float]:
    """Bytes: of `count` images, and of the process at its peak, before and after some steps.

    `keep`: with the allocator set as the commands set it (`hiddenmix.system`).
    """
    import torch

    from hiddenmix.config import CnnConfig, Config, SgdConfig
    from hiddenmix.networks import build
    from hiddenmix.system import keep_freed_memory
    from hiddenmix.training import Training

    if keep:
        keep_freed_memory()
    config = Config(model=CnnConfig(), optimizer=SgdConfig(), layer="conv1", epochs=1)
    network = build(config.model, (3, 32, 32), 10)
    images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8).random_(256)
    labels = torch.zeros(count, dtype=torch.int64).random_(10)
    before = _peak_bytes()
    half = torch.full((3,), 0.5)
    run = Training(network, images, labels, half, half, config, torch.device("cpu")).run()
    for _ in range(8):
        next(run)
    return {"images": count, "data": images.nbytes, "before": before, "peak": _peak_bytes()}


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")


class Stopwatch:
    """Divides the time since the process began among named parts; what is nested counts once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._parts = ["start-up"]
        self._at = BORN

    def _charge(self) -> None:
        now = time.monotonic()
        part = self._parts[-1]
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._at
        self._at = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge the block to `name`."""
        self._charge()
        self._parts.append(name)
        try:
            yield
        finally:
            self._charge()
            self._parts.pop()

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """Charge every call of `owner.attribute` to `name`."""
        function: Callable[..., Any] = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        setattr(owner, attribute, timed)

    def watch_generator(self, owner: Any, attribute: str, name: str) -> None:
        """Charge what the generator `owner.attribute` does between its yields to `name`."""
        function: Callable[..., Iterator[Any]] = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
            iterator = function(*args, **kwargs)
            while True:
                with self.part(name):
                    try:
                        value = next(iterator)
                    except StopIteration:
                        return
                yield value

        setattr(owner, attribute, timed)


def sweep(folder: str, overrides: list[str]) -> dict[str, Any]:
    """Seconds by part of a sweep, and the exit code."""
    watch = Stopwatch()
    from hiddenmix.terminal import prepare

    prepare()  # its settings come before torch
    import torch

    from hiddenmix import config, data, evaluation, networks, train
    from hiddenmix.study import (
        cell_training,
        checkpoints,
        conclusion,
        measuring,
        planning,
        tracking,
    )
    from hiddenmix.system import atomic
    from hiddenmix.training import loop

    watch.watch(config, "compose_jobs", "configuration")
    for function in ("read", "prepare", "describe"):
        watch.watch(data, function, "data")
    watch.watch(networks, "build", "building networks")
    watch.watch(planning, "layers_of", "building networks")
    watch.watch(loop, "build_optimizer", "building optimizers")
    watch.watch_generator(loop.Training, "run", "training steps")
    watch.watch(evaluation, "accuracy", "evaluation per epoch")
    watch.watch(measuring, "measure", "evaluation at the end")
    watch.watch(cell_training, "mixed_pictures", "trackers")
    for function in ("__init__", "__exit__", "epoch", "pictures", "result"):
        watch.watch(tracking.Trackers, function, "trackers")
    for function in ("save", "load", "remove"):
        watch.watch(checkpoints, function, "checkpoints")
    watch.watch(atomic, "write_bytes", "files")
    watch.watch(conclusion, "conclude", "report")
    os.chdir(folder)
    sys.argv = ["hiddenmix.train", "-m", *overrides, "workers=1"]
    code: Any = 0
    stdout, sys.stdout = sys.stdout, sys.stderr
    with watch.part("other"):
        try:
            train.main()
        except SystemExit as exit_:
            code = exit_.code
    sys.stdout = stdout
    trained = len(list(Path(folder).glob("outputs/*/cells/*/result.json")))
    total = sum(watch.seconds.values())
    parts = dict(sorted(watch.seconds.items(), key=lambda item: -item[1]))
    return {
        "code": code,
        "networks": trained,
        "threads": torch.get_num_threads(),
        "seconds": total,
        "parts": parts,
        "training_share": parts.get("training steps", 0.0) / total,
    }


def cells(folder: str, overrides: list[str]) -> dict[str, Any]:
    """CPU seconds of a command on one thread: until its first network, of each one, and of the rest."""
    from hiddenmix import terminal

    terminal.prepare()
    from hiddenmix import train
    from hiddenmix.study import workers

    times: list[tuple[float, float]] = []
    place: Any = workers
    attempt = place.attempt

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        outcome = attempt(*args, **kwargs)
        times.append((began, time.process_time()))
        return outcome

    place.attempt = timed
    os.chdir(folder)
    sys.argv = ["hiddenmix.train", *overrides, "workers=1"]
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        train.main()
    except SystemExit as exit_:
        if exit_.code:
            raise
    sys.stdout = stdout
    return {
        "start": times[0][0],
        "networks": [ended - began for began, ended in times],
        "end": time.process_time() - times[-1][1],
    }


def decode(count: int) -> dict[str, float]:
    """Seconds to decode `count` files of 32x32 pixels on all cores and on one, and to open a cache."""
    import numpy as np
    from PIL import Image

    from hiddenmix.config import DatasetConfig
    from hiddenmix.data import decoding, image_cache, image_folder

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            split = "train" if number < count * 5 // 6 else "test"
            home = Path(folder, split, f"class{number % 10}")
            home.mkdir(parents=True, exist_ok=True)
            smooth = generator.integers(256, size=(4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(smooth).resize((32, 32), Image.Resampling.BICUBIC)
            picture.save(home / f"{number}.jpg", quality=90)
        config = DatasetConfig(name="image_folder", root=folder)
        found = image_folder.scan(config)
        shape = decoding.shape_of_files(found, None)
        seconds = {}
        for name, processes in (("all", None), ("one", 1)):
            started = time.perf_counter()
            decoding.decode(found, shape, None, processes=processes)
            seconds[f"decode_{name}"] = time.perf_counter() - started
        for name in ("build", "open"):
            started = time.perf_counter()
            image_cache.load(image_folder.scan(config), None, None)
            seconds[f"cache_{name}"] = time.perf_counter() - started
    return {"files": count, **seconds}


def main() -> None:
    what, first, *rest = sys.argv[1:]
    found: Any
    if what in ("sweep", "cells"):
        found = {"sweep": sweep, "cells": cells}[what](first, rest)
    elif what == "memory":
        found = memory(int(first), rest != ["plain"])
    else:
        found = decode(int(first))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
