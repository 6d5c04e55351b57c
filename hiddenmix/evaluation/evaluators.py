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

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from hiddenmix.evaluation.adversarial import adversarial
from hiddenmix.evaluation.clean import clean
from hiddenmix.evaluation.measuring import Evaluator
from hiddenmix.evaluation.shifted import shifted

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
