"""Mixing the feature maps of two or three images at a layer: draws, mixing, hook and loss.

Oki & Kurita (2018): K weight-sharing branches carry K images to a layer, their maps h(x_b) are added
with weights w ~ Dirichlet(alpha, ..., alpha), z = sum_b w_b h(x_b), and the rest g of the network is
trained on z with the target sum_b w_b onehot(y_b). K = 2 ("siamese") has w = (lambda, 1 - lambda)
with lambda ~ Beta(alpha, alpha), as in Zhang et al. (2018); K = 3 is "triplet".

With partners taken from the same batch, x_b = x[pi_b], weight sharing gives h(x[pi]) = h(x)[pi]
exactly, BatchNorm in training mode included (a permuted batch has the same statistics), so that K
branches cost one. Dropout below the layer is the exception: the K branches of a literal network
would drop different units, here a sample has one dropout mask in every branch that it appears in.

The functions are pure and take the draw as an argument; the drawing stands apart. K is the number of
branches, B the batch size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


def mix(maps: Tensor, draw: Draw) -> Tensor:
    """Mixed maps z[i] = sum_b w_b[i] maps[index_b[i]], shape and layout of `maps` [B, ...].

    A new tensor; `maps` is not written to. Raises `ValueError` where the draw has another batch size.
    """
    if draw.index.shape[1] != len(maps):
        raise ValueError(f"the draw is for {draw.index.shape[1]} samples, the map has {len(maps)}")
    weights = draw.weights.to(maps.dtype).expand(draw.index.shape)
    mixed: Tensor = _Mix.apply(maps, weights, draw.index)
    return mixed


class _Mix(torch.autograd.Function):
    """The weighted gather of `mix`.

    Its gradient is a weighted gather by the inverse permutations, where autograd's own for indexing
    would be a scatter with atomic additions: slower, and on CUDA not deterministic.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(weights, index)
        # Not a view, as autograd sees it: the next module may write in place (torchvision's ReLUs).
        return _weighted_gather(maps, weights, index).data

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weights, index = ctx.saved_tensors
        inverse = index.argsort(dim=1)
        mixed: Tensor = _Mix.apply(gradient, weights.gather(1, inverse), inverse)
        return mixed, None, None


def _weighted_gather(maps: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    channels_last = maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)
    # Rows in memory order: flattening a channels_last map as it is would copy it.
    ordered = maps.permute(0, 2, 3, 1) if channels_last else maps
    rows = ordered.reshape(len(maps), -1)
    if rows.device.type == "cpu" and rows.dtype == torch.float32:
        # One pass over memory on all cores: 2.5 times as fast as indexing, scaling and adding.
        branches, batch = index.shape
        offsets = torch.arange(0, batch * branches, branches)
        flat_index, flat_weights = index.T.reshape(-1), weights.T.reshape(-1)
        mixed = torch.embedding_bag(
            rows, flat_index, offsets, mode=0, per_sample_weights=flat_weights
        )[0]
    else:
        column = weights.unsqueeze(-1)
        mixed = rows.index_select(0, index[0]).mul_(column[0])
        for branch in range(1, len(index)):
            mixed.addcmul_(rows.index_select(0, index[branch]), column[branch])
    mixed = mixed.reshape(ordered.shape)
    return mixed.permute(0, 3, 1, 2) if channels_last else mixed


def mix_branches(branches: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Mixed maps of K literal branches [B, ...] with `weights` [K, B] or [K, 1]: sum_b w_b h_b."""
    column = weights.to(branches[0].dtype).reshape(
        len(branches), -1, *[1] * (branches[0].dim() - 1)
    )
    mixed = branches[0] * column[0]
    for maps, weight in zip(branches[1:], column[1:], strict=True):
        mixed = mixed + maps * weight
    return mixed


def mixed_targets(labels: Tensor, classes: int, draw: Draw) -> Tensor:
    """Class probabilities t = sum_b w_b onehot(y_b), float [B, classes], for `labels` int64 [B]."""
    weights = draw.weights.expand(draw.index.shape)
    targets = torch.zeros(len(labels), classes, dtype=weights.dtype, device=weights.device)
    return targets.scatter_add_(1, labels[draw.index].T, weights.T)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, draw: Draw) -> Tensor:
    """Mean cross-entropy of `logits` [B, C] with the mixed targets: sum_b w_b CE(logits, y_b).

    `labels` int64 [B] are those of the unmixed batch. Raises `ValueError` for another batch size than
    the draw's, or for labels that are not class numbers.
    """
    batch = draw.index.shape[1]
    if not len(logits) == len(labels) == batch or labels.dtype != torch.int64:
        raise ValueError(
            f"the draw is for {batch} samples: got logits {list(logits.shape)} and labels "
            f"{list(labels.shape)} of {labels.dtype}; expected [{batch}, classes] and int64 [{batch}]"
        )
    return branch_cross_entropy(logits, labels[draw.index], draw.weights)


def branch_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum_b w_b CE(logits, labels_b), a mean over B, for `labels` [K, B], `weights` [K, B] or [K, 1]."""
    log_probability = F.log_softmax(logits.float(), dim=1)
    return -(log_probability.gather(1, labels.T).T * weights).sum() / len(logits)


class LayerMixing:
    """Hooks on layers of a network that mix the maps of the one armed layer, in training mode only.

    `input` names the network's input; any other name is a dotted submodule name. The hooks live
    within the `with` block: they are removed on exit, on error too. In evaluation mode, or when no
    layer is armed, the network behaves as if they were not there.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self._network = network
        self._layers = list(layers)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._armed: str | None = None
        self._transform: Callable[[Tensor], Tensor] | None = None
        self._fired = 0

    def __enter__(self) -> "LayerMixing":
        try:
            for layer in self._layers:
                self._handles.append(self._register(layer))
        except AttributeError as error:
            self.__exit__(None, None, None)
            names = [name for name, _ in self._network.named_modules() if name]
            unknown = [layer for layer in self._layers if layer not in ("input", *names)]
            raise ValueError(
                f"unknown layer {unknown[0]!r}; expected input or one of {names}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._armed = None

    def _register(self, layer: str) -> torch.utils.hooks.RemovableHandle:
        if layer == "input":

            def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
                if self._armed != layer or not self._network.training:
                    return None
                if not args:
                    raise TypeError("mixing at the input needs the images as a positional argument")
                return (self._apply(args[0]), *args[1:])

            return self._network.register_forward_pre_hook(before)

        def after(module: nn.Module, args: object, output: Any) -> Tensor | None:
            if self._armed != layer or not self._network.training:
                return None
            return self._apply(output)

        return self._network.get_submodule(layer).register_forward_hook(after)

    def _apply(self, maps: Any) -> Tensor:
        if not isinstance(maps, Tensor):
            raise TypeError(f"layer {self._armed} returns {type(maps).__name__}, not one tensor")
        self._fired += 1
        if self._fired > 1:
            raise RuntimeError(
                f"layer {self._armed} ran more than once in a forward pass; mix at a layer that "
                "runs once (python -m hiddenmix.layers lists them)"
            )
        assert self._transform is not None
        return self._transform(maps)

    def arm(self, layer: str, transform: Callable[[Tensor], Tensor]) -> None:
        """Let the next training forward pass send the maps at `layer` through `transform`."""
        if layer not in self._layers:
            raise ValueError(f"layer {layer} is not hooked; hooked are {self._layers}")
        self._armed, self._transform, self._fired = layer, transform, 0

    def disarm(self) -> None:
        """End the pass; raises `RuntimeError` if the layer did not run exactly once in it."""
        layer, fired = self._armed, self._fired
        self._armed, self._transform = None, None
        if self._network.training and fired != 1:
            raise RuntimeError(f"layer {layer} ran {fired} times in the forward pass, not once")


@contextmanager
def mixing_at(network: nn.Module, layer: str, draw: Draw) -> Iterator[None]:
    """Within the block, one training forward pass of `network` mixes its maps at `layer`.

    For one's own training loop, without touching the network's code. Raises `ValueError` for an
    unknown layer or another batch size, `RuntimeError` where the layer did not run exactly once.
    """
    with LayerMixing(network, [layer]) as hooks:
        hooks.arm(layer, lambda maps: mix(maps, draw))
        yield
        hooks.disarm()


class _ReachedLayer(Exception):  # noqa: N818  # a signal, not an error
    """Ends a branch's forward pass at the layer."""


def branch_maps(network: nn.Module, hooks: LayerMixing, layer: str, images: Tensor) -> Tensor:
    """The maps of one literal branch: `network` run on `images` up to `layer` and no further.

    `hooks` must hook `layer`. In training mode, so that BatchNorm takes this branch's statistics.
    """
    reached: list[Tensor] = []

    def stop(maps: Tensor) -> Tensor:
        reached.append(maps)
        raise _ReachedLayer

    hooks.arm(layer, stop)
    with suppress(_ReachedLayer):
        network(images)
    hooks.disarm()
    return reached[0]
