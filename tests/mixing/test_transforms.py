"""Mixing within torch.func's transforms, against the sum written out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jvp, stack_module_state, vmap

import hiddenmix

Mix = Callable[[Tensor, hiddenmix.Draw], Tensor]
DRAW = hiddenmix.draw(0, 6, mode=4, lam="sample")


def summed(maps: Tensor, draw: hiddenmix.Draw) -> Tensor:
    weights = draw.weights.to(maps.dtype).expand(draw.index.shape)
    column = weights.reshape(*weights.shape, *[1] * (maps.dim() - 1))
    return (column * maps[draw.index]).sum(0)


def random(*shape: int, kind: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(kind)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])  # each has a way of its own
@pytest.mark.parametrize("axis", [0, 1, 3])
def test_vmap_over_maps(axis: int, kind: torch.dtype) -> None:
    maps = random(5, 6, 2, 3, kind=kind).movedim(0, axis)
    ours, theirs = (
        vmap(lambda each, mix=mix: mix(each, DRAW), in_dims=axis)(maps)
        for mix in (hiddenmix.mix, summed)
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "within", [vmap, lambda mixed: grad(lambda maps: vmap(mixed)(maps).pow(3).sum())]
)
def test_transforms_within_a_compiled_function(within: Callable[..., Any]) -> None:
    torch.compiler.reset()
    maps = random(5, 6, 2)

    def mixed(maps: Tensor) -> Tensor:
        found: Tensor = within(lambda each: hiddenmix.mix(each, DRAW))(maps)
        return found

    ours = torch.compile(mixed, backend="eager", fullgraph=True)
    torch.testing.assert_close(ours(maps), within(lambda each: summed(each, DRAW))(maps))
    torch.compiler.reset()


def test_vmap_over_draws() -> None:
    maps, draws = random(5, 6, 3), [hiddenmix.draw(seed, 6, lam="sample") for seed in range(5)]
    weights = torch.stack([draw.weights for draw in draws])
    index = torch.stack([draw.index for draw in draws])

    def one(weights: Tensor, index: Tensor, maps: Tensor) -> Tensor:
        return hiddenmix.mix(maps, hiddenmix.Draw.unchecked(weights, index))

    expected = torch.stack([summed(each, draw) for each, draw in zip(maps, draws, strict=True)])
    torch.testing.assert_close(vmap(one)(weights, index, maps), expected)
    with pytest.raises(ValueError, match=r"hiddenmix: .* within torch\.func\.vmap"):
        vmap(hiddenmix.Draw)(weights, index)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, of jvp
@pytest.mark.parametrize(
    "derived",
    [
        grad,
        lambda function: vmap(grad(function), in_dims=2),
        lambda function: grad(lambda x: grad(function)(x).square().sum()),
        lambda function: lambda x: jvp(function, (x,), (x.cos(),)),
        jacfwd,
        hessian,
    ],
    ids=["grad", "vmap of grad", "grad of grad", "jvp", "jacfwd", "hessian"],
)
def test_derivatives(derived: Callable[..., Callable[[Tensor], Any]]) -> None:
    maps = random(6, 2, 3)
    ours, theirs = (
        derived(lambda x, mix=mix: (mix(x, DRAW) ** 3).sum())(maps)
        for mix in (hiddenmix.mix, summed)
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("transformed", [True, False])
def test_weights_have_a_gradient_where_they_want_one(transformed: bool) -> None:
    def loss(weights: Tensor, mix: Mix) -> Tensor:
        return (mix(random(6, 2), hiddenmix.Draw.unchecked(weights, DRAW.index)) ** 2).sum()

    found = []
    for mix in (hiddenmix.mix, summed):
        if transformed:
            found.append(grad(loss)(DRAW.weights, mix))
        else:
            weights = DRAW.weights.clone().requires_grad_()
            found += torch.autograd.grad(loss(weights, mix), weights)
    torch.testing.assert_close(*found)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.head = nn.Linear(6, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x))
        return logits


def test_a_network_with_parameters_from_outside_and_an_ensemble_of_them() -> None:
    torch.manual_seed(0)
    networks = [Network() for _ in range(3)]
    images, labels = random(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

    def loss(values: dict[str, Tensor]) -> Tensor:
        with hiddenmix.mixing_at(networks[0], "layer", DRAW):
            logits = functional_call(networks[0], values, images)
        return hiddenmix.mixed_cross_entropy(logits, labels, DRAW)

    values, _ = stack_module_state(networks)
    many = vmap(grad(loss))(values)
    for number, network in enumerate(networks):
        logits = network.head(summed(network.layer(images), DRAW))
        logs = torch.log_softmax(logits, 1)
        terms = [
            DRAW.weights[k, i] * logs[i, labels[DRAW.index[k, i]]]
            for k in range(4)
            for i in range(6)
        ]
        torch.autograd.backward(-torch.stack(terms).sum() / 6)
        for name, value in network.named_parameters():
            torch.testing.assert_close(many[name][number], value.grad)


def test_single_samples_of_a_batch_are_refused() -> None:
    network = Network()

    def one(image: Tensor) -> Tensor:
        with hiddenmix.mixing_at(network, "layer", DRAW):
            logits: Tensor = network(image[None])
        return logits

    with pytest.raises(ValueError, match=r"hiddenmix: the draw is for 6 samples, .* \[1, 6\]"):
        vmap(one)(random(6, 4))


def test_cutmix_over_maps() -> None:
    draw = hiddenmix.draw(0, 6, mode="triplet", lam="sample", operation="cutmix")
    maps = random(5, 6, 2, 4, 4)
    expected = torch.stack([hiddenmix.cutmix(each, draw)[0] for each in maps])
    assert torch.equal(vmap(lambda each: hiddenmix.cutmix(each, draw)[0])(maps), expected)
