"""Draws: the weights and partners of a mixed batch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BRANCHES = {"siamese": 2, "triplet": 3}
"""Number of branches K of each mode."""


@dataclass(frozen=True)
class Draw:
    """What a mixed batch is made of."""

    weights: Tensor
    """Float [K, B], or [K, 1] where the whole batch shares one draw; every column sums to 1."""

    index: Tensor
    """Int64 [K, B]: branch b of sample i is image `index[b, i]`; every row is a permutation of the
    batch, the first one the identity."""

    def to(self, device: torch.device | str) -> "Draw":
        """The same draw on `device`."""
        return Draw(self.weights.to(device), self.index.to(device))


def draw_weights(generator: np.random.Generator, branches: int, alpha: float, count: int) -> Tensor:
    """`count` draws w ~ Dirichlet(alpha, ..., alpha) as float32 [branches, count].

    For two branches the first row is lambda ~ Beta(alpha, alpha), not folded to >= 1/2.
    """
    weights = generator.dirichlet(np.full(branches, alpha), size=count)
    return torch.from_numpy(weights.astype(np.float32).T.copy())


def draw_partners(generator: np.random.Generator, branches: int, batch: int) -> Tensor:
    """Int64 [branches, batch]: the identity, then independent random permutations of the batch."""
    rows = np.tile(np.arange(batch), (branches, 1))
    generator.permuted(rows[1:], axis=1, out=rows[1:])
    return torch.from_numpy(rows)


def draw(
    generator: np.random.Generator,
    batch: int,
    *,
    mode: str = "siamese",
    alpha: float = 1.0,
    lam: str = "batch",
) -> Draw:
    """One draw for a batch of `batch` images: `mode` siamese or triplet, `lam` batch or sample.

    Raises `ValueError` for an unknown mode or lam, or for alpha <= 0.
    """
    if mode not in BRANCHES or lam not in ("batch", "sample"):
        raise ValueError(f"mode={mode}, lam={lam}: expected siamese|triplet and batch|sample")
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: expected a number above 0")
    count = batch if lam == "sample" else 1
    weights = draw_weights(generator, BRANCHES[mode], alpha, count)
    return Draw(weights, draw_partners(generator, BRANCHES[mode], batch))
