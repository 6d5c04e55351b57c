"""Accuracy, nll and calibration on the clean test images."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.calibration import BINS, calibration, calibration_error
from hiddenmix.evaluation.measuring import Measurement, Sums, evaluating, score


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
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    sums = Sums(1, images.device)
    with evaluating(network), torch.inference_mode():
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
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    rights, nlls, confidences = [], [], []
    with evaluating(network), torch.inference_mode():
        for _, pixels, batch_labels in tests.batches():
            right, nll, log_confidence = score(tests.logits(pixels), batch_labels)
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
