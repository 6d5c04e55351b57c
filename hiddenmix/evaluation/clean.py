"""Accuracy, nll and calibration on the clean test images."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.calibration import calibration, calibration_error
from hiddenmix.evaluation.measuring import Measurement, Tally, Value, evaluating, score


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
    tally = Tally(1, len(images), images.device)
    with evaluating(network), torch.inference_mode():
        for start, pixels, batch_labels in tests.batches():
            tally.add(0, start, tests.logits(pixels), batch_labels)
        (_, right), (_, nll), _ = tally.pairs(["test"])
    assert isinstance(right, float)
    assert isinstance(nll, float)
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
) -> Iterator[tuple[str, Value]]:
    """Accuracy, nll and ECE; accuracy by class; calibration; and the answers themselves.

    - `test/accuracy`, `test/nll`, `test/ece`, and `test/balanced_accuracy`: the mean of the accuracies
      of the classes that occur (Brodersen et al., ICPR 2010);
    - `test/class_count` and `test/class_right`: how many test images each class has, and how many of
      them are answered right;
    - of each of the `BINS` bins `calibration/confidence`, the mean over its samples of the highest
      class probability, `calibration/accuracy`, and `calibration/count`, how many samples they are;
      an empty bin is 0 throughout;
    - `clean/class` int64 [N] and `clean/probability` float32 [N], that of the true class.
    """
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    scores = []
    with evaluating(network), torch.inference_mode():
        for _, pixels, batch_labels in tests.batches():
            logits = tests.logits(pixels)
            scores.append(score(logits, batch_labels))
        # On the CPU, for Apple's GPUs have no float64.
        answer, right, nll, log_confidence = (
            torch.cat(each).cpu() for each in zip(*scores, strict=True)
        )
        labels = labels.cpu()
        bins = calibration(log_confidence.exp(), right)
        count = torch.bincount(labels, minlength=logits.shape[1])
        by_class = torch.bincount(labels, right.double(), minlength=logits.shape[1])
        accuracy, loss = torch.stack([right.double().sum(), nll.double().sum()]) / len(labels)
        balanced = (by_class / count)[count > 0].mean()
        summary = torch.stack([accuracy, loss, calibration_error(bins), balanced])
        answers = (answer, (-nll).exp())
    names = ["test/accuracy", "test/nll", "test/ece", "test/balanced_accuracy"]
    yield from zip(names, summary.tolist(), strict=True)
    yield "test/class_count", count.double().tolist()
    yield "test/class_right", by_class.tolist()
    for curve, values in zip(("confidence", "accuracy", "count"), bins.tolist(), strict=True):
        yield f"calibration/{curve}", values
    yield from zip(("clean/class", "clean/probability"), answers, strict=True)
