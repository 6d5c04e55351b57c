"""Measures a network on the test images: points of its curve, and what a result says in the end."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hiddenmix import evaluation, randomness
from hiddenmix.config import Config
from hiddenmix.data import Data, OutsideSet, stratified
from hiddenmix.study.planning import check_images

EVALUATION_SHARE = 0.05
"""Share of the training time that the test curve may take where `evaluate_every` is null."""

Measured = tuple[dict[str, Any], dict[str, Tensor]]
"""Numbers, nested as in `result.json`, and a value for each test image, by name."""


def curve_point(network: nn.Module, data: Data, config: Config) -> dict[str, float]:
    """Accuracy (a fraction) and negative log-likelihood (nats) on the test images, and on those for
    validation where there are any, by name as in `metrics.jsonl`."""
    point: dict[str, float] = {}
    for name, split in (("test", data.test), ("validation", data.validation)):
        if split is not None:
            accuracy, nll = evaluation.accuracy(
                network,
                split.images,
                split.labels,
                data.mean,
                data.std,
                precision=config.precision,
            )
            point |= {f"{name}_accuracy": accuracy, f"{name}_nll": nll}
    return point


def evaluation_interval(data: Data) -> int:
    """Epochs between points of the test curve, so that they cost at most `EVALUATION_SHARE`.

    Counted in images, not in measured time, so that every run has the same points: a training step
    costs about three forward passes.
    """
    measured = len(data.test.images) + (len(data.validation.images) if data.validation else 0)
    return max(1, math.ceil(measured / (3 * EVALUATION_SHARE * len(data.train.images))))


def measure(
    network: nn.Module,
    data: Data,
    config: Config,
    which: str,
    outside: list[OutsideSet],
    lacking: tuple[str, ...] = (),
) -> Measured:
    """The evaluations that `which` (`clean` or `full`) selects, or those of `lacking` alone."""
    names = lacking or evaluation.SELECTIONS[which]
    test, precision = data.test, config.precision
    few = subset(test.labels, config.evaluation_images) if which == "full" else None
    pairs: list[tuple[str, evaluation.Value]] = [("label", test.labels.cpu())]
    for name in names:
        chosen = few if name != "clean" else None
        images, labels = test.images, test.labels
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        evaluator = evaluation.EVALUATORS[name]
        pairs += evaluator(network, images, labels, data.mean, data.std, precision=precision)
    if data.validation is not None and "clean" in names:
        split = data.validation
        accuracy, nll = evaluation.accuracy(
            network, split.images, split.labels, data.mean, data.std, precision=precision
        )
        pairs += [("validation/accuracy", accuracy), ("validation/nll", nll)]
    if which == "full":
        conditions = _conditions(outside, config.evaluation_images)
        pairs += evaluation.outside(network, conditions, data.mean, data.std, precision=precision)
        if few is not None:
            pairs.append(("subset", few.cpu()))
    numbers = evaluation.numbers(pairs)
    if which == "full":
        numbers["evaluated"] = {
            "images": config.evaluation_images,
            "attack": evaluation.ATTACK,
            "outside": {each.name: each.digest for each in outside},
        }
        known = {each.name: each.in_training for each in outside if each.in_training}
        numbers["evaluated"] |= {"outside_in_training": known} if known else {}
    return numbers, evaluation.answers(pairs)


def subset(labels: Tensor, size: int | None) -> Tensor | None:
    """Positions of a fixed stratified subset of a test set, the same for all networks; None: all.

    Raises `ConfigError` for fewer images than the test set has classes.
    """
    if size is None or size >= len(labels):
        return None
    check_images("evaluation_images", size, len(labels.unique()))
    keys = randomness.stream(0, "subset").random(len(labels))
    chosen = stratified(labels.cpu().numpy(), size, keys)
    return torch.from_numpy(np.flatnonzero(chosen)).to(labels.device)


def _conditions(sets: list[OutsideSet], size: int | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    for each in sets:
        for condition in each.conditions:
            found = each.images(condition)
            chosen = subset(found.labels, size)
            images, labels = found.images, found.labels
            if chosen is not None:
                images, labels = images[chosen], labels[chosen]
            yield f"{each.name}:{condition}" if condition else each.name, images, labels
