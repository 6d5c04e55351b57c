"""What `hiddenmix.draw` takes: any number of images, folded weights, several layers, any generator."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import hiddenmix


@pytest.mark.parametrize("mode", [2, 4, 5])
@pytest.mark.parametrize("lam", ["batch", "sample"])
def test_any_number_of_images(mode: int, lam: str) -> None:
    draw = hiddenmix.draw(1, 9, mode=mode, lam=lam)
    assert draw.weights.shape == (mode, 9 if lam == "sample" else 1)
    torch.testing.assert_close(draw.weights.sum(0), torch.ones(draw.weights.shape[1]))
    assert torch.equal(draw.index.sort(dim=1).values, torch.arange(9).expand(mode, 9))
    maps = torch.randn(9, 3, dtype=torch.float64)
    expected = sum(
        w.double()[:, None] * maps[row] for w, row in zip(draw.weights, draw.index, strict=True)
    )
    torch.testing.assert_close(hiddenmix.mix(maps, draw), expected)


@pytest.mark.parametrize("mode", ["pair", 1, 0, -2, 2.5, None, True])
def test_another_number_of_images_is_refused(mode: int) -> None:
    with pytest.raises(ValueError, match=f"hiddenmix: mode={mode}; expected siamese, triplet or a"):
        hiddenmix.draw(1, 4, mode=mode)


def test_numbers_of_images_have_names() -> None:
    for name, number in (("siamese", 2), ("triplet", 3)):
        one, two = hiddenmix.draw(1, 4, mode=name), hiddenmix.draw(1, 4, mode=number)
        assert torch.equal(one.weights, two.weights)
        assert torch.equal(one.index, two.index)


@pytest.mark.parametrize("mode", [2, 3])
def test_folded_weights_are_largest_for_the_first_image(mode: int) -> None:
    plain = hiddenmix.draw(5, 500, mode=mode, lam="sample")
    folded = hiddenmix.draw(5, 500, mode=mode, lam="sample", fold=True)
    assert torch.equal(folded.weights[0], plain.weights.max(dim=0).values)
    assert torch.equal(folded.weights.sort(dim=0).values, plain.weights.sort(dim=0).values)
    assert (plain.weights[0] < 0.5).any()
    assert torch.equal(folded.index, plain.index)


def test_generators_of_numpy_and_torch_and_seeds() -> None:
    for make in (np.random.default_rng, lambda seed: torch.Generator().manual_seed(seed)):
        one, two = make(7), make(7)
        draws = [hiddenmix.draw(one, 6), hiddenmix.draw(one, 6), hiddenmix.draw(two, 6)]
        assert torch.equal(draws[0].weights, draws[2].weights)
        assert torch.equal(draws[0].index, draws[2].index)
        assert not torch.equal(draws[0].weights, draws[1].weights)
    seeded = hiddenmix.draw(7, 6)
    assert torch.equal(seeded.weights, hiddenmix.draw(np.random.default_rng(7), 6).weights)
    state = torch.get_rng_state()
    hiddenmix.draw(torch.Generator().manual_seed(3), 6)
    assert torch.equal(torch.get_rng_state(), state)
    for other in (None, "7", 1.5, np.random):
        with pytest.raises(TypeError, match="hiddenmix: a generator of NumPy or torch, or a whole"):
            hiddenmix.draw(other, 6)  # type: ignore[arg-type]


def test_one_of_several_layers_is_drawn_last() -> None:
    generator = np.random.default_rng(0)
    names = ["input", "0", "1"]
    draws = [hiddenmix.draw(generator, 4, layers=names) for _ in range(300)]
    counts = Counter(draw.layer for draw in draws)
    assert set(counts) == set(names)
    assert min(counts.values()) > 70
    assert torch.equal(hiddenmix.draw(3, 4, layers=names).weights, hiddenmix.draw(3, 4).weights)
    network = nn.Sequential(nn.Tanh(), nn.Tanh())
    images = torch.randn(4, 2)
    for draw in draws[:6]:
        assert draw.layer is not None
        with hiddenmix.mixing_at(network, draw.layer, draw):
            mixed = network(images)
        depth = names.index(draw.layer)
        expected = network[depth:](hiddenmix.mix(network[:depth](images), draw))
        torch.testing.assert_close(mixed, expected)
    with (
        pytest.raises(TypeError, match=r"hiddenmix: layer=\['0', '1'\] is not one name"),
        hiddenmix.mixing_at(network, ["0", "1"], draws[0]),  # type: ignore[arg-type]
    ):
        pass
    with pytest.raises(ValueError, match="hiddenmix: layers='conv1'; expected a list"):
        hiddenmix.draw(1, 4, layers="conv1")


class Keyword(nn.Module):
    """Called as Hugging Face's networks are: with keywords, labels among them."""

    def forward(self, labels: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(pixel_values)


def test_the_input_may_come_by_keyword() -> None:
    images, labels, draw = (
        torch.randn(5, 2),
        torch.zeros(5, dtype=torch.int64),
        hiddenmix.draw(1, 5),
    )
    network = Keyword()
    with hiddenmix.mixing_at(network, "input", draw):
        mixed = network(labels=labels, pixel_values=images)
    torch.testing.assert_close(mixed, torch.tanh(hiddenmix.mix(images, draw)))
    with (
        pytest.raises(TypeError, match="hiddenmix: the network's input is a dict with"),
        hiddenmix.mixing_at(network, "input", draw),
    ):
        network(labels=images, pixel_values=images)


def test_an_infinite_alpha_is_refused() -> None:
    with pytest.raises(ValueError, match="hiddenmix: alpha=inf; expected a finite number above 0"):
        hiddenmix.draw(1, 4, alpha=float("inf"))
