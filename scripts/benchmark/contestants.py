"""The contestants of `speed.py`: bare steps, the trainer, and conventional loops."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix import mixing
from hiddenmix.config import CnnConfig, Config, ModelConfig, PreactResNet18Config, SgdConfig
from hiddenmix.networks import build
from hiddenmix.training import Training
from hiddenmix.training.optimizers import build_optimizer

SIDE, CLASSES = 32, 10
LAYERS = {"cnn": "conv1", "preact_resnet18": "layer1"}
"""Where each network is mixed."""

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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def network(self) -> nn.Module:
        """A fresh network on the CPU, always the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(self.model, self.shape, CLASSES)

    def wait(self) -> None:
        """Until the device has done all that it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def make_bench(model: str, batch: int, device: torch.device, count: int, side: int = SIDE) -> Bench:
    """`count` random images of CIFAR's size, or of another `side`, on `device`."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    half, quarter = torch.full((3,), 0.5, device=device), torch.full((3,), 0.25, device=device)
    config: ModelConfig = CnnConfig() if model == "cnn" else PreactResNet18Config()
    return Bench(config, batch, device, images.to(device), labels.to(device), half, quarter)


def bare(bench: Bench, *, channels_last: bool, compiled: bool = False, wait: bool = True) -> Steps:
    """Forward, loss, backward and optimizer on one batch that lies on the device: the floor."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = bench.network().to(bench.device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = build_optimizer(SgdConfig(), network)
    x = torch.randn(bench.batch, *bench.shape).to(bench.device, memory_format=layout)
    y = bench.labels[: bench.batch]
    forward = torch.compile(network) if compiled else network

    def steps(count: int) -> None:
        for _ in range(count):
            F.cross_entropy(forward(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if wait:
            bench.wait()

    return steps


def captured(bench: Bench) -> Steps:
    """The bare step, channels_last, as a CUDA graph."""
    step = bare(bench, channels_last=True, wait=False)
    side = torch.cuda.Stream(bench.device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        step(3)
    bench.wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(1)

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


class _Copy(torch.autograd.Function):
    """Copies its input, and its gradient: the least that a mixing which returns a new map can do."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        return maps.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()


def copying(bench: Bench, layer: str) -> Steps:
    """The trainer, siamese, with a copy of the map in the place of its mixture."""
    train = trainer(bench, layer=layer)

    def copied(
        maps: Tensor, draw: mixing.Draw, memory_format: torch.memory_format = torch.preserve_format
    ) -> Tensor:
        copy: Tensor = _Copy.apply(maps)
        return copy

    def steps(count: int) -> None:
        mix = mixing.mix
        mixing.mix = copied
        try:
            train(count)
        finally:
            mixing.mix = mix

    return steps


class _Samples(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one by one through torchvision's transforms, as most training code reads CIFAR."""

    def __init__(self, bench: Bench) -> None:
        from torchvision import transforms

        self._pixels = bench.images.permute(0, 2, 3, 1).cpu().numpy()
        self._labels = bench.labels.tolist()
        normalise = transforms.Normalize(bench.mean.tolist(), bench.std.tolist())
        self._transform = transforms.Compose([transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image: Tensor = self._transform(Image.fromarray(self._pixels[index]))
        return image, self._labels[index]


def conventional(bench: Bench, *, timm: bool, workers: int) -> Steps:
    """DataLoader with workers, transforms per image, eager float32, `.item()` after every step;
    with `timm`, its Mixup of the images."""
    loader = torch.utils.data.DataLoader(
        _Samples(bench),
        batch_size=bench.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=bench.device.type == "cuda",
    )
    mixup: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    if timm:
        from timm.data.mixup import Mixup

        mixup = Mixup(mixup_alpha=1.0, num_classes=CLASSES, label_smoothing=0.0)
    network = bench.network().to(bench.device)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    source = batches()
    losses: list[float] = []

    def steps(count: int) -> None:
        for _ in range(count):
            x, y = next(source)
            x, y = x.to(bench.device, non_blocking=True), y.to(bench.device, non_blocking=True)
            if mixup is not None:
                x, y = mixup(x, y)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())

    return steps


def contestants(bench: Bench, *, compiled: bool, workers: int) -> dict[str, Callable[[], Steps]]:
    """How to make each contestant, by name."""
    layer = LAYERS[bench.model.name]
    makers: dict[str, Callable[[], Steps]] = {
        "bare step, eager": lambda: bare(bench, channels_last=False),
        "bare step, eager channels_last": lambda: bare(bench, channels_last=True),
    }
    if compiled:
        makers["bare step, compiled"] = lambda: bare(bench, channels_last=False, compiled=True)
        makers["bare step, compiled channels_last"] = lambda: bare(
            bench, channels_last=True, compiled=True
        )
    if bench.device.type == "cuda":
        makers["bare step, captured graph"] = lambda: captured(bench)
    makers["trainer, plain"] = lambda: trainer(bench, layer="none")
    for mode in ("siamese", "triplet"):
        for extra in ({}, {"lam": "sample"}, {"partners": "independent"}):
            text = "".join(f", {key}={value}" for key, value in extra.items())
            makers[f"trainer, {mode}{text}"] = partial(
                trainer, bench, layer=layer, mode=mode, **extra
            )
    makers["trainer, a copy of the map"] = lambda: copying(bench, layer)
    makers["DataLoader loop"] = lambda: conventional(bench, timm=False, workers=workers)
    makers["DataLoader loop, timm Mixup"] = lambda: conventional(bench, timm=True, workers=workers)
    return makers
