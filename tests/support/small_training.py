"""A training of seconds, on invented images."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hiddenmix.config.schema import CnnConfig, Config, SgdConfig
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators
from hiddenmix.training.loop import Epoch, Training

CPU = torch.device("cpu")


def small(**changes: Any) -> Config:
    """Two epochs of a small network on 50 images: batches of 16, 16 and 18 minus the remainder."""
    base = Config(
        model=CnnConfig(channels=[4, 6, 8], width=16),
        optimizer=SgdConfig(lr=0.1, schedule="constant"),
        epochs=2,
        batch_size=16,
    )
    return dataclasses.replace(base, **changes)


def images_and_labels(count: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return images, torch.randint(3, (count,), generator=generator)


def training(config: Config, count: int = 50) -> Training:
    images, labels = images_and_labels(count)
    with default_generators(config.seed, "init"):
        network = build(config.model, (1, 8, 8), 3)
    return Training(network, images, labels, torch.tensor([0.5]), torch.tensor([0.3]), config, CPU)


def epochs(run: Iterator[Epoch | None]) -> list[Epoch]:
    return [state for state in run if state is not None]


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
