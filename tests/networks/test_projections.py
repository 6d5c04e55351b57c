"""Strided 1x1 convolutions of few channels."""

import pytest
import torch
from torch import nn

from hiddenmix.config.schema import PreactResNet18Config
from hiddenmix.networks.building import build
from hiddenmix.networks.projections import Watch, mend_projections
from hiddenmix.networks.survey import survey
from hiddenmix.randomness import default_generators


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 6, 7, 8, 12, 16, 24])
@pytest.mark.parametrize(("batch", "side"), [(2, 8), (50, 8), (50, 32)])
def test_a_projections_gradient_is_right_however_narrow(inputs: int, batch: int, side: int) -> None:
    """In channels_last, where oneDNN's own for a strided 1x1 convolution of few channels is wrong, or
    ends the process; against float64 in the plain layout."""
    with default_generators(0, "init"):
        shortcut = nn.Conv2d(inputs, 2 * inputs, 1, 2, bias=False)
    mend_projections(nn.Sequential(shortcut))
    layout = torch.channels_last
    shortcut = shortcut.to(memory_format=layout)
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(batch, inputs, side, side, generator=generator)
    x = maps.clone(memory_format=layout).requires_grad_()
    y = shortcut(x)
    gradient = torch.randn(y.shape, generator=generator)
    y.backward(gradient)
    exact_x = maps.double().requires_grad_()
    exact_w = shortcut.weight.detach().double().contiguous().requires_grad_()
    exact_y = nn.functional.conv2d(exact_x, exact_w, stride=2)
    exact_y.backward(gradient.double())  # type: ignore[no-untyped-call]
    pairs = ((y, exact_y), (x.grad, exact_x.grad), (shortcut.weight.grad, exact_w.grad))
    for ours, theirs in pairs:
        assert ours is not None
        assert theirs is not None
        distance = (ours.detach().double() - theirs.detach()).abs().max()
        assert float(distance / theirs.detach().abs().max()) < 1e-5


class ByFunction(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(10, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(self.stem(x), self.weight, stride=2).mean((2, 3))


@pytest.mark.parametrize(("channels", "exposed"), [(8, {8}), (16, set())])
def test_those_that_cannot_be_mended_are_found(channels: int, exposed: set[int]) -> None:
    assert survey(ByFunction(channels), (3, 8, 8)).exposed == exposed
    mended = nn.Sequential(
        nn.Conv2d(3, channels, 3),
        nn.Conv2d(channels, 10, 1, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    mend_projections(mended)
    assert survey(mended, (3, 8, 8)).exposed == set()


def test_networks_are_built_with_their_narrow_projections_mended() -> None:
    """Those of 8 channels are; what they compute stays."""
    with default_generators(0, "init"):
        network = build(PreactResNet18Config(width=8), (3, 8, 8), 10)
    convolutions = {
        name: module.stride
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    }
    assert convolutions == {
        "layer2.0.shortcut": (1, 1),
        "layer3.0.shortcut": (2, 2),
        "layer4.0.shortcut": (2, 2),
    }
    shortcut = network.get_submodule("layer2.0.shortcut")
    assert isinstance(shortcut, nn.Conv2d)
    maps = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(
        shortcut(maps), nn.functional.conv2d(maps, shortcut.weight, stride=2)
    )


def test_watching_loads_no_compiler() -> None:
    # torch wraps it, and the first call of the wrapper imports the compiler: 2.7 s of every command.
    assert not hasattr(Watch.__torch_dispatch__, "__wrapped__")
    with Watch() as watch:
        torch.conv2d(torch.ones(1, 2, 4, 4), torch.ones(2, 2, 1, 1), stride=2)
    assert watch.exposed == {2}
