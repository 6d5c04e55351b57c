"""Evaluators: functions of a network and its test images that yield `(name, value)`, log nothing.

Every evaluator runs in evaluation mode and gives each module its own mode back, also on error. None
touches a global random state or a parameter's gradient. Sums are kept on the device and read once,
at the end; a whole deformed test set is never held.

Images are uint8 [N, C, H, W], labels int64 [N], mean and std float32 [C], all on the network's
device; the network sees (images / 255 - mean) / std. Accuracy and calibration are fractions in
[0, 1]; the negative log-likelihood (nll) is in nats, the mean over samples. A sample whose logits
are NaN counts as wrong, and makes the nll and the calibration NaN. `batch_size` changes the speed
alone; None takes what suits the device. `precision` is `float32` or `bf16` (autocast). No images,
or another number of labels, raises `ValueError`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hiddenmix.deformations import SHIFTS, deform, draw

BINS = 15
"""Bins of the calibration, of equal width in confidence."""

EPSILONS = (1, 2, 4, 8)
"""Strengths of the fast gradient sign method, in units of 1/255."""


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
    ) -> Iterator[tuple[str, float]]: ...


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of the block; each module then gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass
class _Tests:
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


def _score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each sample is right (bool), its nll, and the log of its confidence, all [B]."""
    log_probability = logits.log_softmax(dim=1)
    log_confidence, predicted = log_probability.max(dim=1)
    right = (predicted == labels) & ~log_confidence.isnan()  # max takes the first NaN for a class
    return right, -log_probability.gather(1, labels[:, None])[:, 0], log_confidence


class _Sums:
    """Sums of right answers and of nll on the device, in float64, for `rows` conditions."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.sums = torch.zeros(rows, 2, dtype=torch.float64, device=device)

    def add(self, row: int, logits: Tensor, labels: Tensor) -> None:
        right, nll, _ = _score(logits, labels)
        self.sums[row] += torch.stack([right.double().sum(), nll.double().sum()])

    def means(self, count: int) -> list[list[float]]:
        means: list[list[float]] = (self.sums / count).tolist()
        return means


def accuracy(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> tuple[float, float]:
    """Accuracy and nll of the clean images: what a learning curve needs, and nothing beyond."""
    tests = _Tests(network, images, labels, mean, std, batch_size, precision)
    sums = _Sums(1, images.device)
    with _evaluating(network), torch.inference_mode():
        for _, pixels, batch_labels in tests.batches():
            sums.add(0, tests.logits(pixels), batch_labels)
        [(right, nll)] = sums.means(len(images))
    return right, nll


def clean(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> Iterator[tuple[str, float]]:
    """`test/accuracy`, `test/nll`, `test/ece`, and the bins of the calibration curve.

    Bin i of `BINS`, from 0, yields `calibration/confidence/i`, the mean over its samples of the
    highest class probability, `calibration/accuracy/i`, and `calibration/count/i`, how many samples
    they are; an empty bin is 0 throughout.
    """
    tests = _Tests(network, images, labels, mean, std, batch_size, precision)
    rights, nlls, confidences = [], [], []
    with _evaluating(network), torch.inference_mode():
        for _, pixels, batch_labels in tests.batches():
            right, nll, log_confidence = _score(tests.logits(pixels), batch_labels)
            rights.append(right)
            nlls.append(nll)
            confidences.append(log_confidence)
        right = torch.cat(rights)
        bins = calibration(torch.cat(confidences).exp(), right)
        summary = torch.stack(
            [right.double().mean(), torch.cat(nlls).double().mean(), calibration_error(bins)]
        )
        values = torch.cat([summary, bins.flatten()]).tolist()
    names = ["test/accuracy", "test/nll", "test/ece"]
    for curve in ("confidence", "accuracy", "count"):
        names += [f"calibration/{curve}/{number}" for number in range(BINS)]
    yield from zip(names, values, strict=True)


def calibration(confidence: Tensor, right: Tensor, bins: int = BINS) -> Tensor:
    """Mean confidence, accuracy and number of samples of each bin: float64 [3, bins].

    `confidence` [N] in [0, 1], `right` [N] bool. Bin m holds the confidences in ((m - 1) / bins,
    m / bins], m = 1 ... bins (Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
    section 2). An empty bin is 0 throughout.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)[1:-1]
    member = torch.bucketize(confidence, edges)
    values = torch.stack([confidence, right.to(confidence.dtype), torch.ones_like(confidence)])
    sums = torch.zeros(3, bins, dtype=torch.float64, device=confidence.device)
    sums.index_add_(1, member, values.double())
    sums[:2] /= sums[2].clamp(min=1)
    return sums


def calibration_error(bins: Tensor) -> Tensor:
    """Expected calibration error of `calibration`'s [3, bins] (Guo et al. 2017, equation 3)."""
    confidence, right, count = bins.unbind()
    return torch.sum(count / count.sum() * (right - confidence).abs())


def shifted(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    names: Sequence[str] = tuple(SHIFTS),
) -> Iterator[tuple[str, float]]:
    """`shift/<name>/accuracy` and `shift/<name>/nll` for each of the shifts `names`.

    The images keep their order: it is a sample's position that decides its deformation. The shifts
    of one kind are measured together, since they share their draws. Raises `KeyError` for a name
    that is not in `SHIFTS`.
    """
    tests = _Tests(network, images, labels, mean, std, batch_size, precision)
    for kind, group in groupby(names, key=lambda name: SHIFTS[name][0]):
        for name, (right, nll) in _shifted(tests, kind, list(group)):
            yield f"shift/{name}/accuracy", right
            yield f"shift/{name}/nll", nll


def _shifted(tests: _Tests, kind: str, names: list[str]) -> Iterable[tuple[str, list[float]]]:
    channels, height, width = tests.images.shape[1:]
    sums = _Sums(len(names), tests.images.device)
    with _evaluating(tests.network), torch.inference_mode():
        for start, pixels, labels in tests.batches():
            draws = draw(kind, start, start + len(pixels), (channels, height, width))
            draws = draws.to(pixels.device)
            for row, name in enumerate(names):
                sums.add(row, tests.logits(deform(pixels, name, draws)), labels)
        return zip(names, sums.means(len(tests.images)), strict=True)


def fgsm(pixels: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Pixels moved by `epsilon` along the gradient's sign, clamped to [0, 1]; all [B, C, H, W].

    The fast gradient sign method (Goodfellow et al., ICLR 2015, section 4).
    """
    return (pixels + epsilon * gradient.sign()).clamp_(0, 1)


def adversarial(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> Iterator[tuple[str, float]]:
    """`adversarial/fgsm_<e>/accuracy` and `.../nll` under FGSM of e/255, for each e of `EPSILONS`.

    White-box: the gradient is the network's own, of the cross-entropy of the true label with
    respect to the pixels in [0, 1], computed once for all strengths.
    """
    tests = _Tests(network, images, labels, mean, std, batch_size, precision)
    sums = _Sums(len(EPSILONS), images.device)
    with _evaluating(network):
        for _, pixels, batch_labels in tests.batches():
            gradient = _pixel_gradient(tests, pixels, batch_labels)
            with torch.inference_mode():
                for row, epsilon in enumerate(EPSILONS):
                    moved = fgsm(pixels, gradient, epsilon / 255)
                    sums.add(row, tests.logits(moved), batch_labels)
        means = sums.means(len(images))
    for epsilon, (right, nll) in zip(EPSILONS, means, strict=True):
        yield f"adversarial/fgsm_{epsilon}/accuracy", right
        yield f"adversarial/fgsm_{epsilon}/nll", nll


def _pixel_gradient(tests: _Tests, pixels: Tensor, labels: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = pixels.clone().requires_grad_()
        # the sum, not the mean: a sample's gradient then does not shrink with the batch
        loss = nn.functional.cross_entropy(tests.logits(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


EVALUATORS: dict[str, Evaluator] = {"clean": clean, "shift": shifted, "adversarial": adversarial}
"""Evaluators by the name of their part of a result."""

SELECTIONS = {"clean": ("clean",), "full": tuple(EVALUATORS)}
"""Which evaluators the configuration's `evaluation` selects."""


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    which: str = "clean",
    batch_size: int | None = None,
    precision: str = "float32",
) -> dict[str, Any]:
    """Run the evaluators that `which` (a key of `SELECTIONS`) selects; nested as in result.json."""
    pairs: list[tuple[str, float]] = []
    for name in SELECTIONS[which]:
        evaluator = EVALUATORS[name]
        pairs += evaluator(
            network, images, labels, mean, std, batch_size=batch_size, precision=precision
        )
    return nested(pairs)


def nested(pairs: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """`("shift/rotation_20/accuracy", v)` to `{"shift": {"rotation_20": {"accuracy": v}}}`.

    Names that are numbers, counted from 0 in order, become a list.
    """
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return {name: _lists(node) for name, node in tree.items()}


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if list(node) == [str(number) for number in range(len(node))]:
        return list(node.values())
    return {name: _lists(child) for name, child in node.items()}
