"""What cannot be mixed rightly is refused in words that name hiddenmix; what looks hard is right."""

import copy
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import hiddenmix
from hiddenmix import mixing


def drawn(batch: int = 6, **options: Any) -> hiddenmix.Draw:
    return hiddenmix.draw(np.random.default_rng(3), batch, **{"lam": "sample", **options})


def images(batch: int = 6) -> Tensor:
    return torch.randn(batch, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Stages(nn.Module):
    """Two stages, the first in an activation checkpoint if asked."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
        self.double()
        for value in self.parameters():
            value.data.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        if self.reentrant is None:
            y = self.first(x)
        else:
            y = checkpoint(self.first, x, use_reentrant=self.reentrant)
        logits: Tensor = self.second(y)
        return logits


def losses_and_gradients(network: nn.Module, layer: str, within: bool) -> list[Tensor]:
    draw = drawn()
    x = images().requires_grad_()
    with hiddenmix.mixing_at(network, layer, draw):
        loss = network(x).square().sum()
        if within:
            torch.autograd.backward(loss)
    if not within:
        torch.autograd.backward(loss)
    assert x.grad is not None
    return [loss.detach(), x.grad, *[p.grad for p in network.parameters() if p.grad is not None]]


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("layer", ["first.0", "first.1", "first.2"])
def test_in_an_activation_checkpoint_backward_belongs_into_the_block(
    reentrant: bool, layer: str
) -> None:
    expected = losses_and_gradients(Stages(), layer, within=False)
    with pytest.raises(
        RuntimeError, match=rf"hiddenmix: layer {layer} lies within an activation checkpoint"
    ):
        losses_and_gradients(Stages(reentrant), layer, within=False)
    ours = losses_and_gradients(Stages(reentrant), layer, within=True)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("layer", ["input", "second", "second.0"])
def test_outside_of_an_activation_checkpoint_nothing_changes(reentrant: bool, layer: str) -> None:
    expected = losses_and_gradients(Stages(), layer, within=False)
    ours = losses_and_gradients(Stages(reentrant), layer, within=False)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_a_block_within_the_checkpoint_is_opened_again_by_it() -> None:
    expected = losses_and_gradients(Stages(), "first", within=False)
    network, draw, x = Stages(), drawn(), images().requires_grad_()

    def mixed(x: Tensor) -> Tensor:
        with hiddenmix.mixing_at(network, "first", draw):
            logits: Tensor = network(x)
        return logits

    for reentrant in (True, False):
        network.zero_grad()
        loss = checkpoint(mixed, x, use_reentrant=reentrant).square().sum()
        torch.autograd.backward(loss)
        for value, theirs in zip(network.parameters(), expected[2:], strict=True):
            torch.testing.assert_close(value.grad, theirs, rtol=1e-12, atol=1e-12)


def test_a_frozen_part_without_gradients_is_no_checkpoint() -> None:
    network, draw = Stages(), drawn()
    with hiddenmix.mixing_at(network.first, "1", draw), torch.no_grad():
        maps = network.first(images())
    below = network.first[:2](images())
    torch.testing.assert_close(maps, network.first[2:](mixing.mix(below, draw)))


@pytest.mark.parametrize("kind", ["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("layer", ["input", "first"])
def test_copies_made_within_the_block_are_unmixed_networks_of_their_own(
    kind: str, layer: str
) -> None:
    network, draw = Stages(), drawn()
    with hiddenmix.mixing_at(network, layer, draw):
        if kind == "deepcopy":
            twin = copy.deepcopy(network)
        elif kind == "pickle":
            twin = pickle.loads(pickle.dumps(network))  # noqa: S301
        else:
            file = io.BytesIO()
            torch.save(network, file)
            assert b"hiddenmix" not in file.getvalue().replace(b"test_nothing", b"")
            twin = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
        plain = twin(images())  # does not count as the block's pass
        mixed = network(images())
    torch.testing.assert_close(plain, network(images()), rtol=0, atol=0)
    assert (plain - mixed).abs().max() > 1e-3
    with hiddenmix.mixing_at(twin, layer, draw):
        torch.testing.assert_close(twin(images()), mixed, rtol=0, atol=0)


class Returns(nn.Module):
    """Hands what its layer returns to a function that makes a tensor of it."""

    def __init__(self, wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.layer = Wrapping(wrap)
        self.unwrap = unwrap

    def forward(self, x: Tensor) -> Tensor:
        return self.unwrap(self.layer(x))


class Wrapping(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(torch.tanh(x))


class Named(NamedTuple):
    maps: Tensor
    size: tuple[int, int]


class Output(OrderedDict[str, Any]):
    """As Hugging Face's model outputs: a dict whose keys are attributes too."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.__dict__[key] = value


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda x: (x, None, 7), lambda y: y[0]),
        (lambda x: [x], lambda y: y[0]),
        (lambda x: {"maps": x, "mask": x > 0}, lambda y: y["maps"]),
        (lambda x: Named(x, (2, 2)), lambda y: y.maps),
        (lambda x: Output(maps=x, states=None), lambda y: y.maps),
        (lambda x: ({"deep": [x]}, 3), lambda y: y[0]["deep"][0]),
    ],
)
def test_the_one_tensor_of_a_container_is_mixed(
    wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor]
) -> None:
    network, draw = Returns(wrap, unwrap), drawn()
    with hiddenmix.mixing_at(network, "layer", draw):
        mixed = network(images())
    torch.testing.assert_close(mixed, mixing.mix(torch.tanh(images()), draw))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, x + 1),
        lambda x: {"maps": x, "weights": x},
        lambda x: None,
        lambda x: [x > 0],
    ],
)
def test_a_container_of_none_or_several_is_refused_by_name(wrap: Callable[[Tensor], Any]) -> None:
    network = Returns(wrap, lambda y: y)
    with (
        pytest.raises(TypeError, match=r"hiddenmix: what layer layer returns .* not one"),
        hiddenmix.mixing_at(network, "layer", drawn()),
    ):
        network(images())


@pytest.mark.parametrize("layer", ["input", "layer"])
def test_whole_numbers_are_refused(layer: str) -> None:
    network = Returns(lambda x: torch.arange(24).reshape(6, 4), lambda y: y)
    what = "the network's input" if layer == "input" else "what layer layer returns"
    given = torch.zeros(6, 4, dtype=torch.uint8)
    with (
        pytest.raises(TypeError, match=f"hiddenmix: {what} holds torch.(uint8|int64)"),
        hiddenmix.mixing_at(network, layer, drawn()),
    ):
        network(given if layer == "input" else images())
    with pytest.raises(TypeError, match=r"hiddenmix: the tensor holds torch.uint8"):
        hiddenmix.mix(given, drawn())


def test_complex_maps_are_mixed() -> None:
    draw = drawn()
    maps = torch.complex(images(), images() + 1).requires_grad_()
    mixed = hiddenmix.mix(maps, draw)
    parts = [hiddenmix.mix(part, draw) for part in (maps.real, maps.imag)]
    torch.testing.assert_close(mixed, torch.complex(*parts))
    assert torch.autograd.gradcheck(lambda x: hiddenmix.mix(x, draw), maps)


IDENTITY = torch.arange(4)
HALVES = torch.tensor([[0.5], [0.5]])


@pytest.mark.parametrize(
    ("weights", "index", "words"),
    [
        (HALVES, torch.stack([IDENTITY, torch.tensor([0, 0, 1, 2])]), "no permutation"),
        (HALVES, torch.stack([IDENTITY, IDENTITY + 1]), "no permutation"),
        (HALVES, torch.stack([IDENTITY, IDENTITY - 1]), "no permutation"),
        (HALVES, IDENTITY, r"index is \[4\]"),
        (HALVES, torch.stack([IDENTITY, IDENTITY]).int(), "index is .* of torch.int32"),
        (HALVES + 0.1, torch.stack([IDENTITY, IDENTITY.flip(0)]), "sum of 1"),
        (torch.tensor([[1.5], [-0.5]]), torch.stack([IDENTITY, IDENTITY.flip(0)]), "from 0 to 1"),
        (HALVES * torch.nan, torch.stack([IDENTITY, IDENTITY.flip(0)]), "sum of 1"),
        (torch.full((3, 1), 1 / 3), torch.stack([IDENTITY, IDENTITY.flip(0)]), r"\[2, 1\]"),
        (torch.full((2, 3), 0.5), torch.stack([IDENTITY, IDENTITY.flip(0)]), r"\[2, 4\]"),
        (torch.tensor([[1], [0]]), torch.stack([IDENTITY, IDENTITY.flip(0)]), "floating point"),
    ],
)
def test_a_draw_made_by_hand_is_checked(weights: Tensor, index: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=f"hiddenmix: .*{words}"):
        hiddenmix.Draw(weights, index)


def test_a_right_draw_made_by_hand_is_taken() -> None:
    index = torch.stack([IDENTITY.flip(0), IDENTITY.roll(1), IDENTITY])
    draw = hiddenmix.Draw(torch.tensor([0.2, 0.3, 0.5]).unsqueeze(1).half(), index)
    maps = images(4)
    weights = draw.weights.double()
    expected = sum(w * maps[row] for w, row in zip(weights, index, strict=True))
    torch.testing.assert_close(hiddenmix.mix(maps, draw), expected)


class Tokens(nn.Module):
    """A layer that sees the steps of a sequence first and then the batch, as torch's own by default."""

    def __init__(self, tokens: int, batch_first: bool) -> None:
        super().__init__()
        self.tokens, self.batch_first = tokens, batch_first
        self.layer = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()
        self.norm = nn.BatchNorm1d(4).double()
        self.head = nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        sequence = torch.stack([self.norm(x) * k for k in range(1, self.tokens + 1)])
        if self.batch_first:
            sequence = sequence.transpose(0, 1)
        logits: Tensor = self.head(self.layer(sequence).mean(1 if self.batch_first else 0))
        return logits


@pytest.mark.parametrize("tokens", [5, 6])
def test_a_layer_whose_first_dimension_is_not_the_batch_is_refused(tokens: int) -> None:
    network = Tokens(tokens, batch_first=False)
    words = re.escape(f"what layer layer returns is [{tokens}, 6, 4]")
    for _ in range(2):
        with (
            pytest.raises(ValueError, match=f"hiddenmix: .*{words}"),
            hiddenmix.mixing_at(network, "layer", drawn()),
        ):
            network(images())
    assert not network._forward_pre_hooks


def test_as_many_tokens_as_samples_are_mixed_where_the_batch_comes_first() -> None:
    network = Tokens(6, batch_first=True)
    plain = copy.deepcopy(network)
    for step in range(2):
        with hiddenmix.mixing_at(network, "layer", drawn()):
            network(images())
        plain(images())
        # What the shape cannot tell is found without a trace.
        for ours, theirs in zip(network.buffers(), plain.buffers(), strict=True):
            assert torch.equal(ours, theirs), step


def test_a_mixed_loss_of_a_pass_in_evaluation_mode_is_refused() -> None:
    network, labels = Stages(), torch.tensor([0, 1, 2, 0, 1, 2])
    losses: list[Callable[[Tensor, hiddenmix.Draw], Tensor]] = [
        lambda logits, draw: hiddenmix.mixed_cross_entropy(logits, labels, draw),
        lambda logits, draw: hiddenmix.mixed_targets(labels, 3, draw.to("cpu")),
        lambda logits, draw: hiddenmix.mixed_loss(
            nn.functional.cross_entropy, logits, labels, draw
        ),
    ]
    for loss in losses:
        draw = drawn(lam="batch")
        network.eval()
        with hiddenmix.mixing_at(network, "first", draw):
            logits = network(images())
            with pytest.raises(RuntimeError, match=r"hiddenmix: .* evaluation mode"):
                loss(logits, draw)
        with pytest.raises(RuntimeError, match=r"hiddenmix: .* evaluation mode"):
            loss(logits, draw)
        network.train()
        with hiddenmix.mixing_at(network, "first", draw):
            loss(network(images()), draw)  # the loss may stand in the block or behind it
        loss(logits, draw)


def test_a_second_pass_in_the_block_is_refused() -> None:
    network = Stages()
    with (
        pytest.raises(RuntimeError, match="hiddenmix: layer first ran more than once; a block is"),
        hiddenmix.mixing_at(network, "first", drawn()),
    ):
        [network(images()) for _ in range(2)]


def test_a_mixed_loss_of_another_batch_is_refused() -> None:
    labels = torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match=r"hiddenmix: the draw is for 6 samples, the labels"):
        hiddenmix.mixed_targets(labels, 3, drawn())
