"""What all evaluators share: a test set in batches, logits, and the answers to its samples."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Value = float | list[float] | Tensor
"""What an evaluator yields under a name: a number, a number for each class or bin, or a value for each
sample."""


class Evaluator(Protocol):
    """What every evaluator of `EVALUATORS` takes and yields."""

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        *,
        batch_size: int | None = None,
        precision: str = "float32",
    ) -> Iterator[tuple[str, Value]]: ...


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of the block; each module then gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass
class Measurement:
    """A test set in batches of pixels in [0, 1], and the network's logits for them."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    batch_size: int | None
    precision: str

    def __post_init__(self) -> None:
        if len(self.images) == 0 or len(self.images) != len(self.labels):
            raise ValueError(
                f"{len(self.images)} test images and {len(self.labels)} labels: "
                "evaluation needs as many of the one as of the other, and at least one"
            )
        self.mean, self.std = self.mean.view(-1, 1, 1), self.std.view(-1, 1, 1)

    def _size(self) -> int:
        if self.batch_size is not None:
            return self.batch_size
        if self.images.device.type != "cpu":
            return 512
        # Larger batches leave the CPU's cache: CIFAR images run about 1.4 times as fast by 128 as
        # by 512.
        fits = max(32, min(512, 2**19 // math.prod(self.images.shape[1:])))
        return 1 << (fits.bit_length() - 1)  # powers of two meet the chunks of the drawn noise

    def batches(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The position of each batch's first sample, its pixels and its labels."""
        size = self._size()
        for start in range(0, len(self.images), size):
            batch = slice(start, start + size)
            yield start, self.images[batch].float().div_(255), self.labels[batch]

    def logits(self, pixels: Tensor) -> Tensor:
        with torch.autocast(
            pixels.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        ):
            logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits.float()


def score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The answer to each sample (a class, or the number of classes where its logits are NaN), whether
    it is right (bool), its nll, and the log of its confidence; all [B]."""
    log_probability = logits.log_softmax(dim=1)
    log_confidence, answer = log_probability.max(dim=1)
    # max takes the first NaN for a class
    answer = torch.where(log_confidence.isnan(), logits.shape[1], answer)
    nll = -log_probability.gather(1, labels[:, None])[:, 0]
    return answer, answer == labels, nll, log_confidence


class Tally:
    """The answers to `count` samples under each of `conditions`, and the sums of what they are worth.

    They stay on the device until they are read.
    """

    def __init__(self, conditions: int, count: int, device: torch.device) -> None:
        # Apple's GPUs have no float64; counts below 2**24 are exact without.
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(conditions, 2, dtype=self._wide, device=device)
        self._classes = torch.zeros(conditions, count, dtype=torch.int32, device=device)

    def add(self, condition: int, start: int, logits: Tensor, labels: Tensor) -> None:
        """The samples from position `start` on, `logits` [B, classes] and `labels` [B]."""
        answer, right, nll, _ = score(logits, labels)
        sums = [right.to(self._wide).sum(), nll.to(self._wide).sum()]
        self._sums[condition] += torch.stack(sums)
        self._classes[condition, start : start + len(labels)] = answer

    def pairs(self, names: Sequence[str]) -> Iterator[tuple[str, Value]]:
        """`<name>/accuracy`, `<name>/nll` and `<name>/class` (int32 [N], on the CPU) of each
        condition, called `names`."""
        means = (self._sums / self._classes.shape[1]).tolist()
        for name, (right, nll), classes in zip(names, means, self._classes.cpu(), strict=True):
            yield f"{name}/accuracy", right
            yield f"{name}/nll", nll
            yield f"{name}/class", classes
