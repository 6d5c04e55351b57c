"""CutMix: boxes at any layer's resolution, against a paste position by position."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hiddenmix


def drawn(batch: int, mode: int = 2, lam: str = "sample", seed: int = 0) -> hiddenmix.Draw:
    generator = np.random.default_rng(seed)
    return hiddenmix.draw(generator, batch, mode=mode, lam=lam, operation="cutmix")


def pasted(maps: Tensor, draw: hiddenmix.Draw, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Position by position: the last branch whose box holds a position's middle owns it."""
    assert draw.centres is not None
    branches, batch = draw.index.shape
    weights = draw.weights.expand(branches, batch)
    centres = draw.centres.expand(branches, 3, batch)
    mixed, areas = maps[draw.index[0]].clone(), torch.zeros(branches, batch)
    sizes = [maps.shape[axis] for axis in axes]
    for sample in range(batch):
        for position in itertools.product(*map(range, sizes)):
            owner = 0
            for branch in range(1, branches):
                half = float(weights[branch, sample]) ** (1 / len(axes)) / 2
                middle = centres[branch, 3 - len(axes) :, sample].tolist()
                if all(
                    abs((p + 0.5) / size - m) < half
                    for p, size, m in zip(position, sizes, middle, strict=True)
                ):
                    owner = branch
            areas[owner, sample] += 1 / np.prod(sizes)
            place: list[int | slice] = [slice(None)] * (maps.dim() - 1)
            for axis, p in zip(axes, position, strict=True):
                place[axis - 1] = p
            mixed[(sample, *place)] = maps[(draw.index[owner, sample], *place)]
    return mixed, areas


@pytest.mark.parametrize("mode", [2, 3, 4])
@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 6, 5), (2, 3)),
        ((3, 3, 3), (2, 3)),
        ((6, 6, 3), (1, 2)),  # channels last, as in Swin transformers
        ((7, 4), (1,)),  # tokens
        ((9,), (1,)),  # units
        ((2, 3, 4, 5), (2, 3, 4)),
    ],
)
def test_boxes_are_pasted_and_targets_are_their_areas(
    mode: int, lam: str, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    draw = drawn(5, mode, lam)
    maps = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    before = maps.clone()
    mixed, seen = hiddenmix.cutmix(maps, draw)
    expected, areas = pasted(maps, draw, axes)
    assert torch.equal(mixed, expected)
    torch.testing.assert_close(seen.weights.expand(mode, 5), areas)
    assert seen.weights.shape == draw.weights.shape
    assert torch.equal(seen.index, draw.index)
    assert torch.equal(maps, before)


def test_the_mean_area_is_that_of_the_paper() -> None:
    """Yun et al. (2019): sides of sqrt(1 - lambda), a uniform centre, what lies outside cut off."""
    draw = drawn(4000)
    _, seen = hiddenmix.cutmix(torch.zeros(4000, 1, 32, 32), draw)
    side = draw.weights[1].double().sqrt()
    # A side s around a uniform centre keeps s - s^2 / 4 of the unit interval on average.
    expected = (side - side.square() / 4).square().mean()
    assert float(seen.weights[1].mean()) == pytest.approx(float(expected), abs=0.01)
    torch.testing.assert_close(seen.weights.sum(0), torch.ones(4000))


@pytest.mark.parametrize("mode", [2, 3])
def test_gradients_of_cutmix(mode: int) -> None:
    draw = drawn(4, mode)
    maps = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: hiddenmix.cutmix(x, draw)[0], maps)


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.MaxPool2d(2))
        self.second = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 4))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.first(x))
        return logits


@pytest.mark.parametrize("layer", ["input", "first"])
@pytest.mark.parametrize("lam", ["batch", "sample"])
def test_a_block_cuts_at_the_layers_own_resolution(layer: str, lam: str) -> None:
    network, draw = Stages(), drawn(5, 3, lam)
    images, labels = torch.randn(5, 2, 6, 6), torch.arange(5) % 4
    with hiddenmix.mixing_at(network, layer, draw):
        logits = network(images)
    if layer == "input":
        cut, seen = hiddenmix.cutmix(images, draw)
        expected = network(cut)
    else:
        cut, seen = hiddenmix.cutmix(network.first(images), draw)
        expected = network.second(cut)
    torch.testing.assert_close(logits, expected)
    # The areas of the pass weigh the targets, not the shares that were drawn.
    loss = hiddenmix.mixed_cross_entropy(logits, labels, draw)
    torch.testing.assert_close(loss, hiddenmix.mixed_cross_entropy(expected, labels, seen))
    targets = hiddenmix.mixed_targets(labels, 4, draw)
    torch.testing.assert_close(targets, hiddenmix.mixed_targets(labels, 4, seen))
    assert not torch.allclose(seen.weights, draw.weights)


def test_what_fits_together_is_checked() -> None:
    mixup, cut, maps = hiddenmix.draw(0, 4), drawn(4), torch.zeros(4, 2, 3, 3)
    with pytest.raises(ValueError, match=r"hiddenmix: `cutmix` needs a draw of operation='cutmix'"):
        hiddenmix.cutmix(maps, mixup)
    with pytest.raises(ValueError, match=r"hiddenmix: a draw of operation=cutmix is for `cutmix`"):
        hiddenmix.mix(maps, cut)
    with pytest.raises(RuntimeError, match=r"hiddenmix: CutMix's targets are weighed by the areas"):
        hiddenmix.mixed_targets(torch.zeros(4, dtype=torch.int64), 2, cut)
    with pytest.raises(ValueError, match=r"hiddenmix: cutmix takes maps of 2 to 5 dimensions"):
        hiddenmix.cutmix(torch.zeros(4), cut)
    with pytest.raises(TypeError, match=r"hiddenmix: the tensor holds torch.uint8"):
        hiddenmix.cutmix(maps.byte(), cut)
    with pytest.raises(ValueError, match=r"operation=paste; expected .* mixup or cutmix"):
        hiddenmix.draw(0, 4, operation="paste")


OBLONG = (32, 64)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((32, 32, 64), (2, 3)),  # as many channels as rows
        ((5, 28, 60), (2, 3)),  # a convolution without padding
        ((14, 28, 60), (2, 3)),
        ((16, 32, 64), (2, 3)),  # the image's own resolution
        ((32, 1, 1), (2, 3)),
        ((8, 16, 48), (1, 2)),  # as in Swin transformers
        ((2, 4, 96), (1, 2)),
        ((3, 7, 96), (1, 2)),  # rounded
    ],
)
def test_of_oblong_images_rows_and_columns_have_the_proportions(
    shape: tuple[int, int, int], axes: tuple[int, int]
) -> None:
    places = torch.arange(5)
    draw = hiddenmix.Draw(drawn(5).weights, torch.stack([places, places.roll(1)]), drawn(5).centres)
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(5, *shape, generator=generator)
    if axes == (2, 3):
        maps = maps.contiguous(memory_format=torch.channels_last)
    mixed, seen = hiddenmix.cutmix(maps, draw, OBLONG)
    positions = maps.movedim(axes, (1, 2)).flatten(3)
    took = (mixed.movedim(axes, (1, 2)).flatten(3) == positions[draw.index[1]]).all(-1)
    stayed = (mixed.movedim(axes, (1, 2)).flatten(3) == positions).all(-1)
    assert (took | stayed).all()  # a position has all of its channels from one image
    torch.testing.assert_close(seen.weights[1], took.double().mean((1, 2)).float())


def test_maps_that_may_have_their_channels_first_or_last_are_refused() -> None:
    maps = torch.zeros(5, 8, 16, 32)
    with pytest.raises(ValueError, match=r"\[5, 8, 16, 32\] of images of 32x64 may have"):
        hiddenmix.cutmix(maps, drawn(5), OBLONG)
    # Where a convolution wrote them in channels_last layout, they come first.
    written = maps.contiguous(memory_format=torch.channels_last)
    hiddenmix.cutmix(written, drawn(5), OBLONG)
    hiddenmix.cutmix(maps, drawn(5))


def test_a_block_takes_the_proportions_of_the_networks_images() -> None:
    network, draw = nn.Sequential(nn.Conv2d(1, 32, 1), nn.Identity()), drawn(5)
    images = torch.randn(5, 1, *OBLONG)
    with hiddenmix.mixing_at(network, "0", draw):
        mixed = network(images)
    expected, areas = hiddenmix.cutmix(network(images), draw, OBLONG)
    assert torch.equal(mixed, expected)
    targets = hiddenmix.mixed_targets(torch.arange(5), 5, draw)
    torch.testing.assert_close(targets, hiddenmix.mixed_targets(torch.arange(5), 5, areas))
    guessed, _ = hiddenmix.cutmix(network(images), draw)
    assert not torch.equal(mixed, guessed)
