"""The one place for timings: the trainer beside the bare step of its network and beside its peers.

python scripts/benchmark.py --json benchmark.json          # about 4 minutes on 2 quiet CPU cores
python scripts/benchmark.py --sweep --decode --json all.json    # and the slow parts, 4 minutes more
python scripts/benchmark.py --markdown benchmark.json      # the tables of docs/performance.md

All contestants train the same network on the same images. They take turns, `--rounds` times, so that
whatever else the machine does meets them alike; a ratio is the median of the rounds' own ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hiddenmix.command_line import guarded

guarded(lambda: 0)  # the commands' own settings of OpenMP and malloc, which come before torch

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from hiddenmix import checkpoints, evaluation  # noqa: E402
from hiddenmix.config import (  # noqa: E402
    CnnConfig,
    Config,
    ModelConfig,
    PreactResNet18Config,
    SgdConfig,
)
from hiddenmix.models import build  # noqa: E402
from hiddenmix.training import Training, build_optimizer, choose_form  # noqa: E402

SHAPE, CLASSES = (3, 32, 32), 10
PROCESSES = Path(__file__).with_name("benchmark_processes.py")
SWEEP = ["layer=input,conv1,pool1,conv2,conv3", "mode=siamese,triplet", "alpha=0.2,1.0"]
"""20 settings of the default data set, digits."""

Steps = Callable[[int], None]
"""Trains so many steps, and does not return before the device is done with them."""


@dataclass(frozen=True)
class Bench:
    """What the contestants share."""

    model: ModelConfig
    batch: int
    device: torch.device
    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def network(self) -> nn.Module:
        """A fresh network on the CPU, always the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(self.model, SHAPE, CLASSES)

    def wait(self) -> None:
        """Until the device has done all that it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def make_bench(model: str, batch: int, device: torch.device, count: int) -> Bench:
    """`count` random images of CIFAR's size on `device`."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    half, quarter = torch.full((3,), 0.5, device=device), torch.full((3,), 0.25, device=device)
    config: ModelConfig = CnnConfig() if model == "cnn" else PreactResNet18Config()
    return Bench(config, batch, device, images.to(device), labels.to(device), half, quarter)


def bare(bench: Bench, *, channels_last: bool, compiled: bool) -> Steps:
    """Forward, loss, backward and optimizer on one batch that lies on the device: the floor."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = bench.network().to(bench.device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = build_optimizer(SgdConfig(), network)
    x = torch.randn(bench.batch, *SHAPE).to(bench.device, memory_format=layout)
    y = bench.labels[: bench.batch]
    forward = torch.compile(network) if compiled else network

    def steps(count: int) -> None:
        for _ in range(count):
            F.cross_entropy(forward(x), y).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        bench.wait()

    return steps


def captured(bench: Bench) -> Steps:
    """The bare step, channels_last, as a CUDA graph."""
    step = bare(bench, channels_last=True, compiled=False)
    side = torch.cuda.Stream(bench.device)
    with torch.cuda.stream(side):
        step(3)
    graph = torch.cuda.CUDAGraph()
    one = bare(Bench(**{**vars(bench), "device": bench.device}), channels_last=True, compiled=False)
    with torch.cuda.stream(side):
        one(3)
    # A capture cannot contain a wait for the device.
    unwaiting = _without_wait(bench)
    with torch.cuda.stream(side):
        unwaiting(3)
    with torch.cuda.graph(graph):
        unwaiting(1)

    def steps(count: int) -> None:
        for _ in range(count):
            graph.replay()
        bench.wait()

    return steps


def trainer(bench: Bench, **settings: Any) -> Steps:
    """`hiddenmix.training.Training` as the commands use it."""
    config = Config(
        model=bench.model, optimizer=SgdConfig(), batch_size=bench.batch, epochs=10_000, **settings
    )
    training = Training(
        bench.network(), bench.images, bench.labels, bench.mean, bench.std, config, bench.device
    )
    run = training.run()

    def steps(count: int) -> None:
        for _ in range(count):
            next(run)
        bench.wait()

    return steps
