"""Trains one network: its step, in the form that suits the device, and the state to resume it from.

`Training.run` yields after every step and reports each epoch; evaluating, logging and checkpoints are
the caller's. Within an epoch the host never waits for the device: losses stay there until its end.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix import mixing, randomness
from hiddenmix.config import Config, layers
from hiddenmix.data import augment, normalise
from hiddenmix.training.epoch_draws import BatchDraws, EpochDraws, batch_bounds, draw_epoch
from hiddenmix.training.forms import choose_form
from hiddenmix.training.optimizers import build_optimizer
from hiddenmix.training.recording import Place, Recorder, Recordings, cuda_graph
from hiddenmix.training.schedules import learning_rates


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


class Training:
    """One network's training, from any step on.

    `network` is moved to `device` in the layout `memory_format` and trained in place. `images` uint8
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
        *,
        memory_format: torch.memory_format = torch.channels_last,
        say: Callable[[str], None] = lambda text: None,
        recorder: Recorder | None = None,
    ) -> None:
        """`say` is told what a user should know; `recorder` stands in for CUDA graphs (tests)."""
        form = choose_form(config, device, memory_format)
        self.network = network.to(device, memory_format=memory_format)  # type: ignore[call-overload]
        self._memory_format = memory_format
        fast = memory_format == torch.channels_last
        self._mixed_format = memory_format if fast else torch.preserve_format
        self._compiled: Callable[[Tensor], Tensor] = self.network
        if form.compiled:
            # torch does not guard on hooks: without this, a network of the same code would run the
            # graph that was compiled for another one, without its mixing.
            torch.compiler.reset()
            self._compiled = torch.compile(self.network)
        self._images, self._labels = images, labels
        self._image = images.shape[2], images.shape[3]
        self._mean, self._std = mean, std
        self._config, self._device = config, device
        self._bounds = batch_bounds(len(images), config.batch_size)
        self.steps = len(self._bounds)
        self._rates = learning_rates(config.optimizer, config.epochs * self.steps)
        self._recordings: Recordings | None = None
        self._place: Place | None = None
        if form.recorded or recorder is not None:
            self._recordings = Recordings(self._placed_step, recorder or cuda_graph, device, say)
            self._place = Place(self._rates, config.batch_size, device)
        rate = None if self._place is None else self._place.rate
        self._optimizer = build_optimizer(config.optimizer, self.network, rate)
        self._losses = torch.zeros(self.steps, device=device)
        self._seconds = 0.0
        self._generators: list[Tensor] | None = None
        self._draws: EpochDraws | None = None
        self.epoch = 0
        self.step = 0
        self._hooks = mixing.LayerMixing(
            self.network, [name for name in layers(config) if name != "none"]
        )

    def run(self) -> Iterator[Epoch | None]:
        """Train to the end; yields None after a step and an `Epoch` after the last of an epoch.

        Between two steps, `state` may be saved or the generator left for good. Raises
        `NonFiniteLossError` at the end of the epoch in which the loss broke.
        """
        lent = randomness.default_generators(self._config.seed, "dropout", self._device)
        with lent, self._hooks:
            if self._generators is not None:
                randomness.restore_generators(self._device, self._generators)
            self.network.train()
            try:
                yield from self._epochs()
            finally:
                # They refer back to this training, and hold the GPU's memory as long as it lives.
                self._recordings = None

    def _epochs(self) -> Iterator[Epoch | None]:
        started = time.perf_counter()
        draws = self._draw(self.epoch)
        while self.epoch < self._config.epochs:
            self._begin_epoch(draws)
            while self.step < self.steps:
                self._train_step()
                self.step += 1
                if self.step < self.steps:
                    self._seconds += time.perf_counter() - started
                    yield None
                    started = time.perf_counter()
            # Drawn before the losses are waited for: a GPU has steps to do meanwhile.
            if self.epoch + 1 < self._config.epochs:
                draws = self._draw(self.epoch + 1)
            losses = self.finite_losses()
            self._seconds += time.perf_counter() - started
            yield self._end_epoch(losses)
            started = time.perf_counter()

    def _draw(self, epoch: int) -> EpochDraws:
        return draw_epoch(self._config, epoch, len(self._images), self._device)

    def _begin_epoch(self, draws: EpochDraws) -> None:
        if self._place is None or self._draws is None:
            self._draws = draws
        else:
            self._draws.overwrite(draws)  # recorded steps read where the first epoch's draws lie
        if self._place is not None:
            self._place.set(self.epoch * self.steps, self.step, self._bounds)

    def _train_step(self) -> None:
        assert self._draws is not None
        start, stop = self._bounds[self.step]
        layer = self._draws.layer[self.step]
        if self._recordings is not None:
            self._recordings.run(stop - start, layer)
            return
        rate = float(self._rates[self.epoch * self.steps + self.step])
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batch = self._draws.batch(slice(self.step, self.step + 1), slice(start, stop))
        self._losses[self.step] = self._update(batch, layer)

    def _placed_step(self, size: int, layer: str) -> None:
        """A step that takes all that changes from tensors: it can be recorded."""
        assert self._draws is not None
        assert self._place is not None
        self._optimizer.zero_grad(set_to_none=True)  # of a recording that failed
        batch = self._draws.batch(self._place.step, self._place.begin(size))
        loss = self._update(batch, layer)
        self._losses.index_copy_(0, self._place.step, loss.reshape(1))
        self._place.advance(size)

    def _update(self, batch: BatchDraws, layer: str) -> Tensor:
        """Forward, backward and optimizer; returns the loss."""
        with self._autocast():
            loss = self._loss(batch, layer)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._config.precision == "bf16":
            return torch.autocast(self._device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _images_and_labels(self, batch: BatchDraws, row: int) -> tuple[Tensor, Tensor]:
        images = self._images.index_select(0, batch.order[row])
        augmentation = batch.augmentation[row]
        if augmentation is not None:
            images = augment(images, augmentation)
        # channels_last is the layout of the fast convolutions on the CPU and on tensor cores.
        floats = normalise(images, self._mean, self._std, self._memory_format)
        return floats, self._labels.index_select(0, batch.order[row])

    def _loss(self, batch: BatchDraws, layer: str) -> Tensor:
        images, labels = self._images_and_labels(batch, 0)
        if batch.weights is None:
            return F.cross_entropy(self._compiled(images), labels)
        weights, centres = batch.weights, batch.centres
        areas: list[Tensor] = []
        unmixed = [(images, labels)]
        if batch.partners is not None:
            draw = mixing.Draw.unchecked(weights, batch.partners, centres)

            def mixed(maps: Tensor) -> Tensor:
                if centres is None:
                    return mixing.mix(maps, draw, self._mixed_format)
                pasted, seen = mixing.cutmix(maps, draw, self._image)
                areas.append(seen.weights)
                return pasted

            self._hooks.arm(layer, mixed)
            logits = self._compiled(images)
            self._hooks.disarm()
            branch_labels = labels[draw.index]
        else:
            unmixed += [self._images_and_labels(batch, row) for row in range(1, len(batch.order))]
            others = [
                mixing.branch_maps(self.network, self._hooks, layer, branch)
                for branch, _ in unmixed[1:]
            ]

            def added(maps: Tensor) -> Tensor:
                if centres is None:
                    return mixing.mix_branches([maps, *others], weights)
                axes = mixing.position_axes(maps, self._image)
                pasted, seen = mixing.cut_branches([maps, *others], weights, centres, axes)
                areas.append(seen)
                return pasted

            self._hooks.arm(layer, added)
            logits = self.network(images)
            self._hooks.disarm()
            branch_labels = torch.stack([each for _, each in unmixed])
        # CutMix's targets are weighed by the areas that were pasted.
        loss = mixing.branch_cross_entropy(logits, branch_labels, areas[0] if areas else weights)
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
        # Whether steps are recorded is this training's own matter, not that of the one that was saved.
        own: list[dict[str, Any]] = [
            {key: group[key] for key in ("lr", "capturable") if key in group}
            for group in self._optimizer.param_groups
        ]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, settings in zip(self._optimizer.param_groups, own, strict=True):
            group.update(settings)
        self._generators = state["generators"]
        self.epoch, self.step = state["epoch"], state["step"]
        self._losses[: self.step] = state["losses"].to(self._device)
        self._seconds = state["seconds"]
