"""Evaluators: functions of a network and its test images that yield `(name, value)`, log nothing.

Every evaluator runs in evaluation mode and gives each module its own mode back, also on error. None
touches a global random state or a parameter's gradient. Sums are kept on the device and read once,
at the end; a whole deformed test set is never held.

Images are uint8 [N, C, H, W], labels int64 [N], mean and std float32 [C], all on the network's
device; the network sees (images / 255 - mean) / std. Accuracy and calibration are fractions in
[0, 1]; the negative log-likelihood (nll) is in nats, the mean over samples. A sample's answer is a
class; where its logits are NaN it is the number of classes, which is wrong, and the nll and the
calibration are NaN. `batch_size` changes the speed alone; None takes what suits the device.
`precision` is `float32` or `bf16` (autocast). No images, or another number of labels, raises
`ValueError`.
"""

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from hiddenmix.evaluation.adversarial import adversarial
from hiddenmix.evaluation.clean import clean
from hiddenmix.evaluation.measuring import Evaluator, Value
from hiddenmix.evaluation.shifted import shifted

EVALUATORS: dict[str, Evaluator] = {"clean": clean, "shift": shifted, "adversarial": adversarial}
"""Evaluators by the name of their part of a result."""

SELECTIONS = {"clean": ("clean",), "full": tuple(EVALUATORS)}
"""Which evaluators the configuration's `evaluation` selects."""


def numbers(pairs: Iterable[tuple[str, Value]]) -> dict[str, Any]:
    """The numbers among what evaluators yielded, nested as in result.json:
    `("shift/rotation_20/accuracy", v)` becomes `{"shift": {"rotation_20": {"accuracy": v}}}`.

    JSON has no NaN: a number that is not finite is absent, not zero, and so is a list with one in it.
    """
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if isinstance(value, Tensor):
            continue
        if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
            continue
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def answers(pairs: Iterable[tuple[str, Value]]) -> dict[str, Tensor]:
    """What evaluators yielded for each sample, by name."""
    return {name: value for name, value in pairs if isinstance(value, Tensor)}
