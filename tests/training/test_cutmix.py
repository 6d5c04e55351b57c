"""operation=cutmix trains as a loop that pastes boxes by hand; operation=mixup as it did before."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix import mixing
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators
from hiddenmix.training.epoch_draws import draw_epoch
from hiddenmix.training.loop import Training
from tests.support.small_training import CPU, epochs, images_and_labels, small, training


def by_hand(branches: list[Tensor], weights: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes of [B, C, H, W] branches, one for each sample: the maps, and the areas [K, B]."""
    mixed = branches[0].clone()
    owner = torch.zeros(len(mixed), *mixed.shape[2:], dtype=torch.int64)
    middles = [(torch.arange(size) + 0.5) / size for size in mixed.shape[2:]]
    for b in range(1, len(branches)):
        for i in range(len(mixed)):
            half = weights[b, i % weights.shape[1]].sqrt() / 2
            row, column = centres[b, 1:, i % weights.shape[1]]
            rows, columns = (middles[0] - row).abs() < half, (middles[1] - column).abs() < half
            box = rows[:, None] & columns
            mixed[i] = torch.where(box, branches[b][i], mixed[i])
            owner[i][box] = b
    areas = [(owner == b).float().mean((1, 2)) for b in range(len(branches))]
    return mixed, torch.stack(areas)


@pytest.mark.parametrize("layer", ["input", "conv2"])
@pytest.mark.parametrize(
    ("partners", "mode", "lam"),
    [
        ("permutation", "siamese", "sample"),
        ("permutation", "triplet", "batch"),
        ("independent", "triplet", "batch"),
        ("independent", "siamese", "sample"),
    ],
)
def test_one_step_of_cutmix(layer: str, partners: str, mode: str, lam: str) -> None:
    config = small(
        layer=layer,
        mode=mode,
        lam=lam,
        partners=partners,
        operation="cutmix",
        epochs=1,
        batch_size=50,
    )
    trained = training(config)
    with default_generators(config.seed, "init"):
        network = build(config.model, (1, 8, 8), 3)
    stages = list(network.named_children())
    depth = 0 if layer == "input" else [name for name, _ in stages].index(layer) + 1
    below = nn.Sequential(*[module for _, module in stages[:depth]])
    above = nn.Sequential(*[module for _, module in stages[depth:]])
    draws = draw_epoch(config, 0, 50, CPU)
    assert draws.weights is not None
    assert draws.centres is not None
    images, labels = images_and_labels()
    if draws.partners is not None:
        rows = draws.order[0][draws.partners]
        maps = below((images[rows[0]].float() / 255 - 0.5) / 0.3)
        branches = [maps[row] for row in draws.partners]
    else:
        rows = draws.order
        branches = [below((images[row].float() / 255 - 0.5) / 0.3) for row in rows]
    mixed, areas = by_hand(branches, draws.weights, draws.centres)
    logits = above(mixed)
    each = torch.stack([F.cross_entropy(logits, labels[row], reduction="none") for row in rows])
    loss = (areas * each).sum() / 50
    [epoch] = epochs(trained.run())
    assert epoch.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    torch.autograd.backward(loss)
    optimizer.step()
    theirs = dict(network.named_parameters())
    for name, value in trained.network.named_parameters():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize("layer", ["input", ["input", "conv2"]])
def test_cutmix_sees_the_weights_partners_and_layers_of_mixup(lam: str, layer: Any) -> None:
    mixup = small(layer=layer, lam=lam, mode="triplet")
    ours = draw_epoch(dataclasses.replace(mixup, operation="cutmix"), 3, 50, CPU)
    theirs = draw_epoch(mixup, 3, 50, CPU)
    assert theirs.centres is None
    assert ours.centres is not None
    assert ours.centres.shape == (3, 3, 50 if lam == "sample" else 4)
    assert ours.layer == theirs.layer
    for name in ("order", "weights", "partners"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    # A batch has its own part of them, as of the weights.
    part = ours.batch(slice(1, 2), slice(16, 32))
    assert part.centres is not None
    column = slice(16, 32) if lam == "sample" else slice(1, 2)
    assert torch.equal(part.centres, ours.centres[..., column])
    assert part.weights is not None
    maps = [torch.full((16, 1, 8, 8), float(branch)) for branch in range(3)]
    axes = mixing.position_axes(maps[0])
    found, areas = mixing.cut_branches(maps, part.weights, part.centres, axes)
    expected, shares = by_hand(maps, part.weights, part.centres)
    assert torch.equal(found, expected)
    torch.testing.assert_close(areas.expand(3, 16), shares)


@pytest.mark.parametrize("partners", ["permutation", "independent"])
def test_boxes_lie_over_the_rows_and_columns_of_oblong_images(partners: str) -> None:
    """Of 8x16 images, the maps [B, 8, 8, 16] look as if their channels came last."""
    config = small(layer="0", operation="cutmix", partners=partners, epochs=1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (32, 1, 8, 16), dtype=torch.uint8, generator=generator)
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Identity(), nn.Flatten(), nn.Linear(1024, 3))
    seen: list[Tensor] = []
    network[1].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    labels, mean = torch.arange(32) % 3, torch.tensor([0.5])
    run = Training(network, images, labels, mean, mean, config, CPU).run()
    kernel = network.get_parameter("0.weight").detach().clone().reshape(8)
    shift = network.get_parameter("0.bias").detach().clone()
    next(run)
    # The first channel tells a position's pixel, and that pixel all other channels.
    pixel = (seen[0][:, :1] - shift[0]) / kernel[0]
    expected = pixel * kernel[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-4)
    run.close()  # type: ignore[attr-defined]
