"""Calibration: reliability bins and the expected calibration error."""

import torch
from torch import Tensor

BINS = 15
"""Bins of the calibration, of equal width in confidence."""


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
