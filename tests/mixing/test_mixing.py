"""The mathematics of mixing, against sample-by-sample recomputations and literal K-branch networks."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from hiddenmix import mixing
from hiddenmix.config.schema import CnnConfig
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators

MODES = ("siamese", "triplet")
LAMS = ("batch", "sample")


def draw_for(mode: str, lam: str, batch: int, seed: int = 0) -> mixing.Draw:
    return mixing.draw(np.random.default_rng(seed), batch, mode=mode, alpha=0.7, lam=lam)


def cnn(batch_norm: bool = True) -> nn.Module:
    with default_generators(0, "init"):
        return build(CnnConfig(channels=[4, 6, 8], width=16, batch_norm=batch_norm), (1, 8, 8), 5)


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 8, 8, generator=generator)
    return images, torch.randint(5, (count,), generator=generator)


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "vector", "bf16"])
def test_mixed_batch_equals_sample_by_sample(mode: str, lam: str, layout: str) -> None:
    draw = draw_for(mode, lam, 7)
    maps = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    if layout == "channels_last":
        maps = maps.contiguous(memory_format=torch.channels_last)
    if layout == "vector":
        maps = maps.flatten(1)
    if layout == "bf16":
        maps = maps.bfloat16()
    before = maps.clone()
    mixed = mixing.mix(maps, draw)
    for sample in range(7):
        expected = torch.zeros_like(maps[0], dtype=torch.float64)
        for branch in range(len(draw.index)):
            weight = draw.weights[branch, sample if lam == "sample" else 0].double()
            expected += weight * maps[draw.index[branch, sample]].double()
        tolerance = 2e-2 if layout == "bf16" else 1e-6
        torch.testing.assert_close(mixed[sample].double(), expected, atol=tolerance, rtol=tolerance)
    assert mixed.stride() == maps.stride()
    assert torch.equal(maps, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lam", LAMS)
def test_gradient_of_mix_equals_autograd(mode: str, lam: str) -> None:
    draw = draw_for(mode, lam, 6)
    maps = torch.randn(6, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixing.mix(x, draw), maps)
    assert torch.autograd.gradgradcheck(lambda x: mixing.mix(x, draw), maps)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("layer", ["input", "conv1", "pool2", "fc1"])
def test_permutation_equals_literal_branches(mode: str, lam: str, layer: str) -> None:
    """Loss and gradients of a literal network of K weight-sharing branches, BatchNorm training."""
    images, labels = batch()
    draw = draw_for(mode, lam, len(images))
    network = cnn()
    stages = list(network.named_children())
    depth = 0 if layer == "input" else [name for name, _ in stages].index(layer) + 1
    below = nn.Sequential(*[module for _, module in stages[:depth]])
    above = nn.Sequential(*[module for _, module in stages[depth:]])
    literal_loss = torch.zeros(())
    branches = [below(images[row]) for row in draw.index]
    weights = draw.weights.expand(draw.index.shape)
    shape = (-1, *[1] * (branches[0].dim() - 1))
    logits = above(sum((w.reshape(shape) * h for w, h in zip(weights, branches, strict=True))))
    for row, weight in zip(draw.index, weights, strict=True):
        each = F.cross_entropy(logits, labels[row], reduction="none")
        literal_loss = literal_loss + (weight * each).mean()
    literal = gradients(network, literal_loss)

    with mixing.mixing_at(network, layer, draw):
        mixed_logits = network(images)
    loss = mixing.mixed_cross_entropy(mixed_logits, labels, draw)
    torch.testing.assert_close(loss, literal_loss, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(gradients(network, loss), literal, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("layer", ["input", "conv1", "conv3"])
def test_weight_one_is_plain_training(layer: str) -> None:
    images, labels = batch()
    network = cnn()
    plain_loss = F.cross_entropy(network(images), labels)
    index = draw_for("siamese", "batch", len(images)).index
    draw = mixing.Draw(torch.tensor([[1.0], [0.0]]), index)
    with mixing.mixing_at(network, layer, draw):
        loss = mixing.mixed_cross_entropy(network(images), labels, draw)
    torch.testing.assert_close(loss, plain_loss, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(gradients(network, loss), gradients(network, plain_loss), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lam", LAMS)
def test_bare_first_convolution_is_image_mixup(mode: str, lam: str) -> None:
    images, _ = batch()
    network = cnn(batch_norm=False)
    draw = draw_for(mode, lam, len(images))
    outputs = {}
    for layer in ("input", "conv1.conv", "conv1"):
        with mixing.mixing_at(network, layer, draw):
            outputs[layer] = network(images)
    torch.testing.assert_close(outputs["input"], outputs["conv1.conv"], atol=1e-5, rtol=1e-4)
    assert (outputs["input"] - outputs["conv1"]).abs().max() > 1e-3


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("branches", [2, 3])
def test_weights_follow_their_distribution(alpha: float, branches: int) -> None:
    weights = mixing.draw_weights(np.random.default_rng(0), branches, alpha, 20_000)
    torch.testing.assert_close(weights.sum(0), torch.ones(20_000))
    # Every marginal of a symmetric Dirichlet is Beta(alpha, (K - 1) alpha); for K = 2 that is lambda.
    for row in weights.double().numpy():
        marginal = stats.beta(alpha, (branches - 1) * alpha)
        # Below alpha = 1 float32 rounds the mass next to 0 and 1 onto them; compare inside.
        inside = row[(row > 1e-6) & (row < 1 - 1e-6)]
        low, high = marginal.cdf([1e-6, 1 - 1e-6])
        assert stats.kstest(inside, lambda x: (marginal.cdf(x) - low) / (high - low)).pvalue > 1e-3  # noqa: B023
    assert weights[0].min() < 0.5 < weights[0].max()


@pytest.mark.parametrize("mode", MODES)
def test_partners_are_permutations(mode: str) -> None:
    index = mixing.draw_partners(np.random.default_rng(0), mixing.BRANCHES[mode], 50)
    assert torch.equal(index[0], torch.arange(50))
    for row in index:
        assert torch.equal(row.sort().values, torch.arange(50))
    assert len({tuple(row.tolist()) for row in index}) == len(index)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lam", LAMS)
def test_loss_is_the_weighted_sum_and_that_of_the_targets(mode: str, lam: str) -> None:
    _, labels = batch()
    logits = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(3))
    draw = draw_for(mode, lam, len(labels))
    weights = draw.weights.expand(draw.index.shape)
    expected = sum(
        float(weights[k, i])
        * float(F.cross_entropy(logits[i : i + 1], labels[draw.index[k, i]][None]))
        for k in range(len(weights))
        for i in range(len(labels))
    ) / len(labels)
    loss = mixing.mixed_cross_entropy(logits, labels, draw)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    targets = mixing.mixed_targets(labels, 5, draw)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(labels)))
    assert float(F.cross_entropy(logits, targets)) == pytest.approx(expected, rel=1e-5)


def test_branch_maps_are_those_of_a_pass_of_its_own() -> None:
    images, _ = batch()
    network, twin = cnn(), cnn()
    with mixing.LayerMixing(network, ["conv2"]) as hooks:
        maps = mixing.branch_maps(network, hooks, "conv2", images)
    expected = images
    for name, stage in twin.named_children():
        expected = stage(expected)
        if name == "conv2":
            break
    assert torch.equal(maps, expected)
    # A literal branch updates the running statistics below the layer and none above it.
    theirs = dict(twin.named_buffers())
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, theirs[name]), name


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        first, _ = self.pair(x)
        y: Tensor = self.shared(torch.relu(self.shared(first)))
        return y


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        ("shared", RuntimeError, "more than once"),
        ("unused", RuntimeError, "0 times"),
        ("pair", TypeError, "tuple"),
        ("nowhere", ValueError, "unknown layer 'nowhere'"),
    ],
)
def test_layer_that_does_not_run_once_is_refused(
    layer: str, error: type[Exception], words: str
) -> None:
    network = Twice()
    with (
        pytest.raises(error, match=words),
        mixing.mixing_at(network, layer, draw_for("siamese", "batch", 3)),
    ):
        network(torch.randn(3, 4))
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_hook_rests_in_evaluation_and_leaves_no_trace() -> None:
    images, _ = batch()
    network = cnn()
    plain = copy.deepcopy(network).eval()(images)
    draw = draw_for("siamese", "batch", len(images))
    for layer in ("input", "conv1"):
        network.eval()
        with mixing.mixing_at(network, layer, draw):
            assert torch.equal(network(images), plain)
        network.train()
        with pytest.raises(ZeroDivisionError), mixing.mixing_at(network, layer, draw):
            raise ZeroDivisionError
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
    assert torch.equal(network.eval()(images), plain)


def test_wrong_batch_size_is_refused() -> None:
    network = cnn()
    with (
        pytest.raises(ValueError, match="draw is for 4"),
        mixing.mixing_at(network, "conv1", draw_for("siamese", "batch", 4)),
    ):
        network(batch(5)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lam": "epoch"}, r"lam=epoch, operation=mixup; expected batch or sample"),
        *(({"alpha": a}, f"alpha={a}; expected a finite") for a in (0.0, -1.0, math.inf, math.nan)),
    ],
)
def test_wrong_draw_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"hiddenmix: {words}"):
        mixing.draw(np.random.default_rng(0), 4, **arguments)


@pytest.mark.parametrize("layer", ["bn1", "layer1.0.bn2", "layer2.0.conv1"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_next_module_may_write_in_place(layer: str, layout: torch.memory_format) -> None:
    """torchvision's residual blocks add and rectify in place; compared with autograd's own indexing."""
    with default_generators(0, "init"):
        network = resnet18(num_classes=3).to(memory_format=layout)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 32, 32, generator=generator).to(memory_format=layout)
    labels = torch.randint(3, (6,), generator=generator)
    draw = draw_for("triplet", "sample", 6)

    def indexed(module: nn.Module, args: object, maps: Tensor) -> Tensor:
        columns = draw.weights[:, :, None, None, None]
        return torch.stack([w * maps[i] for w, i in zip(columns, draw.index, strict=True)]).sum(0)

    handle = network.get_submodule(layer).register_forward_hook(indexed)
    expected = mixing.mixed_cross_entropy(network(images), labels, draw)
    handle.remove()
    with mixing.mixing_at(network, layer, draw):
        loss = mixing.mixed_cross_entropy(network(images), labels, draw)
    torch.testing.assert_close(loss, expected)
    pairs = zip(gradients(network, loss), gradients(network, expected), strict=True)
    for (
        ours,
        theirs,
    ) in pairs:  # BatchNorm over the last stage's six single pixels amplifies rounding
        torch.testing.assert_close(ours, theirs, atol=3e-4, rtol=1e-2)


def test_a_loss_of_another_batch_or_of_no_class_numbers_is_refused() -> None:
    draw = draw_for("siamese", "batch", 6)
    with pytest.raises(ValueError, match=r"draw is for 6 samples: got logits \[4, 3\]"):
        mixing.mixed_cross_entropy(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), draw)
    with pytest.raises(ValueError, match=r"of torch.float32; expected .* int64"):
        mixing.mixed_cross_entropy(torch.zeros(6, 3), torch.zeros(6), draw)
