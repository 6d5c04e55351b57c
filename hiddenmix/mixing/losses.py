"""Losses of a mixed batch: where the targets are mixed."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hiddenmix.mixing.draws import Draw


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
