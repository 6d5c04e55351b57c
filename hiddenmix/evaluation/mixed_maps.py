"""How far mixing at a layer is from mixing the images, and how the rest of a network reads mixed maps.

The network is g(h(x)), h up to a layer. K images x_1, ..., x_K with labels y_1, ..., y_K make a tuple i,
with weights w of sum 1. Both evaluators take the same tuples of real test images, in the same float32
arithmetic (no TF32) that normalised them for the network.

In evaluation mode h is a function of one image, and what is measured is how far that function is from
an affine one. In training mode BatchNorm normalises by the batch: that of mixed images has another
variance than that of the images whose maps are mixed, so that a distance has a second part, which the
size and the weights of the batch decide, and is not 0 behind a bare convolution and its BatchNorm.
`batch_statistics` measures that sum: how far two training steps are from each other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix.evaluation.measuring import evaluating
from hiddenmix.mixing import Draw, draw_weights, mix, mixed_targets, replace_tensor
from hiddenmix.randomness import stream

BATCH = 128
"""Tuples in a batch: those of another batch are other ones."""


@dataclass(frozen=True)
class Case:
    """How many images are mixed, and with which weights."""

    images: int
    weights: tuple[float, ...] | None
    """None: drawn for each tuple, uniform on the simplex (Dirichlet with alpha = 1)."""


CASES = {
    "2/equal": Case(2, (1 / 2, 1 / 2)),
    "2/unequal": Case(2, (0.7, 0.3)),
    "2/drawn": Case(2, None),
    "3/equal": Case(3, (1 / 3, 1 / 3, 1 / 3)),
    "3/unequal": Case(3, (0.6, 0.3, 0.1)),
    "3/drawn": Case(3, None),
}
"""By name: the number of images, and what their weights are."""

Hook = Callable[[str, Tensor], Tensor | None]
"""Is given the name of a layer and its map; what it returns takes the map's place."""


def mixing_distance(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    layers: Sequence[str],
    batch_size: int = BATCH,
    batch_statistics: bool = False,
) -> Iterator[tuple[str, float]]:
    """`<layer>/<case>/distance` for each of `layers` (`input` or dotted names) and of `CASES`:

        d = sqrt( sum_i |h(sum_b w_b x_b) - sum_b w_b h(x_b)|^2 / sum_i |h(sum_b w_b x_b)|^2 ),

    Euclidean norms over all numbers of a map, sums over the tuples i. 0: mixing there is mixing the
    images. With `batch_statistics` BatchNorm normalises by each batch, as in training, and its running
    statistics stay as they were; dropout is off in either case.
    """
    tuples = _Tuples(images, labels, mean, std, batch_size)
    sums = torch.zeros(len(layers), len(CASES), 2, dtype=torch.float64, device=images.device)
    mode = _batch_statistics if batch_statistics else evaluating
    with mode(network), _exact(), torch.inference_mode():
        for start, inputs, _ in tuples.batches():
            own: dict[str, Tensor] = {}

            def keep(name: str, maps: Tensor, own: dict[str, Tensor] = own) -> None:
                own[name] = maps.clone()  # the next module may write in place

            _run(network, inputs, layers, keep)
            for column, case in enumerate(CASES.values()):
                draw = tuples.draw(case, start, len(inputs))

                def compare(
                    name: str,
                    maps: Tensor,
                    own: dict[str, Tensor] = own,
                    draw: Draw = draw,
                    column: int = column,
                ) -> None:
                    parts = [_square(maps - mix(own[name], draw)), _square(maps)]
                    sums[layers.index(name), column] += torch.stack(parts)

                _run(network, mix(inputs, draw), layers, compare)
    for layer, row in zip(layers, sums.tolist(), strict=True):
        for case_name, (difference, whole) in zip(CASES, row, strict=True):
            yield f"{layer}/{case_name}/distance", _root(difference, whole)


def label_consistency(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    layers: Sequence[str],
    batch_size: int = BATCH,
) -> Iterator[tuple[str, float]]:
    """Whether the rest g of a network reads mixed maps as their weights say, in evaluation mode.

    With p = softmax g(sum_b w_b h(x_b)), the mixed label t = sum_b w_b onehot(y_b) and the mixed answer
    q = sum_b w_b softmax g(h(x_b)), for each of `layers` and `CASES` the means over the tuples of

    - `<layer>/<case>/cross_entropy`: -sum_c t_c log p_c, in nats; at best the entropy of t;
    - `<layer>/<case>/kl`: sum_c q_c log(q_c / p_c), in nats;
    - `<layer>/<case>/total_variation`: 1/2 sum_c |p_c - q_c|, in [0, 1];
    - `<layer>/<case>/in_classes`: 1 where the class of the largest p_c is one of y_1, ..., y_K, else 0.

    At `input` the images are mixed, which the other layers are to be compared with.
    """
    tuples = _Tuples(images, labels, mean, std, batch_size)
    names = ("cross_entropy", "kl", "total_variation", "in_classes")
    sums = torch.zeros(len(layers), len(CASES), len(names), dtype=torch.float64)
    sums = sums.to(images.device)
    count = 0
    with evaluating(network), _exact(), torch.inference_mode():
        for start, inputs, classes in tuples.batches():
            count += len(inputs)
            single = network(inputs).double().softmax(1)
            for column, case in enumerate(CASES.values()):
                draw = tuples.draw(case, start, len(inputs))
                target = mixed_targets(classes, single.shape[1], draw)
                answer = mix(single, draw)

                def mixed(name: str, maps: Tensor, draw: Draw = draw) -> Tensor:
                    return mix(maps, draw)

                for row, layer in enumerate(layers):
                    log_p = _run(network, inputs, [layer], mixed).double().log_softmax(1)
                    sums[row, column] += torch.stack(
                        [
                            -(target * log_p).sum(),
                            F.kl_div(log_p, answer, reduction="sum"),
                            (log_p.exp() - answer).abs().sum() / 2,
                            (classes[draw.index] == log_p.argmax(1)).any(0).sum(),
                        ]
                    )
    for layer, found in zip(layers, (sums / count).tolist(), strict=True):
        for case_name, values in zip(CASES, found, strict=True):
            for name, value in zip(names, values, strict=True):
                yield f"{layer}/{case_name}/{name}", value


def take_statistics(network: nn.Module, images: Tensor, mean: Tensor, std: Tensor) -> None:
    """Give BatchNorm the statistics of `images` [N, C, H, W], N >= 2, as if a long training had been
    like them: untrained, it has none, and in evaluation mode would leave its maps as they are."""
    norms = _batch_norms(network)
    momenta = [module.momentum for module in norms]
    inputs = (images.float().div_(255) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    for module in norms:
        module.momentum = 1.0
    try:
        with _normalising_by_batch(network), torch.no_grad():
            network(inputs)
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum


class _Tuples:
    """Tuples of test images in batches: the images in a random order, and of each the next K - 1 of its
    batch, so that none is mixed with itself.

    Batches are of one size, at most `batch_size`, for BatchNorm takes their statistics; the images that
    this leaves over, fewer than there are batches, are in no tuple.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor, batch_size: int
    ) -> None:
        most = max(case.images for case in CASES.values())
        if len(images) != len(labels) or min(len(images), batch_size) < most:
            raise ValueError(
                f"{len(images)} test images and {len(labels)} labels in batches of {batch_size}: "
                f"mixing needs as many of the one as of the other, and at least {most}"
            )
        self._images, self._labels = images, labels
        self._mean, self._std = mean.view(-1, 1, 1), std.view(-1, 1, 1)
        self._size = len(images) // -(-len(images) // batch_size)
        order = stream(0, "tuples").permutation(len(images))
        self._order = torch.from_numpy(order).to(images.device)

    def batches(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The position of each batch's first tuple, its normalised images and its labels."""
        for start in range(0, len(self._images) - self._size + 1, self._size):
            chosen = self._order[start : start + self._size]
            pixels = self._images[chosen].float().div_(255)
            yield start, (pixels - self._mean) / self._std, self._labels[chosen]

    def draw(self, case: Case, start: int, size: int) -> Draw:
        """The draw of the batch at position `start`."""
        places = torch.arange(size)
        index = torch.stack([places.roll(-branch) for branch in range(case.images)])
        if case.weights is None:
            weights = draw_weights(stream(0, "tuples", case.images, start), case.images, 1.0, size)
        else:
            weights = torch.tensor(case.weights)[:, None]
        return Draw.unchecked(weights, index).to(self._images.device)


def _run(network: nn.Module, inputs: Tensor, layers: Sequence[str], hook: Hook) -> Tensor:
    """What `network` returns for `inputs`, with `hook` behind each of `layers`."""

    def heard(name: str, output: object) -> object:
        def transform(maps: Tensor) -> Tensor:
            changed = hook(name, maps)
            return maps if changed is None else changed

        return replace_tensor(output, transform, f"what layer {name} returns")

    with ExitStack() as hooks:
        for layer in layers:
            if layer == "input":
                changed = hook(layer, inputs)
                inputs = inputs if changed is None else changed
            else:
                handle = network.get_submodule(layer).register_forward_hook(
                    lambda module, args, output, layer=layer: heard(layer, output)
                )
                hooks.callback(handle.remove)
        logits: Tensor = network(inputs)
    return logits


def _batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Those that normalise by the batch where they train; one that a network keeps in evaluation mode
    does not."""
    kind = nn.modules.batchnorm._BatchNorm
    return [each for each in network.modules() if isinstance(each, kind) and each.training]


@contextmanager
def _normalising_by_batch(network: nn.Module) -> Iterator[None]:
    """`evaluating`, but for BatchNorm."""
    norms = _batch_norms(network)
    with evaluating(network):
        for module in norms:
            module.training = True
        yield


@contextmanager
def _batch_statistics(network: nn.Module) -> Iterator[None]:
    """`_normalising_by_batch`; what BatchNorm keeps of the batches is undone."""
    kept = [(each, each.clone()) for norm in _batch_norms(network) for each in norm.buffers()]
    with _normalising_by_batch(network):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)


def _exact() -> AbstractContextManager[None]:
    """Without TF32, whose rounding would be a distance of its own."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )


def _square(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return norm.square()


def _root(difference: float, whole: float) -> float:
    """Of a map that is 0 for every mixture there is no distance, unless maps are 0 throughout."""
    if whole == 0:
        return 0.0 if difference == 0 else math.nan
    return math.sqrt(difference / whole)
