"""Many networks of one architecture on one device: which way of training them at once pays?

python scripts/benchmark many --networks 1 4 16 --json many.json

Ways, each against training them one after another with the trainer: `stacked`, all in one network
(`stacked.py`); `streams`, each on a CUDA stream of its own, their recorded steps in turn
(a GPU only); `processes`, several at once, which share the cores (or the GPU). They take turns,
`--rounds` times; the ratio of the images trained in a second counts, within a round.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hiddenmix.terminal import prepare

prepare()  # the commands' own settings of OpenMP and malloc, which come before torch

import torch
from contestants import make_bench
from rich.console import Console
from rich.table import Table
from stacked import Stacked

from hiddenmix.config import Config, SgdConfig
from hiddenmix.training import Training

Turn = Callable[[], float]
"""Trains every network for so many steps; returns the seconds that took."""


class Networks:
    """N networks that differ by seed, on one device, over the same random images."""

    def __init__(self, arguments: argparse.Namespace, count: int) -> None:
        name = arguments.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(name)
        # An epoch is four turns: at its end the trainer waits for the device.
        images = arguments.batch_size * arguments.steps * 4
        self.bench = make_bench("cnn", arguments.batch_size, self.device, images, arguments.side)
        self.steps = arguments.steps
        optimizer = SgdConfig(schedule="constant")
        one = Config(
            model=self.bench.model,
            optimizer=optimizer,
            batch_size=arguments.batch_size,
            layer="conv1",
            epochs=100_000,
        )
        self.configs = [dataclasses.replace(one, seed=seed) for seed in range(count)]

    def _timed(self, turn: Callable[[], object]) -> float:
        self.bench.wait()
        started = time.perf_counter()
        turn()
        self.bench.wait()
        return time.perf_counter() - started

    def _trainings(self) -> list[Training]:
        bench = self.bench
        return [
            Training(
                bench.network(),
                bench.images,
                bench.labels,
                bench.mean,
                bench.std,
                config,
                self.device,
            )
            for config in self.configs
        ]

    def alone(self) -> Turn:
        """One after another."""
        runs = [training.run() for training in self._trainings()]

        def turn() -> None:
            for run in runs:
                for _ in range(self.steps):
                    next(run)

        return lambda: self._timed(turn)

    def streams(self) -> Turn:
        """A step of each in turn, each on its own CUDA stream."""
        runs = [training.run() for training in self._trainings()]
        streams = [torch.cuda.Stream(self.device) for _ in runs]  # type: ignore[no-untyped-call]

        def turn() -> None:
            for _ in range(self.steps):
                for run, stream in zip(runs, streams, strict=True):
                    with torch.cuda.stream(stream):
                        next(run)

        return lambda: self._timed(turn)

    def stacked(self) -> Turn:
        """All in one."""
        bench = self.bench
        networks = [bench.network() for _ in self.configs]
        stack = Stacked(networks, bench.images, bench.labels, bench.mean, bench.std, self.configs)
        return lambda: self._timed(lambda: stack.epoch(0, self.steps))


class Processes:
    """Worker processes, each of which trains its share of the networks one after another."""

    def __init__(self, arguments: argparse.Namespace, count: int) -> None:
        number = min(arguments.processes, count)
        shares = [len(range(first, count, number)) for first in range(number)]
        threads = max(1, (os.cpu_count() or 1) // number)
        self._workers = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--work", "--networks", str(share)),
                    *("--steps", str(arguments.steps), "--side", str(arguments.side)),
                    *("--batch-size", str(arguments.batch_size), "--device", arguments.device),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            )
            for share in shares
        ]

    def __call__(self) -> float:
        started = time.perf_counter()
        for worker in self._workers:
            assert worker.stdin is not None
            print("go", file=worker.stdin, flush=True)
        for worker in self._workers:
            assert worker.stdout is not None
            if worker.stdout.readline() != "done\n":
                raise RuntimeError("a worker process failed")
        return time.perf_counter() - started

    def close(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.communicate()


def work(arguments: argparse.Namespace) -> None:
    """A worker process: a turn for each line of its standard input."""
    turn = Networks(arguments, arguments.networks[0]).alone()
    for _ in sys.stdin:
        turn()
        print("done", flush=True)


def measure(arguments: argparse.Namespace, count: int) -> dict[str, list[float]]:
    """Seconds of each way for `count` networks, by round."""
    networks = Networks(arguments, count)
    turns: dict[str, Turn] = {"alone": networks.alone()}
    if networks.device.type == "cuda":
        turns["streams"] = networks.streams()
    turns["stacked"] = networks.stacked()
    processes = Processes(arguments, count)
    turns["processes"] = processes
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(-1, arguments.rounds):
        for name, turn in turns.items():
            took = turn()
            if number >= 0:  # the first round warms up
                seconds[name].append(took)
    processes.close()
    return seconds


def report(found: dict[str, Any], console: Console) -> None:
    """The table."""
    images = found["batch_size"] * found["steps"]
    side = found["side"]
    title = f"{side}x{side} pixels, batches of {found['batch_size']}, {found['rounds']} rounds"
    table = Table(title=title, title_justify="left")
    for column in ("networks", "way", "images/s, median", "times one after another", "range"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for count, seconds in found["seconds"].items():
        for way, values in seconds.items():
            gains = [a / b for a, b in zip(seconds["alone"], values, strict=True)]
            rate = int(count) * images / statistics.median(values)
            spread = f"{min(gains):.2f} to {max(gains):.2f}"
            table.add_row(count, way, f"{rate:,.0f}", f"{statistics.median(gains):.2f}", spread)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--side", type=int, default=32, help="pixels; 8 is the size of digits")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each network in a turn")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at most, at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    console = Console()
    found: dict[str, Any] = {
        key: getattr(arguments, key) for key in ("side", "batch_size", "rounds", "steps")
    }
    found |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "seconds": {}}
    for count in arguments.networks:
        with console.status(f"{count} networks"):
            found["seconds"][str(count)] = measure(arguments, count)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    report(found, console)


if __name__ == "__main__":
    main()
