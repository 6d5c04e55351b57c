"""What checkpoints cost: images per second with them over images per second without, in one run.

python scripts/benchmark checkpoints                 # digits and CIFAR's size; 3 min on 2 cores
python scripts/benchmark checkpoints --pairs 9

Each pair trains the default network twice, with and without checkpoints as the defaults write them
(each 30 s, and at an epoch's end where that costs under 1 %), the order turning from pair to pair.
The share is the time within saves over the whole; unlike the ratio it does not feel other programs.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from hiddenmix.config import Config
from hiddenmix.networks import build
from hiddenmix.randomness import default_generators
from hiddenmix.study import Cell
from hiddenmix.study.checkpoints import CURRENT
from hiddenmix.study.saving import Saver
from hiddenmix.training import Training

SIZES = {"digits": ((1, 8, 8), 1_437, 60), "CIFAR-size": ((3, 32, 32), 5_000, 4)}
"""Shape, training images and epochs."""


def train(
    config: Config, shape: tuple[int, int, int], count: int, folder: Path, *, saves: bool
) -> tuple[float, float, int]:
    """Images per second, the share of the time within saves, and how many there were."""
    with default_generators(0, "init"):
        network = build(config.model, shape, 10)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8)
    labels = torch.arange(count) % 10
    mean, std = torch.full(shape[:1], 0.5), torch.full(shape[:1], 0.3)
    training = Training(network, images, labels, mean, std, config, torch.device("cpu"))
    cell = Cell(folder, config, "")
    cell.prepare()
    saver = Saver(cell, training, [], None, [])
    inside, number = 0.0, 0
    began = time.perf_counter()
    for epoch in training.run():
        if saves and saver.due(epoch_end=epoch is not None):
            before = time.perf_counter()
            saver.save()
            inside += time.perf_counter() - before
            number += 1
    seconds = time.perf_counter() - began
    return count * config.epochs / seconds, inside / seconds, number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    for name, (shape, count, epochs) in SIZES.items():
        config = replace(Config(), epochs=epochs)
        rates: dict[bool, list[float]] = {True: [], False: []}
        shares, numbers = [], []
        with tempfile.TemporaryDirectory() as folder:
            for pair in range(options.pairs):
                for saves in (True, False) if pair % 2 else (False, True):
                    rate, share, number = train(config, shape, count, Path(folder), saves=saves)
                    rates[saves].append(rate)
                    if saves:
                        shares.append(share)
                        numbers.append(number)
            [path] = Path(folder).glob(f"cells/*/{CURRENT}")
            size = path.stat().st_size / 1e6
        ratios = [a / b for a, b in zip(rates[True], rates[False], strict=True)]
        print(
            f"{name}: {statistics.median(rates[True]):,.0f} images/s with checkpoints, "
            f"{statistics.median(rates[False]):,.0f} without, ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}, n={len(ratios)}); {max(shares):.2%} of the "
            f"time within saves at most, {statistics.median(numbers):g} saves of {size:.1f} MB"
        )


if __name__ == "__main__":
    main()
