"""Losses of mixed batches, against the literal sum over samples and branches in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import hiddenmix
from hiddenmix import mixing

BATCH, CLASSES = 7, 4
DENSE_LABELS = torch.arange(BATCH * 6).reshape(BATCH, 2, 3) % CLASSES


def drawn(lam: str, mode: str | int = 3, batch: int = BATCH) -> hiddenmix.Draw:
    draw = hiddenmix.draw(np.random.default_rng(2), batch, mode=mode, alpha=0.8, lam=lam)
    weights = draw.weights.double()
    return hiddenmix.Draw(weights / weights.sum(0), draw.index)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def literal(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor, draw: hiddenmix.Draw
) -> Tensor:
    """w_b[i] x the loss of sample i alone with its target of branch b, summed over b: [B] of sums."""
    weights = draw.weights.expand(draw.index.shape)
    each = []
    for i in range(len(outputs)):
        parts = [
            weights[b, i] * loss(outputs[i : i + 1], targets[row[i]][None]).sum()
            for b, row in enumerate(draw.index)
        ]
        each.append(torch.stack(parts).sum())
    return torch.stack(each)


def none(function: Callable[..., Tensor], **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda outputs, targets: function(outputs, targets, reduction="none", **options)


PER_SAMPLE: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]] = {
    "multi-label": (
        none(F.binary_cross_entropy_with_logits, pos_weight=random(CLASSES, seed=5).abs()),
        random(BATCH, CLASSES),
        (random(BATCH, CLASSES, seed=1) > 0).double(),
    ),
    "regression": (none(F.huber_loss), random(BATCH, 2), random(BATCH, 2, seed=1)),
    "dense regression": (none(F.l1_loss), random(BATCH, 1, 3, 2), random(BATCH, 1, 3, 2, seed=1)),
    "smoothed": (
        none(F.cross_entropy, label_smoothing=0.1, weight=random(CLASSES, seed=5).abs()),
        random(BATCH, CLASSES),
        torch.arange(BATCH) % CLASSES,
    ),
    "segmentation": (
        none(F.cross_entropy, ignore_index=255),
        random(BATCH, CLASSES, 2, 3),
        DENSE_LABELS.where(torch.arange(3) > 0, 255),
    ),
    "one value a sample": (
        lambda outputs, targets: (outputs - targets).square().sum(1).sqrt(),
        random(BATCH, 3),
        random(BATCH, 3, seed=1),
    ),
}


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_mixed_loss_is_the_weighted_sum_over_branches(lam: str, name: str) -> None:
    loss, outputs, targets = PER_SAMPLE[name]
    outputs = outputs.clone().requires_grad_()
    draw = drawn(lam)
    ours = hiddenmix.mixed_loss(loss, outputs, targets, draw)
    values = loss(outputs, targets).numel()
    expected = literal(loss, outputs, targets, draw).sum() / values
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    [gradient], [theirs] = (torch.autograd.grad(each, outputs) for each in (ours, expected))
    torch.testing.assert_close(gradient, theirs, rtol=1e-12, atol=1e-12)


def test_a_loss_of_the_whole_batch_takes_weights_of_the_whole_batch() -> None:
    outputs, labels = random(BATCH, CLASSES), torch.arange(BATCH) % CLASSES
    module = torch.nn.CrossEntropyLoss(weight=random(CLASSES, seed=5).abs(), ignore_index=2)
    draw = drawn("batch", mode=4)
    expected = sum(
        w[0] * module(outputs, labels[row]) for w, row in zip(draw.weights, draw.index, strict=True)
    )
    torch.testing.assert_close(hiddenmix.mixed_loss(module, outputs, labels, draw), expected)
    with pytest.raises(ValueError, match=r"hiddenmix: the loss returns \[\] .*reduction='none'"):
        hiddenmix.mixed_loss(module, outputs, labels, drawn("sample"))
    with pytest.raises(ValueError, match=r"hiddenmix: the loss returns \[28\]"):
        hiddenmix.mixed_loss(lambda y, t: y.flatten(), outputs, labels, draw)


def test_outputs_are_handed_on_as_they_are() -> None:
    outputs = {"logits": random(BATCH, CLASSES), "aux": random(BATCH, CLASSES, seed=4)}
    labels, draw = torch.arange(BATCH) % CLASSES, drawn("sample")

    def both(outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        losses = [F.cross_entropy(each, labels, reduction="none") for each in outputs.values()]
        return losses[0] + 0.4 * losses[1]

    one, two = (hiddenmix.mixed_cross_entropy(y, labels, draw) for y in outputs.values())
    torch.testing.assert_close(hiddenmix.mixed_loss(both, outputs, labels, draw), one + 0.4 * two)


CLASS_WEIGHTS = random(CLASSES, seed=5).abs()


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight": CLASS_WEIGHTS},
        {"label_smoothing": 0.2},
        {"ignore_index": 1},
        {"weight": CLASS_WEIGHTS, "label_smoothing": 0.2, "ignore_index": 255},
    ],
)
def test_mixed_cross_entropy_has_the_options_of_torchs(
    lam: str, dense: bool, options: dict[str, Any]
) -> None:
    shape = (2, 3) if dense else ()
    logits = random(BATCH, CLASSES, *shape).requires_grad_()
    labels = torch.arange(BATCH * (6 if dense else 1)).reshape(BATCH, *shape) % CLASSES
    ignored = options.get("ignore_index", -100)
    labels = labels.where(labels != 3, ignored)  # both the default and the one that is asked for
    draw = drawn(lam)
    # The mean is torch's own: over what is not ignored, by the weights of the classes.
    kept = labels != ignored
    counts = options.get("weight", torch.ones(CLASSES, dtype=torch.float64))
    total = counts[labels[kept]].sum()
    expected = literal(none(F.cross_entropy, **options), logits, labels, draw)
    ours = hiddenmix.mixed_cross_entropy(logits, labels, draw, **options)
    torch.testing.assert_close(ours, expected.sum() / total, rtol=1e-12, atol=1e-12)
    if lam == "batch":
        branches = [F.cross_entropy(logits, labels[row], **options) for row in draw.index]
        weighed = sum(w[0] * each for w, each in zip(draw.weights, branches, strict=True))
        torch.testing.assert_close(ours, weighed, rtol=1e-12, atol=1e-12)
    summed = hiddenmix.mixed_cross_entropy(logits, labels, draw, reduction="sum", **options)
    torch.testing.assert_close(summed, expected.sum(), rtol=1e-12, atol=1e-12)
    each = hiddenmix.mixed_cross_entropy(logits, labels, draw, reduction="none", **options)
    assert each.shape == labels.shape
    torch.testing.assert_close(each.flatten(1).sum(1) if dense else each, expected)


@pytest.mark.parametrize("lam", ["batch", "sample"])
def test_labels_may_be_probabilities(lam: str) -> None:
    logits, labels = random(BATCH, CLASSES), random(BATCH, CLASSES, seed=1).softmax(1)
    draw = drawn(lam)
    options: dict[str, Any] = {"weight": CLASS_WEIGHTS, "label_smoothing": 0.1}
    expected = literal(none(F.cross_entropy, **options), logits, labels, draw).mean()
    ours = hiddenmix.mixed_cross_entropy(logits, labels, draw, **options)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision_lose_nothing_more(
    dtype: torch.dtype, options: dict[str, Any], lam: str
) -> None:
    """Those of autocast: the softmax of their exact values, where their own has two digits."""
    logits, labels = random(BATCH, CLASSES).to(dtype), torch.arange(BATCH) % CLASSES
    draw = drawn(lam)
    whole = none(F.cross_entropy, **options)
    expected = float(literal(whole, logits.double(), labels, draw).mean())
    ours = hiddenmix.mixed_cross_entropy(logits, labels, draw, **options)
    assert float(ours) == pytest.approx(expected, rel=1e-6)
    if not options:
        ours = mixing.branch_cross_entropy(logits, labels[draw.index], draw.weights)
        assert float(ours) == pytest.approx(expected, rel=1e-6)


def test_other_options_are_refused() -> None:
    with pytest.raises(ValueError, match="hiddenmix: reduction=max; expected mean, sum or none"):
        hiddenmix.mixed_cross_entropy(
            random(BATCH, CLASSES),
            torch.zeros(BATCH, dtype=torch.int64),
            drawn("batch"),
            reduction="max",
        )


@pytest.mark.parametrize("weighed", [False, True])
def test_what_stands_in_for_an_ignored_label_may_be_impossible(weighed: bool) -> None:
    """Class 0 is masked by logits of minus infinity; an ignored label must not meet it."""
    draw, logits = drawn("sample", batch=4), random(4, CLASSES)
    logits[:, 0] = -torch.inf
    logits.requires_grad_()
    labels = torch.tensor([1, -100, 2, 3])
    weight = torch.tensor([torch.inf, 1.0, 2.0, 0.5], dtype=torch.float64) if weighed else None
    loss = hiddenmix.mixed_cross_entropy(logits, labels, draw, weight=weight)
    each = literal(
        lambda x, y: F.cross_entropy(x, y, weight, reduction="none"), logits, labels, draw
    )
    kept = 3 if weight is None else 3.5
    torch.testing.assert_close(loss, each.sum() / kept)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
