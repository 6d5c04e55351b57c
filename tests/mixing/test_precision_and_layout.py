"""Maps of half precision, whose weights still sum to 1, and the layout of what is mixed."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hiddenmix
from hiddenmix import mixing

THIRDS = torch.tensor([[1 / 3], [2 / 3]])
HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
def test_the_mean_of_equal_maps_is_that_map(dtype: torch.dtype) -> None:
    draw = hiddenmix.Draw(THIRDS, torch.tensor([[0, 1, 2], [2, 0, 1]]))
    maps = torch.full((3, 4, 2, 2), 100.0, dtype=dtype, requires_grad=True)
    mixed = mixing.mix(maps, draw)
    assert mixed.dtype == dtype
    assert torch.equal(mixed, torch.full_like(mixed, 100))
    mixed.backward(torch.full_like(mixed, 100))  # type: ignore[no-untyped-call]
    assert torch.equal(maps.grad, torch.full_like(maps, 100))  # type: ignore[arg-type]
    several = mixing.mix_branches([maps.detach(), maps.detach()], THIRDS)
    assert several.dtype == dtype
    assert torch.equal(several, torch.full_like(several, 100))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("lam", ["batch", "sample"])
def test_half_precision_is_rounded_once(dtype: torch.dtype, lam: str) -> None:
    draw = hiddenmix.draw(np.random.default_rng(0), 6, mode=3, lam=lam)
    maps = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    weights = draw.weights.expand(3, 6)
    for given in (maps, maps.contiguous(memory_format=torch.channels_last), maps.flatten(1)):
        columns = weights.double().reshape(3, 6, *[1] * (given.dim() - 1))
        exact = (columns * given[draw.index].double()).sum(0)
        # Half a unit in the last place; float32's own rounding may tip the scales.
        unit = torch.finfo(dtype).eps * exact.abs().clamp_min(torch.finfo(dtype).tiny)
        assert ((mixing.mix(given, draw).double() - exact).abs() <= 0.501 * unit).all()


class Grey(nn.Module):
    """As in PyTorch's tutorials: `view` behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 8 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv(x).view(-1, 4 * 8 * 8))
        return logits


def test_mixed_grey_images_stay_in_the_layout_of_theirs() -> None:
    """Those of one channel lie in both layouts; a convolution would take the mark of the other."""
    draw = hiddenmix.draw(0, 5)
    images = torch.randn(5, 1, 8, 8, requires_grad=True)
    mixed = mixing.mix(images, draw)
    assert mixed.stride() == images.stride()
    network = Grey()
    with hiddenmix.mixing_at(network, "input", draw):
        logits = network(images)
    assert torch.equal(logits, network(mixed))
    logits.sum().backward()
    marked = mixing.mix(images, draw, torch.channels_last)
    assert marked.stride() == (64, 1, 8, 1)
    assert torch.equal(marked, mixed)
