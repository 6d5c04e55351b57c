"""Draws: the weights and partners of a mixed batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

BRANCHES = {"siamese": 2, "triplet": 3}
"""Number of branches K of each mode that has a name."""

OPERATIONS = ("mixup", "cutmix")

Generator = np.random.Generator | torch.Generator | int


class Pass:
    """What the forward pass came to that a draw was made for: `mixing_at` notes it, the losses ask."""

    unmixed = False
    """Whether nothing has been mixed, in a block of `mixing_at`."""

    areas: Tensor | None = None
    """Of CutMix: the areas that were pasted, [K, 1] or [K, B]."""


@dataclass(frozen=True)
class Draw:
    """What a mixed batch is made of: K branches of B samples.

    One made by hand is checked: `ValueError` or `TypeError` where it is not as described below.
    `draw` makes ones that need no check.
    """

    weights: Tensor
    """Float [K, B], or [K, 1] where the whole batch shares one draw; every column sums to 1."""

    index: Tensor
    """Int64 [K, B]: branch b of sample i is image `index[b, i]`; every row is a permutation of the
    batch, the first one the identity in draws of `draw`."""

    centres: Tensor | None = None
    """Of CutMix, else None: float [K, 3, B] or [K, 3, 1], where in depth, height and width the centre
    of each branch's box lies, in [0, 1). `weights` are then the shares drawn, not those pasted."""

    layer: str | None = None
    """The one that was drawn of several layers."""

    passed: Pass = field(default_factory=Pass, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def unchecked(
        cls,
        weights: Tensor,
        index: Tensor,
        centres: Tensor | None = None,
        layer: str | None = None,
        passed: Pass | None = None,
    ) -> "Draw":
        """A draw that is right as it was made: no check, which would have to wait for a GPU."""
        draw = object.__new__(cls)
        draw.__dict__.update(
            weights=weights, index=index, centres=centres, layer=layer, passed=passed or Pass()
        )
        return draw

    def to(self, device: torch.device | str) -> "Draw":
        """The same draw on `device`."""
        centres = None if self.centres is None else self.centres.to(device)
        return Draw.unchecked(
            self.weights.to(device), self.index.to(device), centres, self.layer, self.passed
        )

    def pin_memory(self) -> "Draw":  # DataLoader's `pin_memory` calls it
        """The same draw in pinned memory."""
        centres = None if self.centres is None else self.centres.pin_memory()
        return Draw.unchecked(
            self.weights.pin_memory(), self.index.pin_memory(), centres, self.layer, self.passed
        )


def _check(draw: Draw) -> None:
    weights, index = draw.weights, draw.index
    if index.dim() != 2 or index.dtype != torch.int64 or len(index) < 2:
        raise ValueError(
            f"hiddenmix: a draw's index is {list(index.shape)} of {index.dtype}; expected int64 [K, B] "
            "for K >= 2 branches of B samples"
        )
    branches, batch = index.shape
    if not weights.is_floating_point() or weights.shape not in ((branches, 1), (branches, batch)):
        raise ValueError(
            f"hiddenmix: a draw's weights are {list(weights.shape)} of {weights.dtype}; expected "
            f"floating point [{branches}, 1] or [{branches}, {batch}]"
        )
    centres = draw.centres
    if centres is not None and centres.shape not in ((branches, 3, 1), (branches, 3, batch)):
        raise ValueError(
            f"hiddenmix: a draw's centres are {list(centres.shape)}; expected [{branches}, 3, 1] or "
            f"[{branches}, 3, {batch}]"
        )
    if any(torch._C._functorch.is_batchedtensor(each) for each in (weights, index)):
        raise ValueError(
            "hiddenmix: a draw made by hand within torch.func.vmap has no values that could be checked: "
            "make it before"
        )
    whole = torch.arange(batch, device=index.device).expand_as(index)
    if not torch.equal(index.sort(dim=1).values, whole):
        raise ValueError(
            "hiddenmix: a row of a draw's index is no permutation of the batch "
            f"(each of 0 to {batch - 1} once)"
        )
    tolerance = 1e-3 if weights.dtype.itemsize > 2 else 1e-2
    # Written so that NaN fails too.
    if not ((weights >= 0).all() and ((weights.sum(0) - 1).abs() <= tolerance).all()):
        raise ValueError("hiddenmix: a draw's weights are not from 0 to 1 with a sum of 1 a sample")


def branches_of(mode: str | int) -> int:
    """The number of images K that `mode` mixes; raises `ValueError` for none of at least 2."""
    branches = BRANCHES.get(mode) if isinstance(mode, str) else mode
    if branches is None or branches != int(branches) or branches < 2:
        raise ValueError(
            f"hiddenmix: mode={mode}; expected siamese, triplet or a whole number of images from 2"
        )
    return int(branches)


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


def draw_centres(generator: np.random.Generator, branches: int, count: int) -> Tensor:
    """Float32 [branches, 3, count], uniform in [0, 1): the centres of CutMix's boxes."""
    return torch.from_numpy(generator.random((branches, 3, count), dtype=np.float32))


def draw(
    generator: Generator,
    batch: int,
    *,
    mode: str | int = "siamese",
    alpha: float = 1.0,
    lam: str = "batch",
    fold: bool = False,
    operation: str = "mixup",
    layers: Sequence[str] | None = None,
) -> Draw:
    """One draw for a batch of `batch` images, from a generator of NumPy or torch, or a seed.

    `mode` is siamese (2 images), triplet (3) or a number of images K >= 2; `lam` one draw of the weights
    a `batch` or for each `sample`; `fold` gives the first image the largest weight (for two images,
    lambda >= 1/2); `operation` is mixup, or cutmix (see `hiddenmix.cutmix`). With several `layers`, the
    draw's `layer` is one of them, each as likely (Manifold Mixup). Raises `ValueError` for any other
    value, `TypeError` for another generator.
    """
    branches = branches_of(mode)
    if lam not in ("batch", "sample") or operation not in OPERATIONS:
        raise ValueError(
            f"hiddenmix: lam={lam}, operation={operation}; expected batch or sample, and "
            f"{' or '.join(OPERATIONS)}"
        )
    if not 0 < alpha < math.inf:
        raise ValueError(f"hiddenmix: alpha={alpha}; expected a finite number above 0")
    if layers is not None and (isinstance(layers, str) or not layers):
        raise ValueError(f"hiddenmix: layers={layers!r}; expected a list of names")
    numbers = _numpy_generator(generator)
    count = batch if lam == "sample" else 1
    weights = draw_weights(numbers, branches, alpha, count)
    if fold:
        weights = weights.sort(dim=0, descending=True).values
    index = draw_partners(numbers, branches, batch)
    centres = draw_centres(numbers, branches, count) if operation == "cutmix" else None
    layer = None if layers is None else layers[int(numbers.integers(len(layers)))]
    return Draw.unchecked(weights, index, centres, layer)


def _numpy_generator(generator: Generator) -> np.random.Generator:
    if isinstance(generator, np.random.Generator):
        return generator
    if isinstance(generator, torch.Generator):
        seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
        return np.random.default_rng(int(seed))
    if isinstance(generator, (int, np.integer)):
        return np.random.default_rng(int(generator))
    raise TypeError(
        f"hiddenmix: a generator of NumPy or torch, or a whole number, not {type(generator).__name__}"
    )
