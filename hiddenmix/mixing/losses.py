"""Losses of a mixed batch: where the targets are mixed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hiddenmix.mixing.draws import Draw


def target_weights(draw: Draw) -> Tensor:
    """By what the targets of `draw` are weighed, [K, 1] or [K, B]: its weights, or CutMix's areas.

    Raises `RuntimeError` where the draw's forward pass has mixed nothing.
    """
    if draw.passed.unmixed:
        raise RuntimeError(
            "hiddenmix: the forward pass of this draw mixed nothing, as the network was in evaluation "
            "mode or has not run: its outputs belong to the unmixed targets"
        )
    if draw.centres is None:
        return draw.weights
    if draw.passed.areas is None:
        raise RuntimeError(
            "hiddenmix: CutMix's targets are weighed by the areas pasted: run the network within "
            "mixing_at, or take the draw that `cutmix` returns"
        )
    return draw.passed.areas


def _check_batch(draw: Draw, targets: Tensor, what: str) -> None:
    batch = draw.index.shape[1]
    if targets.dim() == 0 or len(targets) != batch:
        raise ValueError(
            f"hiddenmix: the draw is for {batch} samples, the {what} are {list(targets.shape)}"
        )
    if draw.index.device != targets.device:
        raise ValueError(
            f"hiddenmix: the draw lies on {draw.index.device}, the {what} on {targets.device}; "
            "call draw.to(device)"
        )


def mixed_targets(labels: Tensor, classes: int, draw: Draw) -> Tensor:
    """Class probabilities t = sum_b w_b onehot(y_b), float [B, classes], for `labels` int64 [B]."""
    _check_batch(draw, labels, "labels")
    weights = target_weights(draw).expand(draw.index.shape)
    targets = torch.zeros(len(labels), classes, dtype=weights.dtype, device=weights.device)
    return targets.scatter_add_(1, labels[draw.index].T, weights.T)


def mixed_loss(
    loss: Callable[[Any, Tensor], Tensor], outputs: Any, targets: Tensor, draw: Draw
) -> Tensor:
    """sum_b w_b loss(outputs, targets of branch b), its mean, for any loss of one target a sample.

    `targets` [B, ...] are those of the unmixed batch; `outputs` is handed on as it is. `loss` returns
    one value a sample, [B] or [B, ...], as torch's do with `reduction="none"`; where all samples share
    their weights (`lam=batch`), it may return one for the batch. Raises `ValueError` for targets or
    values of another batch.
    """
    _check_batch(draw, targets, "targets")
    weights = target_weights(draw)
    batch = draw.index.shape[1]
    parts = []
    for row, weight in zip(draw.index, weights, strict=True):
        values = loss(outputs, targets[row])
        if values.dim() == 0 and len(weight) == 1:
            parts.append(values * weight[0])
        elif values.dim() and len(values) == batch:
            parts.append(values * weight.reshape(-1, *[1] * (values.dim() - 1)))
        else:
            raise ValueError(
                f"hiddenmix: the loss returns {list(values.shape)} for a draw of {batch} samples, "
                f"weights {list(weights.shape)}: expected one value a sample (reduction='none')"
            )
    return torch.stack(parts).sum(0).mean()


def mixed_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    draw: Draw,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """sum_b w_b CE(logits, y_b): torch's `cross_entropy`, with its options, for mixed targets.

    `logits` [B, C, ...]; `labels`, those of the unmixed batch, int64 [B, ...], or probabilities as
    the logits. `reduction` is mean, sum or none; the mean is torch's own of each branch, over what is
    not ignored, by the classes' `weight`. Raises `ValueError` for another batch size than the draw's,
    or for labels of another kind.
    """
    batch = draw.index.shape[1]
    probabilities = labels.is_floating_point() and labels.shape == logits.shape
    if len(logits) != batch or not (probabilities or labels.dtype == torch.int64):
        raise ValueError(
            f"hiddenmix: the draw is for {batch} samples: got logits {list(logits.shape)} and labels "
            f"{list(labels.shape)} of {labels.dtype}; expected [{batch}, classes] and int64 [{batch}]"
        )
    _check_batch(draw, labels, "labels")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"hiddenmix: reduction={reduction}; expected mean, sum or none")
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    shares, kept = target_weights(draw), labels != ignore_index
    if labels.dim() == 1 and weight is None and reduction == "mean" and label_smoothing == 0:
        # One softmax for all branches: the usual case takes half the time so.
        classes = labels.masked_fill(~kept, 0)[draw.index]
        each = F.log_softmax(logits, dim=1).gather(1, classes.T).T
        # Chosen, not multiplied by 0: what stands in for an ignored label may be infinite.
        each = torch.where(kept[draw.index], each, 0)
        return -(each * shares).sum() / kept.sum()
    parts = []
    for row, share in zip(draw.index, shares, strict=True):
        each = F.cross_entropy(
            logits,
            labels[row],
            weight,
            ignore_index=ignore_index,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        parts.append(each * share.reshape(-1, *[1] * (each.dim() - 1)))
    values = torch.stack(parts).sum(0)
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if probabilities:
        return values.mean()
    # The same for all branches, as each has the whole batch.
    if weight is None:
        return values.sum() / kept.sum()
    return values.sum() / torch.where(kept, weight[labels.masked_fill(~kept, 0)], 0).sum()


def branch_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum_b w_b CE(logits, labels_b), a mean over B, for `labels` [K, B], `weights` [K, B] or [K, 1]."""
    log_probability = F.log_softmax(logits.float(), dim=1)
    return -(log_probability.gather(1, labels.T).T * weights).sum() / len(logits)
