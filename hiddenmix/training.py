"""Trains one network: the epoch's draws, the step, and the state from which a step can be resumed.

`Training.run` yields after every step and reports each epoch; evaluating, logging and checkpoints are
the caller's. Within an epoch the host never waits for the device: losses stay there until its end.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix import mixing, randomness
from hiddenmix.batches import AugmentationDraws, augment, draw_augmentation, normalise
from hiddenmix.config import AdamConfig, Config, OptimizerConfig, SgdConfig, layers
from hiddenmix.schedules import learning_rates


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to."""

    number: int
    """Counted from 1."""

    loss: float
    """Mean training loss over the epoch's images."""

    learning_rate: float
    """Of the last step."""

    seconds: float
    """Spent in training steps."""

    images_per_second: float


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite."""

    def __init__(self, epoch: int, step: int, learning_rate: float, last: float | None) -> None:
        before = "the first step" if last is None else f"the last finite loss was {last:.4g}"
        advice = "lower optimizer.lr"
        super().__init__(
            f"loss is not finite at epoch {epoch}, step {step}, learning rate {learning_rate:.4g} "
            f"({before}); {advice}, or use optimizer.schedule=one_cycle or precision=float32"
        )


@dataclass(frozen=True)
class EpochDraws:
    """Everything random about one epoch but dropout, drawn before it starts. N images, K branches."""

    order: Tensor
    """Int64 [1 or K, N]: which image stands at each position; K rows with independent partners."""

    augmentation: list[AugmentationDraws | None]
    """One for each row of `order`."""

    weights: Tensor | None
    """[K, steps] or, with `lam=sample`, [K, N]; None without mixing."""

    partners: Tensor | None
    """Int64 [K, N], positions within the batch; None without mixing or with independent partners."""

    layer: list[str]
    """The layer of each step."""


def batch_bounds(images: int, batch_size: int) -> list[tuple[int, int]]:
    """First and last-but-one position of each batch of an epoch over `images` images.

    A remainder of a single image joins the batch before it, because BatchNorm has no variance of one.
    """
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], images], strict=True))


def draw_epoch(config: Config, epoch: int, images: int, device: torch.device) -> EpochDraws:
    """The draws of `epoch` (from 0) for `images` training images, on `device`."""
    seed, names = config.seed, layers(config)
    bounds = batch_bounds(images, config.batch_size)
    mixes = names != ["none"]
    branches = mixing.BRANCHES[config.mode]
    independent = mixes and config.partners == "independent"
    order, augmentation = [], []
    for row in range(branches if independent else 1):
        order.append(randomness.stream(seed, "order", epoch, row).permutation(images))
        generator = randomness.stream(seed, "augment", epoch, row)
        augmentation.append(draw_augmentation(config.dataset.augment, generator, images, device))
    weights = partners = None
    chosen = [names[0]] * len(bounds)
    if mixes:
        generator = randomness.stream(seed, "mix", epoch)
        count = images if config.lam == "sample" else len(bounds)
        weights = mixing.draw_weights(generator, branches, config.alpha, count).to(device)
        if not independent:
            partners = _draw_partners(generator, branches, bounds).to(device)
        # Drawn last, so that a list of layers sees the weights and partners of a single layer.
        if len(names) > 1:
            chosen = [names[i] for i in generator.integers(len(names), size=len(bounds))]
    stacked = torch.from_numpy(np.stack(order)).to(device)
    return EpochDraws(stacked, augmentation, weights, partners, chosen)


def _draw_partners(
    generator: np.random.Generator, branches: int, bounds: list[tuple[int, int]]
) -> Tensor:
    """`mixing.draw_partners` for every batch of an epoch, side by side: int64 [K, N]."""
    *full, last = [stop - start for start, stop in bounds]
    parts = []
    if full:
        rows = np.tile(np.arange(full[0]), (branches, len(full), 1))
        generator.permuted(rows[1:], axis=2, out=rows[1:])
        parts.append(torch.from_numpy(rows.reshape(branches, -1)))
    parts.append(mixing.draw_partners(generator, branches, last))
    return torch.cat(parts, dim=1)


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """SGD or Adam over all parameters, in torch's fused form: one pass over the weights."""
    match config:
        case SgdConfig():
            return torch.optim.SGD(
                network.parameters(),
                lr=config.lr,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
                fused=True,
            )
        case AdamConfig():
            return torch.optim.Adam(
                network.parameters(),
                lr=config.lr,
                betas=(config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
                fused=True,
            )
        case _:
            raise TypeError(f"no optimizer for {type(config).__name__}")


@dataclass(frozen=True)
class Form:
    """In which of torch's forms a network is trained."""

    compiled: bool
    """Whether its passes run through torch.compile."""

    text: str
    """The form and the reason for it, in one line."""


def choose_form(config: Config, device: torch.device) -> Form:
    """What `compile` comes to on `device`; the layout is channels_last, the precision the user's."""
    layout = f"channels_last, {config.precision}"
    if config.compile is True:
        return Form(True, f"form: compiled, {layout}: compile=true")
    if config.compile is False:
        return Form(False, f"form: eager, {layout}: compile=false")
    if device.type == "cpu":
        # docs/performance.md: not faster than eager channels_last, and 25 s to compile a network.
        reason = "compile does not pay on the CPU, where channels_last alone is as fast"
    else:
        reason = "compiling was not measured on this kind of device; compile=true asks for it"
    return Form(False, f"form: eager, {layout}: {reason}")


class Training:
    """One network's training, from any step on.

    `network` is moved to `device` in channels_last layout and trained in place. `images` uint8
    [N, C, H, W] and `labels` int64 [N] lie on `device`; `mean` and `std` [C] normalise pixels in [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        config: Config,
        device: torch.device,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._compiled: Callable[[Tensor], Tensor] = self.network
        if choose_form(config, device).compiled:
            # torch does not guard on hooks: without this, a network of the same code would run the
            # graph that was compiled for another one, without its mixing.
            torch.compiler.reset()
            self._compiled = torch.compile(self.network)
        self._images, self._labels = images, labels
        self._mean, self._std = mean, std
        self._config, self._device = config, device
        self._bounds = batch_bounds(len(images), config.batch_size)
        self.steps = len(self._bounds)
        self._rates = learning_rates(config.optimizer, config.epochs * self.steps)
        self._optimizer = build_optimizer(config.optimizer, self.network)
        self._losses = torch.zeros(self.steps, device=device)
        self._seconds = 0.0
        self._generators: list[Tensor] | None = None
        self.epoch = 0
        self.step = 0
        self._hooked = [name for name in layers(config) if name != "none"]

    def run(self) -> Iterator[Epoch | None]:
        """Train to the end; yields None after a step and an `Epoch` after the last of an epoch.

        Between two steps, `state` may be saved or the generator left for good. Raises
        `NonFiniteLossError` at the end of the epoch in which the loss broke.
        """
        lent = randomness.default_generators(self._config.seed, "dropout", self._device)
        hooks = mixing.LayerMixing(self.network, self._hooked)
        with lent, hooks:
            if self._generators is not None:
                randomness.restore_generators(self._device, self._generators)
            self.network.train()
            while self.epoch < self._config.epochs:
                started = time.perf_counter()
                draws = draw_epoch(self._config, self.epoch, len(self._images), self._device)
                while self.step < self.steps:
                    self._train_step(draws, hooks)
                    self.step += 1
                    if self.step < self.steps:
                        self._seconds += time.perf_counter() - started
                        yield None
                        started = time.perf_counter()
                losses = self.finite_losses()
                self._seconds += time.perf_counter() - started
                yield self._end_epoch(losses)

    def _train_step(self, draws: EpochDraws, hooks: mixing.LayerMixing) -> None:
        rate = float(self._rates[self.epoch * self.steps + self.step])
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._autocast():
            loss = self._loss(draws, hooks)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._losses[self.step] = loss.detach()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._config.precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _batch(self, draws: EpochDraws, row: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        chosen = draws.order[row, start:stop]
        images = self._images.index_select(0, chosen)
        augmentation = draws.augmentation[row]
        if augmentation is not None:
            images = augment(images, augmentation[start:stop])
        # channels_last is the layout of the fast convolutions on the CPU and on tensor cores.
        floats = normalise(images, self._mean, self._std, torch.channels_last)
        return floats, self._labels.index_select(0, chosen)

    def _loss(self, draws: EpochDraws, hooks: mixing.LayerMixing) -> Tensor:
        start, stop = self._bounds[self.step]
        images, labels = self._batch(draws, 0, start, stop)
        if draws.weights is None:
            return F.cross_entropy(self._compiled(images), labels)
        columns = (start, stop) if self._config.lam == "sample" else (self.step, self.step + 1)
        weights = draws.weights[:, columns[0] : columns[1]]
        layer = draws.layer[self.step]
        if draws.partners is not None:
            draw = mixing.Draw(weights, draws.partners[:, start:stop])
            hooks.arm(layer, lambda maps: mixing.mix(maps, draw))
            logits = self._compiled(images)
            hooks.disarm()
            loss = mixing.mixed_cross_entropy(logits, labels, draw)
            unmixed = [(images, labels)]
        else:
            unmixed = [(images, labels)]
            unmixed += [self._batch(draws, row, start, stop) for row in range(1, len(draws.order))]
            others = [
                mixing.branch_maps(self.network, hooks, layer, branch) for branch, _ in unmixed[1:]
            ]
            hooks.arm(layer, lambda maps: mixing.mix_branches([maps, *others], weights))
            logits = self.network(images)
            hooks.disarm()
            branch_labels = torch.stack([each for _, each in unmixed])
            loss = mixing.branch_cross_entropy(logits, branch_labels, weights)
        if self._config.originals > 0:
            # The mean over the K images is the mean over the batch where partners permute it.
            plain = [F.cross_entropy(self._compiled(x), y) for x, y in unmixed]
            loss = loss + self._config.originals * torch.stack(plain).mean()
        return loss

    def finite_losses(self) -> list[float]:
        """Losses of this epoch's steps so far; raises `NonFiniteLossError` if one is not finite."""
        losses: list[float] = self._losses[: self.step].tolist()
        for step, loss in enumerate(losses):
            if not math.isfinite(loss):
                rate = float(self._rates[self.epoch * self.steps + step])
                last = losses[step - 1] if step else None
                raise NonFiniteLossError(self.epoch + 1, step + 1, rate, last)
        return losses

    def _end_epoch(self, losses: list[float]) -> Epoch:
        sizes = [stop - start for start, stop in self._bounds]
        mean = math.fsum(a * n for a, n in zip(losses, sizes, strict=True)) / sum(sizes)
        rate = float(self._rates[(self.epoch + 1) * self.steps - 1])
        seconds, self._seconds = self._seconds, 0.0
        self.epoch, self.step = self.epoch + 1, 0
        return Epoch(self.epoch, mean, rate, seconds, len(self._images) / max(seconds, 1e-9))

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, as tensors, numbers and containers of them.

        The named streams are addresses (seed, name, epoch), so the position stands for their states;
        only torch's default generators, lent to `dropout`, carry one of their own.
        """
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generators": randomness.generator_states(self._device),
            "epoch": self.epoch,
            "step": self.step,
            "losses": self._losses[: self.step].clone(),
            "seconds": self._seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, before `run` is first called."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generators = state["generators"]
        self.epoch, self.step = state["epoch"], state["step"]
        self._losses[: self.step] = state["losses"].to(self._device)
        self._seconds = state["seconds"]
