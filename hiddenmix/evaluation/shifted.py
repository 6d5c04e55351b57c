"""Accuracy on shifted test images."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from hiddenmix.evaluation.deformations import SHIFTS, deform, draw
from hiddenmix.evaluation.measuring import Measurement, Sums, evaluating


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
) -> Iterator[tuple[str, float]]:
    """`shift/<name>/accuracy` and `shift/<name>/nll` for each of the shifts `names`.

    The images keep their order: it is a sample's position that decides its deformation. The shifts
    of one kind are measured together, since they share their draws. Raises `KeyError` for a name
    that is not in `SHIFTS`.
    """
    tests = Measurement(network, images, labels, mean, std, batch_size, precision)
    for kind, group in groupby(names, key=lambda name: SHIFTS[name][0]):
        for name, (right, nll) in _shifted(tests, kind, list(group)):
            yield f"shift/{name}/accuracy", right
            yield f"shift/{name}/nll", nll


def _shifted(tests: Measurement, kind: str, names: list[str]) -> Iterable[tuple[str, list[float]]]:
    channels, height, width = tests.images.shape[1:]
    sums = Sums(len(names), tests.images.device)
    with evaluating(tests.network), torch.inference_mode():
        for start, pixels, labels in tests.batches():
            draws = draw(kind, start, start + len(pixels), (channels, height, width))
            draws = draws.to(pixels.device)
            for row, name in enumerate(names):
                sums.add(row, tests.logits(deform(pixels, name, draws)), labels)
        return zip(names, sums.means(len(tests.images)), strict=True)
