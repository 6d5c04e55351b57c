"""The evaluators against plain recomputations, and what they must leave as it was."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix.config.allowed_values import allowed
from hiddenmix.evaluation.adversarial import EPSILONS, adversarial, fgsm
from hiddenmix.evaluation.calibration import BINS, calibration, calibration_error
from hiddenmix.evaluation.clean import accuracy, clean
from hiddenmix.evaluation.deformations import SHIFTS, deform, draw
from hiddenmix.evaluation.evaluators import EVALUATORS, SELECTIONS, answers, numbers
from hiddenmix.evaluation.measuring import Evaluator, Value
from hiddenmix.evaluation.outside_sets import outside
from hiddenmix.evaluation.shifted import shifted

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


def _network(channels: int = 3, classes: int = 5) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, classes),
        )


def _tests(count: int = 37, shape: tuple[int, int, int] = (3, 9, 12)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 5, (count,), generator=generator)


def _recomputed(
    network: nn.Module, pixels: Tensor, labels: Tensor, mean: Tensor = MEAN, std: Tensor = STD
) -> tuple[float, float]:
    """Accuracy and nll, one sample after the other, in float64."""
    network.eval()
    right, nll = 0, 0.0
    with torch.no_grad():
        for image, label in zip(pixels, labels.tolist(), strict=True):
            logits = network(((image - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))[None])[0].double()
            right += int(logits.argmax()) == label
            nll += math.log(sum(math.exp(value - float(logits[label])) for value in logits))
    network.train()
    return right / len(labels), nll / len(labels)


class Trained:
    """A small convolutional network trained on 1,400 digits, and the other 397."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
        labels = torch.from_numpy(digits.target.astype(np.int64))
        self.images, self.labels = pixels[1400:], labels[1400:]
        self.mean, self.std = torch.tensor([0.3]), torch.tensor([0.38])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
            ).append(nn.Linear(256, 10))
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        inputs = (pixels[:1400] / 255 - 0.3) / 0.38
        for step in range(100):
            batch = slice(200 * (step % 7), 200 * (step % 7 + 1))
            optimizer.zero_grad()
            F.cross_entropy(self.network(inputs[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    @property
    def arguments(self) -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
        return self.network, self.images, self.labels, self.mean, self.std


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


def evaluate(*arguments: Any, precision: str = "float32") -> dict[str, Any]:
    """The numbers of all evaluators."""
    return numbers(
        pair for each in EVALUATORS.values() for pair in each(*arguments, precision=precision)
    )


@pytest.mark.parametrize("batch_size", [1, 7, 36, 37, 1000, None])
def test_accuracy_and_nll_equal_a_loop_over_samples(batch_size: int | None) -> None:
    network, (images, labels) = _network(), _tests()
    expected = pytest.approx(_recomputed(network, images / 255, labels), rel=1e-5)
    assert accuracy(network, images, labels, MEAN, STD, batch_size=batch_size) == expected
    pairs = dict(clean(network, images, labels, MEAN, STD, batch_size=batch_size))
    assert (pairs["test/accuracy"], pairs["test/nll"]) == expected
    assert set(map(type, numbers(pairs.items())["test"].values())) == {float, list}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 32, 32), (1, 28, 20), (3, 224, 224)])
def test_every_evaluator_takes_every_shape(shape: tuple[int, int, int]) -> None:
    images, labels = _tests(3, shape)
    mean, std = MEAN[: shape[0]], STD[: shape[0]]
    found = evaluate(_network(shape[0]), images, labels, mean, std)
    assert list(found) == ["test", "calibration", "shift", "adversarial"]
    names = ["accuracy", "nll", "ece", "balanced_accuracy", "class_count", "class_right"]
    assert list(found["test"]) == names
    assert found["shift"].keys() == SHIFTS.keys()
    assert list(found["adversarial"]) == ["fgsm_1", "fgsm_2", "fgsm_4", "fgsm_8"]
    for values in (*found["shift"].values(), *found["adversarial"].values()):
        assert 0 <= values["accuracy"] <= 1
        assert values["nll"] > 0
    assert sum(found["calibration"]["count"]) == 3


def test_the_configuration_offers_what_can_be_selected() -> None:
    assert allowed("evaluation") == ", ".join(SELECTIONS)
    assert set(SELECTIONS["full"]) == set(EVALUATORS)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_scores_the_deformed_test_set(name: str) -> None:
    network, (images, labels) = _network(), _tests()
    draws = draw(SHIFTS[name][0], 0, len(images), (3, 9, 12))
    expected = _recomputed(network, deform(images / 255, name, draws), labels)
    found = dict(shifted(network, images, labels, MEAN, STD, names=[name]))
    assert list(found) == [f"shift/{name}/{what}" for what in ("accuracy", "nll", "class")]
    assert list(found.values())[:2] == pytest.approx(expected, rel=1e-5)
    right = int((torch.as_tensor(found[f"shift/{name}/class"]) == labels).sum())
    assert right / len(labels) == found[f"shift/{name}/accuracy"]


@pytest.mark.parametrize("evaluator", EVALUATORS.values())
@pytest.mark.parametrize("batch_size", [1, 12, 37])
def test_results_do_not_depend_on_the_batch_size(evaluator: Evaluator, batch_size: int) -> None:
    network, (images, labels) = _network(), _tests()
    whole = dict(evaluator(network, images, labels, MEAN, STD))
    parts = dict(evaluator(network, images, labels, MEAN, STD, batch_size=batch_size))
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-6)


def test_shifts_do_not_depend_on_which_others_run_nor_on_later_samples() -> None:
    network, (images, labels) = _network(), _tests()
    everything = shown(shifted(network, images, labels, MEAN, STD))
    some = shown(shifted(network, images, labels, MEAN, STD, names=["noise_0.2", "rotation_40"]))
    assert some.items() <= everything.items()
    assert everything == shown(shifted(network, images, labels, MEAN, STD))
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    list(shifted(network, images, labels, MEAN, STD, names=["noise_0.2"]))
    list(shifted(network, images[:20], labels[:20], MEAN, STD, names=["noise_0.2"]))
    assert torch.equal(seen[0][:20], seen[1])


@pytest.mark.parametrize("evaluator", EVALUATORS.values())
def test_no_more_than_a_batch_is_deformed_at_once(evaluator: Evaluator) -> None:
    network, (images, labels) = _network(), _tests()
    sizes: set[int] = set()
    network.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    list(evaluator(network, images, labels, MEAN, STD, batch_size=18))
    assert sizes == {18, 1}


def test_an_unknown_shift_is_refused() -> None:
    with pytest.raises(KeyError, match="rotation_21"):
        list(shifted(_network(), *_tests(), MEAN, STD, names=["rotation_21"]))


def shown(pairs: Iterable[tuple[str, Value]]) -> dict[str, object]:
    """What an evaluator yielded, so that `==` compares it."""
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in pairs}


def _called(evaluator: Evaluator) -> Callable[..., object]:
    return lambda *arguments: shown(evaluator(*arguments))


ALL: list[Callable[..., object]] = [accuracy, *map(_called, EVALUATORS.values())]


@pytest.mark.parametrize("evaluator", ALL)
def test_evaluation_leaves_everything_as_it_was(evaluator: Callable[..., object]) -> None:
    network, (images, labels) = _network(), _tests()
    network.train()
    network[1].eval()  # a frozen BatchNorm stays frozen
    first = next(network.parameters())
    first.grad = torch.ones_like(first)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index]
    before = images.clone()
    evaluator(network, images, labels, MEAN, STD)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(p.grad is None for p in network.parameters() if p is not first)
    assert all(p.requires_grad for p in network.parameters())
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # type: ignore[index]
    assert torch.equal(images, before)


@pytest.mark.parametrize("evaluator", ALL)
def test_the_mode_comes_back_after_an_error(evaluator: Callable[..., object]) -> None:
    network, (images, labels) = _network(), _tests()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluator(network.append(nn.Linear(3, 3)), images, labels, MEAN, STD)
    assert all(module.training for module in network.modules())


def test_an_abandoned_evaluator_leaves_the_network_in_its_own_mode() -> None:
    network, (images, labels) = _network(), _tests()
    for evaluator in EVALUATORS.values():
        pairs = iter(evaluator(network, images, labels, MEAN, STD))
        next(pairs)
        assert network.training
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("evaluator", ALL)
def test_a_trainers_gradient_modes_do_not_matter(evaluator: Callable[..., object]) -> None:
    arguments = (_network(), *_tests(), MEAN, STD)
    expected = evaluator(*arguments)
    with torch.no_grad():
        assert evaluator(*arguments) == expected
    with torch.inference_mode():
        assert evaluator(*arguments) == expected


@pytest.mark.parametrize("evaluator", ALL)
def test_wrong_numbers_of_images_are_refused(evaluator: Callable[..., object]) -> None:
    images, labels = _tests(4)
    with pytest.raises(ValueError, match="0 test images and 0 labels"):
        evaluator(_network(), images[:0], labels[:0], MEAN, STD)
    with pytest.raises(ValueError, match="4 test images and 3 labels"):
        evaluator(_network(), images, labels[:3], MEAN, STD)


def test_bf16_runs_in_bfloat16_and_comes_near(trained: Trained) -> None:
    types: list[torch.dtype] = []
    hook = trained.network[-1].register_forward_hook(lambda *args: types.append(args[2].dtype))
    reduced = evaluate(*trained.arguments, precision="bf16")
    hook.remove()
    assert set(types) == {torch.bfloat16}
    exact = evaluate(*trained.arguments)
    assert reduced["test"]["accuracy"] == pytest.approx(exact["test"]["accuracy"], abs=0.02)
    for part in ("shift", "adversarial"):
        for name, values in exact[part].items():
            assert reduced[part][name]["accuracy"] == pytest.approx(values["accuracy"], abs=0.05)


class _Broken(nn.Module):
    """Logits that are NaN for the images whose first pixel is 0."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.eye(5)[torch.zeros(len(x), dtype=torch.int64)] * 3
        return torch.where(x[:, 0, 0, :1] < -1.99, math.nan, logits) + 0 * x.sum()


def test_a_nan_counts_as_wrong_and_shows_in_the_nll() -> None:
    images = torch.full((4, 3, 8, 8), 128, dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 1])
    assert accuracy(_Broken(), images, labels, MEAN, STD)[0] == 0.75
    images[0] = 0  # torch's argmax of five NaN is class 0, this image's label
    right, nll = accuracy(_Broken(), images, labels, MEAN, STD)
    assert right == 0.5
    assert math.isnan(nll)
    for evaluator in EVALUATORS.values():
        pairs = dict(evaluator(_Broken(), images, labels, MEAN, STD))
        shares = [value for name, value in pairs.items() if "/accuracy" in name]
        assert all(0 <= part <= 1 for value in shares for part in np.atleast_1d(value))
    assert "ece" not in numbers(clean(_Broken(), images, labels, MEAN, STD))["test"]


def test_calibration_by_hand() -> None:
    confidence = torch.tensor([0.5, 0.6, 0.95, 1.0, 0.45])
    right = torch.tensor([True, False, True, True, False])
    bins = calibration(confidence, right, bins=2)
    # (0, 0.5] holds 0.5 and 0.45, its upper edge included; (0.5, 1] the other three
    expected = [[0.475, 0.85], [0.5, 2 / 3], [2, 3]]
    torch.testing.assert_close(bins, torch.tensor(expected, dtype=torch.float64))
    ece = 2 / 5 * abs(0.5 - 0.475) + 3 / 5 * abs(2 / 3 - 0.85)
    assert float(calibration_error(bins)) == pytest.approx(ece)


def test_empty_bins_are_zero_and_certainty_is_in_the_last() -> None:
    bins = calibration(torch.ones(3), torch.tensor([True, True, False]))
    assert bins.shape == (3, BINS)
    assert bins[:, :-1].abs().sum() == 0
    assert bins[:, -1].tolist() == pytest.approx([1, 2 / 3, 3])


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 5.0])
def test_calibration_error_equals_torchmetrics(sharpness: float) -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    generator = torch.Generator().manual_seed(2)
    probability = (sharpness * torch.randn(800, 6, generator=generator)).softmax(1)
    labels = torch.randint(0, 6, (800,), generator=generator)
    confidence, predicted = probability.max(1)
    expected = multiclass_calibration_error(probability, labels, 6, n_bins=15)
    found = calibration_error(calibration(confidence, predicted == labels))
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


def test_clean_yields_the_calibration_of_the_networks_own_confidence(trained: Trained) -> None:
    found = numbers(clean(*trained.arguments))
    bins = found["calibration"]
    with torch.no_grad():
        logits = trained.network((trained.images / 255 - trained.mean) / trained.std)
    confidence, predicted = logits.softmax(1).max(1)
    weights = np.array(bins["count"])
    assert weights.sum() == len(trained.images)
    assert weights @ bins["confidence"] == pytest.approx(float(confidence.double().sum()))
    assert weights @ bins["accuracy"] == pytest.approx(int((predicted == trained.labels).sum()))
    assert {len(values) for values in bins.values()} == {BINS}
    gaps = np.abs(np.subtract(bins["accuracy"], bins["confidence"]))
    assert found["test"]["ece"] == pytest.approx(weights @ gaps / weights.sum())


def test_fgsm_moves_each_pixel_by_epsilon_at_most_and_stays_in_range() -> None:
    pixels = torch.tensor([0.0, 0.01, 0.5, 0.5, 0.5, 1.0])
    gradient = torch.tensor([-1.0, -2.0, 1e-9, 0.0, -3.0, 7.0])
    moved = fgsm(pixels, gradient, 0.03)
    assert moved.tolist() == pytest.approx([0.0, 0.0, 0.53, 0.5, 0.47, 1.0])


def test_fgsm_attacks_the_pixels_along_the_networks_own_gradient(trained: Trained) -> None:
    seen: list[Tensor] = []
    hook = trained.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    found = dict(adversarial(*trained.arguments, batch_size=1000))
    hook.remove()
    original, *attacked = [(x.detach() * trained.std + trained.mean) for x in seen]
    torch.testing.assert_close(original, trained.images / 255)
    leaf = original.clone().requires_grad_()
    logits = trained.network((leaf - trained.mean) / trained.std)
    F.cross_entropy(logits, trained.labels).backward()  # type: ignore[no-untyped-call]
    trained.network.zero_grad()
    assert leaf.grad is not None
    for epsilon, moved in zip(EPSILONS, attacked, strict=True):
        assert (moved - original).abs().max() <= epsilon / 255 + 1e-6
        assert moved.min() >= -1e-6
        assert moved.max() <= 1 + 1e-6
        expected = (original + epsilon / 255 * leaf.grad.sign()).clamp(0, 1)
        wrong = (moved - expected).abs() > 1e-5  # the sign of a gradient near 0 may go either way
        assert wrong.double().mean() < 0.001
        with torch.no_grad():
            logits = trained.network((moved - trained.mean) / trained.std)
        right = float((logits.argmax(1) == trained.labels).double().mean())
        assert found[f"adversarial/fgsm_{epsilon}/accuracy"] == pytest.approx(right, abs=0.006)


class _Sharp(nn.Module):
    """A network that is as many times as sure."""

    def __init__(self, network: nn.Module, times: float) -> None:
        super().__init__()
        self.network, self.times = network, times

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return self.times * logits


def test_fgsm_attacks_a_network_that_is_sure_as_float64_would(trained: Trained) -> None:
    """In float32 a probability within 6e-8 of 1 is 1, and its own logit has no gradient."""
    sharp = _Sharp(trained.network, 3.0)
    wide = copy.deepcopy(sharp).double()
    leaf = (trained.images.double() / 255).requires_grad_()
    logits = wide((leaf - trained.mean) / trained.std)
    F.cross_entropy(logits, trained.labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    own = logits.gather(1, trained.labels[:, None])
    others = logits.scatter(1, trained.labels[:, None], -math.inf).amax(1, keepdim=True)
    sure = ((own - others) > 18) & ((own - others) < 32)  # 1 in float32, and not in float64
    assert sure.sum() > 50
    seen: list[Tensor] = []
    hook = sharp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    list(adversarial(sharp, *trained.arguments[1:], batch_size=1000))
    hook.remove()
    original, *attacked = [(x.detach() * trained.std + trained.mean)[sure[:, 0]] for x in seen]
    signs = leaf.grad.sign()[sure[:, 0]]
    for epsilon, moved in zip(EPSILONS, attacked, strict=True):
        expected = (original + epsilon / 255 * signs).clamp(0, 1)
        assert ((moved - expected).abs() > 1e-5).double().mean() < 0.001


def test_a_trained_network_suffers_from_attacks_and_shifts(trained: Trained) -> None:
    found = evaluate(*trained.arguments)
    assert found["test"]["accuracy"] > 0.9
    attacked = [found["adversarial"][f"fgsm_{epsilon}"]["accuracy"] for epsilon in EPSILONS]
    nlls = [found["adversarial"][f"fgsm_{epsilon}"]["nll"] for epsilon in EPSILONS]
    assert attacked == sorted(attacked, reverse=True)
    assert [found["test"]["nll"], *nlls] == sorted([found["test"]["nll"], *nlls])
    assert attacked[-1] < found["test"]["accuracy"] - 0.05
    for weak, strong in (("rotation_20", "rotation_40"), ("noise_0.05", "noise_0.2")):
        assert found["shift"][weak]["accuracy"] > found["shift"][strong]["accuracy"]


def test_numbers_unfold_names() -> None:
    pairs: list[tuple[str, Value]] = [
        ("test/accuracy", 0.5),
        ("shift/zoom_0.6/accuracy", 0.25),
        ("shift/zoom_0.6/nll", 2.0),
        ("calibration/count", [3.0, 4.0]),
        ("calibration/accuracy", [0.5, math.nan]),
        ("outside/0/accuracy", 0.75),  # what a user calls a set is a name
        ("outside/1/accuracy", 0.5),
        ("seconds", 1.5),
    ]
    assert numbers(pairs) == {
        "test": {"accuracy": 0.5},
        "shift": {"zoom_0.6": {"accuracy": 0.25, "nll": 2.0}},
        "calibration": {"count": [3.0, 4.0]},
        "outside": {"0": {"accuracy": 0.75}, "1": {"accuracy": 0.5}},
        "seconds": 1.5,
    }
    assert numbers([]) == {}
    assert numbers([("test/nll", math.nan), ("clean/class", torch.ones(2))]) == {}


def test_answers_are_classes_and_their_accuracy_is_the_recorded_one(trained: Trained) -> None:
    """From what is kept of each image, every number can be computed again, to the bit."""
    pairs = [pair for each in EVALUATORS.values() for pair in each(*trained.arguments)]
    found, kept, labels = numbers(pairs), answers(pairs), trained.labels
    with torch.no_grad():
        logits = trained.network((trained.images / 255 - trained.mean) / trained.std)
    assert torch.equal(kept["clean/class"], logits.argmax(1))
    expected = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(kept["clean/probability"], expected, rtol=1e-5, atol=1e-7)
    assert int((kept["clean/class"] == labels).sum()) / len(labels) == found["test"]["accuracy"]
    for family in ("shift", "adversarial"):
        for name, values in found[family].items():
            right = int((kept[f"{family}/{name}/class"] == labels).sum())
            assert right / len(labels) == values["accuracy"]


def test_accuracy_by_class_and_their_mean(trained: Trained) -> None:
    """A class with no test image counts in no mean; one that is never answered right counts as 0."""
    few = trained.labels != 2
    images, labels = trained.images[few], trained.labels[few]
    found = numbers(clean(trained.network, images, labels, trained.mean, trained.std))["test"]
    kept = answers(clean(trained.network, images, labels, trained.mean, trained.std))
    counts = torch.bincount(labels, minlength=len(found["class_count"])).tolist()
    assert found["class_count"] == counts
    assert counts[2] == 0
    right = [int(((kept["clean/class"] == c) & (labels == c)).sum()) for c in range(len(counts))]
    assert found["class_right"] == right
    shares = [r / n for r, n in zip(right, counts, strict=True) if n]
    assert found["balanced_accuracy"] == pytest.approx(sum(shares) / len(shares), abs=1e-12)


def test_a_sample_without_an_answer_is_wrong_and_has_no_class() -> None:
    images, labels = _tests(5)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 12, 4))
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(math.nan)
    pairs = list(clean(network, images, labels * 0, MEAN, STD))
    assert answers(pairs)["clean/class"].tolist() == [4] * 5
    assert numbers(pairs)["test"]["accuracy"] == 0
    assert "nll" not in numbers(pairs)["test"]


def test_outside_sets_have_labels_of_their_own(trained: Trained) -> None:
    images, labels = trained.images, trained.labels
    parts = [("far", images[:7], labels[:7]), ("c:fog_1", images[5:], (labels[5:] + 1) % 3)]
    pairs = list(outside(trained.network, parts, trained.mean, trained.std))
    found, kept = numbers(pairs)["outside"], answers(pairs)
    assert list(found) == ["far", "c:fog_1"]
    for name, x, y in parts:
        expected = _recomputed(trained.network, x / 255, y, trained.mean, trained.std)
        assert (found[name]["accuracy"], found[name]["nll"]) == pytest.approx(expected, rel=1e-5)
        assert torch.equal(kept[f"outside/{name}/label"], y)
