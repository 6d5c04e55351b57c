"""Distance from image mixing and the reading of mixed maps, against recomputations tuple by tuple."""

import math

import pytest
import torch
from torch import Tensor, nn

from hiddenmix.evaluation import label_consistency, mixing_distance, take_statistics
from hiddenmix.evaluation.mixed_maps import CASES
from hiddenmix.randomness import stream

MEAN, STD = torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.3])
SIZES = {"2/equal": (0.5, 0.5), "2/unequal": (0.7, 0.3), "3/unequal": (0.6, 0.3, 0.1)}
LAYERS = ("input", "conv", "norm", "relu", "head")


class Network(nn.Sequential):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.relu = nn.ReLU(inplace=True)
            self.drop = nn.Dropout(0.5)
            self.flat = nn.Flatten()
            self.head = nn.Linear(6 * 25, 4)
            self.head.weight.data *= 10  # of an opinion, as a trained one


@pytest.fixture
def network() -> Network:
    made = Network()
    take_statistics(made, *images_and_labels(20)[:1], MEAN, STD)
    return made


def images_and_labels(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 2, 5, 5), dtype=torch.uint8, generator=generator)
    return images, torch.randint(4, (count,), generator=generator)


def tuples(count: int, batch: int, images: int) -> list[list[int]]:
    """The test images of each tuple: whole batches of equal size, each image with the next ones."""
    size = count // math.ceil(count / batch)
    order = stream(0, "tuples").permutation(count).tolist()
    found = []
    for start in range(0, count - size + 1, size):
        members = order[start : start + size]
        found += [[members[(i + b) % size] for b in range(images)] for i in range(size)]
    return found


def maps(network: nn.Module, layer: str, image: Tensor) -> Tensor:
    """h of one normalised image in evaluation mode, float64 from float32."""
    network.eval()
    value = image[None]
    if layer != "input":
        for name, module in network.named_children():
            value = module(value)
            if name == layer:
                break
    network.train()
    return value[0].detach().double().flatten().clone()


def normalised(images: Tensor) -> Tensor:
    return (images / 255 - MEAN.view(-1, 1, 1)) / STD.view(-1, 1, 1)


def test_distance_is_that_of_the_formula_tuple_by_tuple(network: Network) -> None:
    images, labels = images_and_labels(11)
    inputs = normalised(images)
    given = (network, images, labels, MEAN, STD)
    found = dict(mixing_distance(*given, layers=LAYERS, batch_size=4))
    assert list(found) == [f"{layer}/{case}/distance" for layer in LAYERS for case in CASES]
    for case, weights in SIZES.items():
        chosen = tuples(11, 4, len(weights))
        assert len(chosen) == 9  # three batches of three, two images left over
        assert all(len(set(each)) == len(each) for each in chosen)  # none with itself
        for layer in LAYERS:
            difference = whole = 0.0
            for members in chosen:
                mixed = sum(w * inputs[i] for w, i in zip(weights, members, strict=True))
                assert isinstance(mixed, Tensor)
                there = maps(network, layer, mixed)
                of_maps = sum(
                    w * maps(network, layer, inputs[i])
                    for w, i in zip(weights, members, strict=True)
                )
                difference += float((there - of_maps).square().sum())
                whole += float(there.square().sum())
            expected = math.sqrt(difference / whole)
            assert found[f"{layer}/{case}/distance"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_image_mixup_in_disguise_has_no_distance_and_a_nonlinearity_has_one(
    network: Network,
) -> None:
    given = (network, *images_and_labels(30), MEAN, STD)
    found = dict(mixing_distance(*given, layers=LAYERS))
    for case in CASES:
        assert found[f"input/{case}/distance"] == 0
        assert found[f"conv/{case}/distance"] <= 1e-6
        assert found[f"norm/{case}/distance"] <= 1e-6  # affine in evaluation mode
        assert found[f"relu/{case}/distance"] > 0.05
    # What the drawn weights are: uniform, so that they mix less than equal ones.
    assert 0.05 < found["relu/2/drawn/distance"] < found["relu/2/equal/distance"]


def test_in_training_mode_the_batch_of_mixed_images_has_its_own_statistics(
    network: Network,
) -> None:
    """Half and half: the mixed batch is normalised by its own, smaller, spread."""
    images, labels = images_and_labels(30)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = (network, images, labels, MEAN, STD)
    found = dict(mixing_distance(*given, layers=LAYERS, batch_statistics=True))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    order = torch.from_numpy(stream(0, "tuples").permutation(30))
    inputs = normalised(images)[order]
    with torch.no_grad():
        bare = network.conv(inputs).double()
        mixed_bare = network.conv((inputs + inputs.roll(-1, 0)) / 2).double()

    def norm(value: Tensor) -> Tensor:
        mean, variance = value.mean((0, 2, 3), True), value.var((0, 2, 3), False, keepdim=True)
        return (value - mean) / (variance + network.norm.eps).sqrt()

    own, there = norm(bare), norm(mixed_bare)
    expected = float((there - (own + own.roll(-1, 0)) / 2).norm() / there.norm())
    assert expected > 0.2
    assert found["norm/2/equal/distance"] == pytest.approx(expected, rel=1e-4)
    assert found["conv/2/equal/distance"] <= 1e-6


def test_the_reading_of_mixed_maps_is_that_of_the_formulas(network: Network) -> None:
    images, labels = images_and_labels(11)
    inputs = normalised(images)
    given = (network, images, labels, MEAN, STD)
    found = dict(label_consistency(*given, layers=LAYERS, batch_size=6))
    assert all(module.training for module in network.modules())
    network.eval()
    with torch.no_grad():
        single = network(inputs).double().softmax(1)
        below = network.relu(network.norm(network.conv(inputs)))
    for case, weights in SIZES.items():
        sums = dict.fromkeys(("cross_entropy", "kl", "total_variation", "in_classes"), 0.0)
        chosen = tuples(11, 6, len(weights))
        for members in chosen:
            mixed = torch.stack([w * below[i] for w, i in zip(weights, members, strict=True)])
            with torch.no_grad():
                p = network.head(mixed.sum(0).flatten()[None])[0].double().softmax(0).tolist()
            pairs = list(zip(weights, members, strict=True))
            q = [sum(w * float(single[i, c]) for w, i in pairs) for c in range(4)]
            sums["cross_entropy"] -= sum(w * math.log(p[int(labels[i])]) for w, i in pairs)
            sums["kl"] += sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
            sums["total_variation"] += sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
            sums["in_classes"] += p.index(max(p)) in {int(labels[i]) for i in members}
        for name, total in sums.items():
            value = found[f"relu/{case}/{name}"]
            assert value == pytest.approx(total / len(chosen), rel=1e-4), (case, name)
            # What lies before the nonlinearity is the image, mixed.
            for layer in ("conv", "norm"):
                there = found[f"{layer}/{case}/{name}"]
                assert there == pytest.approx(found[f"input/{case}/{name}"], rel=1e-4)


def test_statistics_are_those_of_the_images_alone(network: Network) -> None:
    images, _ = images_and_labels(20)
    with torch.no_grad():
        expected = network.conv(normalised(images)).mean((0, 2, 3))
    assert network.norm.running_mean is not None
    assert torch.allclose(network.norm.running_mean, expected, atol=1e-6)
    assert network.norm.momentum == 0.1
    assert all(module.training for module in network.modules())


def test_batch_norm_that_is_frozen_stays_so(network: Network) -> None:
    given = (network, *images_and_labels(12), MEAN, STD)
    network.norm.eval()
    found = dict(mixing_distance(*given, layers=["norm"], batch_statistics=True))
    assert found["norm/2/equal/distance"] <= 1e-6
    assert not network.norm.training


def test_too_few_images_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="2 test images and 2 labels in batches of 128"):
        next(mixing_distance(network, *images_and_labels(2), MEAN, STD, layers=["conv"]))
