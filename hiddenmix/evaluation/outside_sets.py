"""Accuracy on outside sets: further test images of the same classes."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.measuring import Measurement, Tally, Value, evaluating


def outside(
    network: nn.Module,
    conditions: Iterable[tuple[str, Tensor, Tensor]],
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
) -> Iterator[tuple[str, Value]]:
    """`outside/<name>/accuracy`, `.../nll`, `.../class` (int32 [M]) and `.../label` (int64 [M]) of each
    condition: its name, images uint8 [M, C, H, W] and labels int64 [M].

    A condition is read, measured and let go of before the next one, for a set of many may be larger
    than the memory. Images and labels are moved to the device of `mean`.
    """
    for name, there, classes in conditions:
        images, labels = there.to(mean.device), classes.to(mean.device)
        tests = Measurement(network, images, labels, mean, std, batch_size, precision)
        tally = Tally(1, len(images), images.device)
        with evaluating(network), torch.inference_mode():
            for start, pixels, batch_labels in tests.batches():
                tally.add(0, start, tests.logits(pixels), batch_labels)
        yield from tally.pairs([f"outside/{name}"])
        yield f"outside/{name}/label", labels.cpu()
