"""Accuracy on shifted test images."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.deformations import SHIFTS, deform, draw
from hiddenmix.evaluation.measuring import Measurement, Tally, Value, evaluating


def shifted(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    names: Sequence[str] = tuple(SHIFTS),
) -> Iterator[tuple[str, Value]]:
    """`shift/<name>/accuracy`, `.../nll` and `.../class` (int32 [N]) for each of the shifts `names`.

    The images keep their order: it is a sample's position that decides its deformation. The shifts
    of one kind are measured together, since they share their draws. Raises `KeyError` for a name
    that is not in `SHIFTS`.
    """
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    for kind, group in groupby(names, key=lambda name: SHIFTS[name][0]):
        yield from _shifted(tests, kind, list(group))


def _shifted(tests: Measurement, kind: str, names: list[str]) -> Iterator[tuple[str, Value]]:
    channels, height, width = tests.images.shape[1:]
    tally = Tally(len(names), len(tests.images), tests.images.device)
    with evaluating(tests.network), torch.inference_mode():
        for start, pixels, labels in tests.batches():
            draws = draw(kind, start, start + len(pixels), (channels, height, width))
            draws = draws.to(pixels.device)
            for row, name in enumerate(names):
                tally.add(row, start, tests.logits(deform(pixels, name, draws)), labels)
    yield from tally.pairs([f"shift/{name}" for name in names])
