"""Training: an independent mixup loop, streams, resuming, batches, and the golden losses."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix.config.schema import AdamConfig, CnnConfig, Config, DatasetConfig, SgdConfig
from hiddenmix.data import AugmentationDraws
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators
from hiddenmix.training import loop
from hiddenmix.training.epoch_draws import batch_bounds, draw_epoch
from hiddenmix.training.loop import NonFiniteLossError
from hiddenmix.training.schedules import learning_rates
from tests.support.small_training import (
    CPU,
    assert_same,
    epochs,
    images_and_labels,
    small,
    training,
    weights,
)

GOLDEN = Path(__file__).parent / "golden_losses.json"


def losses(config: Config) -> list[float]:
    """The loss of every step, on three full batches an epoch: BatchNorm over a remainder of two
    images would amplify rounding, which differs between processors and numbers of threads."""
    trained = training(config, 48)
    steps: list[float] = []
    for state in trained.run():
        if state is not None:
            steps += trained._losses.tolist()
    return steps


def cropped_by_hand(images: Tensor, draws: AugmentationDraws | None) -> Tensor:
    """`flip_crop` of uint8 [B, C, H, W], one image after the other: cut out of a frame of four black
    pixels, then mirrored."""
    if draws is None:
        return images
    height, width = images.shape[2:]
    found = []
    for image, flip, top, left in zip(
        F.pad(images, (4, 4, 4, 4)), draws.flip, draws.top, draws.left, strict=True
    ):
        cut = image[:, top : top + height, left : left + width]
        found.append(cut.flip(2) if flip else cut)
    return torch.stack(found)


@pytest.mark.parametrize("augment", ["none", "flip_crop"])
@pytest.mark.parametrize("lam", ["batch", "sample"])
def test_image_mixup_equals_an_independent_loop(lam: str, augment: str) -> None:
    """The reference mixup code's loop (Zhang et al. 2018), written out, with the same draws."""
    config = small(layer="input", lam=lam, dataset=DatasetConfig(augment=augment))
    trained = training(config, 48)
    with default_generators(config.seed, "init"):
        network = build(config.model, (1, 8, 8), 3)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    images, labels = images_and_labels(48)
    expected = []
    for epoch in range(2):
        draws = draw_epoch(config, epoch, 48, CPU)
        assert draws.weights is not None
        assert draws.partners is not None
        for step, (start, stop) in enumerate(((0, 16), (16, 32), (32, 48))):
            chosen = draws.order[0, start:stop]
            crops = draws.augmentation[0] and draws.augmentation[0][start:stop]
            x = (cropped_by_hand(images[chosen], crops).float() / 255 - 0.5) / 0.3
            y = labels[chosen]
            column = slice(start, stop) if lam == "sample" else slice(step, step + 1)
            lam_ = draws.weights[0, column].reshape(-1, 1, 1, 1)
            partner = draws.partners[1, start:stop]
            logits = network(lam_ * x + (1 - lam_) * x[partner])
            own = F.cross_entropy(logits, y, reduction="none")
            other = F.cross_entropy(logits, y[partner], reduction="none")
            loss = (lam_.flatten() * own + (1 - lam_.flatten()) * other).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            expected.append(float(loss.detach()))
    assert losses(config) == pytest.approx(expected, rel=2e-4)
    epochs(trained.run())
    for name, value in trained.network.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("augment", ["none", "flip_crop"])
@pytest.mark.parametrize("layer", ["input", "conv2"])
@pytest.mark.parametrize("mode", ["siamese", "triplet", "5"])
def test_independent_partners_are_a_literal_network(layer: str, mode: str, augment: str) -> None:
    """One step with K minibatches: the loss and the new weights of a K-branch network."""
    data = DatasetConfig(augment=augment)
    config = small(
        layer=layer, mode=mode, partners="independent", dataset=data, epochs=1, batch_size=50
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
    assert draws.partners is None
    images, labels = images_and_labels()
    maps = [
        below((cropped_by_hand(images[row], crops).float() / 255 - 0.5) / 0.3)
        for row, crops in zip(draws.order, draws.augmentation, strict=True)
    ]
    logits = above(sum(w * h for w, h in zip(draws.weights[:, 0], maps, strict=True)))
    parts = [
        w * F.cross_entropy(logits, labels[row])
        for w, row in zip(draws.weights[:, 0], draws.order, strict=True)
    ]
    loss = torch.stack(parts).sum()
    [epoch] = epochs(trained.run())
    assert epoch.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    theirs = dict(network.named_parameters())
    for name, value in trained.network.named_parameters():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("partners", ["permutation", "independent"])
def test_originals_add_the_unmixed_loss(partners: str) -> None:
    config = small(layer="conv1", partners=partners, epochs=1, batch_size=50)
    [mixed] = epochs(training(config).run())
    [both] = epochs(training(dataclasses.replace(config, originals=0.5)).run())
    network = training(config).network.train()
    images, labels = images_and_labels()
    order = draw_epoch(config, 0, 50, CPU).order
    plain = [
        float(
            F.cross_entropy(network((images[row].float() / 255 - 0.5) / 0.3), labels[row]).detach()
        )
        for row in order
    ]
    assert both.loss - mixed.loss == pytest.approx(0.5 * sum(plain) / len(plain), rel=1e-4)


def test_settings_of_a_seed_share_weights_and_order() -> None:
    base = small(dataset=DatasetConfig(augment="flip_crop"))
    settings = [
        dataclasses.replace(base, layer=layer, mode=mode, alpha=alpha)
        for layer in ("none", "input", "conv1", ["input", "conv2"])
        for mode in ("siamese", "triplet")
        for alpha in (0.2, 1.0)
    ]
    first = weights(training(settings[0]).network)
    order = draw_epoch(settings[0], 3, 50, CPU)
    for setting in settings[1:]:
        assert_same(weights(training(setting).network), first)
        draws = draw_epoch(setting, 3, 50, CPU)
        assert torch.equal(draws.order, order.order)
        assert draws.augmentation[0] is not None
        assert order.augmentation[0] is not None
        assert torch.equal(draws.augmentation[0].top, order.augmentation[0].top)
    # A layer, and a list of layers, are mixed with the same draws.
    one, many = (
        draw_epoch(s, 0, 50, CPU)
        for s in (settings[-1], dataclasses.replace(settings[-1], layer="conv1"))
    )
    assert one.weights is not None
    assert many.weights is not None
    assert torch.equal(one.weights, many.weights)
    assert set(one.layer) == {"input", "conv2"}
    # Another seed, and another epoch, differ; seed 0 is a seed like any other.
    other = dataclasses.replace(base, seed=1)
    assert not torch.equal(draw_epoch(other, 3, 50, CPU).order, order.order)
    assert not torch.equal(draw_epoch(base, 4, 50, CPU).order, order.order)
    assert not torch.equal(
        weights(training(other).network)["conv1.conv.weight"], first["conv1.conv.weight"]
    )


def test_two_runs_are_bit_identical_whatever_the_global_generator() -> None:
    config = small(model=CnnConfig(channels=[4, 6, 8], width=16, dropout=0.3), mode="triplet")
    before = torch.get_rng_state()
    first = losses(config)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    np.random.seed(3)  # the legacy global generator must not matter
    assert losses(config) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": "conv1", "mode": "triplet", "lam": "sample"},
        {"layer": ["input", "conv1", "conv2"]},
        {"layer": "none", "dataset": DatasetConfig(augment="flip_crop")},
        {"partners": "independent", "optimizer": AdamConfig()},
        {"precision": "bf16"},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_resume_at_any_step_is_undisturbed(changes: dict[str, Any], stop: int) -> None:
    config = small(model=CnnConfig(channels=[4, 6, 8], width=16, dropout=0.2), **changes)
    whole = training(config)
    history = epochs(whole.run())
    killed = training(config)
    seen = []
    for number, state in enumerate(killed.run(), start=1):
        if state is not None:
            seen.append(state)
        if number == stop:
            saved = dict(killed.state().items())
            break
    resumed = training(config)
    resumed.load_state(saved)
    seen += epochs(resumed.run())
    assert_same(weights(resumed.network), weights(whole.network))
    assert [(e.number, e.loss) for e in seen] == [(e.number, e.loss) for e in history]


def test_an_epoch_reports_what_its_steps_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of batches of 16, 16, 16 and 2 images, with a learning rate for each, which take a second each."""
    seconds = iter(range(1000))
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    config = small(optimizer=SgdConfig(lr=0.1, schedule="one_cycle"))
    trained = training(config)
    sizes: list[int] = []
    trained.network.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    rates: list[float] = []
    stopped: dict[str, Any] = {}
    for state in trained.run():
        rates.append(trained._optimizer.param_groups[0]["lr"])
        if len(rates) == 6:
            stopped = copy.deepcopy(trained.state())
        if state is None:
            continue
        assert sizes[-4:] == [16, 16, 16, 2]
        steps = trained._losses.tolist()
        assert len(set(steps)) == 4
        total = sum(loss * size for loss, size in zip(steps, sizes[-4:], strict=True))
        assert state.loss == pytest.approx(total / 50, rel=1e-12)
        assert state.learning_rate == rates[-1]
        assert (state.seconds, state.images_per_second) == (4, 50 / 4)
    assert rates == learning_rates(config.optimizer, 8).tolist()
    # A resumed epoch took the time of both parts.
    resumed = training(config)
    resumed.load_state(stopped)
    [last] = epochs(resumed.run())
    assert (last.number, last.seconds, last.learning_rate) == (2, 4, rates[-1])


@pytest.mark.parametrize(
    "changes", [{"layer": "none"}, {"layer": "conv1"}, {"partners": "independent"}], ids=str
)
def test_bf16_trains_in_bfloat16_and_comes_near(changes: dict[str, Any]) -> None:
    reduced, whole = (
        training(small(precision=precision, **changes), 48) for precision in ("bf16", "float32")
    )
    types: set[torch.dtype] = set()
    for name in ("conv1.conv", "classifier.linear"):
        layer = reduced.network.get_submodule(name)
        layer.register_forward_hook(lambda _, images, maps: types.add(maps.dtype))
    found, expected = ([epoch.loss for epoch in epochs(run.run())] for run in (reduced, whole))
    assert types == {torch.bfloat16}
    assert {weight.dtype for weight in reduced.network.parameters()} == {torch.float32}
    assert found == pytest.approx(expected, rel=0.1)
    assert found != expected


@pytest.mark.parametrize("count", [2, 31, 32, 33, 47, 48])
@pytest.mark.parametrize("layer", ["none", "conv1"])
def test_a_last_batch_of_any_size_trains(count: int, layer: str) -> None:
    config = small(layer=layer, mode="triplet", lam="sample", batch_size=min(16, count), epochs=1)
    [epoch] = epochs(training(config, count).run())
    assert np.isfinite(epoch.loss)


def test_batches_cover_the_epoch_once() -> None:
    for images in range(2, 70):
        bounds = batch_bounds(images, 16)
        assert [start for start, _ in bounds] == [0, *[stop for _, stop in bounds[:-1]]]
        assert bounds[-1][1] == images
        assert all(2 <= stop - start <= 17 for start, stop in bounds)


def test_partners_stay_within_their_batch() -> None:
    draws = draw_epoch(small(mode="triplet"), 0, 50, CPU)
    assert draws.partners is not None
    for start, stop in batch_bounds(50, 16):
        for row in draws.partners[:, start:stop]:
            assert torch.equal(row.sort().values, torch.arange(stop - start))
    assert torch.equal(draws.partners[0, 16:32], torch.arange(16))
    assert not torch.equal(draws.partners[1, :16], draws.partners[1, 16:32])


def test_a_loss_that_is_not_finite_is_named() -> None:
    config = small(
        optimizer=SgdConfig(lr=1e6, schedule="constant"), model=CnnConfig(batch_norm=False)
    )
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, step \d.*learning rate 1e\+06.*lower"):
        epochs(training(config).run())


def test_hooks_are_gone_after_training_and_after_leaving_it() -> None:
    trained = training(small(layer=["input", "conv1"]))
    run = trained.run()
    next(run)
    assert any(module._forward_hooks for module in trained.network.modules())
    run.close()  # type: ignore[attr-defined]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trained.network.modules())


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["none", "conv1"])
def test_compiled_training_follows_the_eager_one(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile fuses and reorders float32 operations: equal to rounding, which steps amplify."""
    compile_network = torch.compile
    passes = []

    def counted(network: nn.Module) -> Callable[[Tensor], Tensor]:
        compiled = compile_network(network)

        def run(images: Tensor) -> Tensor:
            passes.append(len(images))
            logits: Tensor = compiled(images)
            return logits

        return run

    monkeypatch.setattr(torch, "compile", counted)
    eager = losses(small(layer=layer, mode="triplet"))
    assert passes == []
    compiled = losses(small(layer=layer, mode="triplet", compile=True))
    assert passes == [16] * 6
    assert compiled == pytest.approx(eager, rel=1e-3)


def golden_losses() -> dict[str, list[float]]:
    """The losses that `scripts/golden.py` stores: eager float32 on the CPU."""
    settings: dict[str, dict[str, Any]] = {
        "none": {"layer": "none"},
        "input-siamese": {"layer": "input"},
        "conv1-triplet": {"layer": "conv1", "mode": "triplet"},
        "conv2-siamese-sample": {"layer": "conv2", "lam": "sample", "alpha": 0.2},
        "manifold-adam": {"layer": ["input", "conv1", "conv2"], "optimizer": AdamConfig()},
        "independent": {"layer": "conv1", "partners": "independent", "originals": 1.0},
        "input-augmented": {"layer": "input", "dataset": DatasetConfig(augment="flip_crop")},
        "conv1-cutmix-sample": {"layer": "conv1", "operation": "cutmix", "lam": "sample"},
    }
    return {name: losses(small(**changes)) for name, changes in settings.items()}


def test_golden_losses() -> None:
    """Guards refactors. Other processors round differently, so a relative 1e-4 stands for "the same"."""
    golden = json.loads(GOLDEN.read_text())
    found = golden_losses()
    assert found.keys() == golden.keys()
    for name, expected in golden.items():
        assert found[name] == pytest.approx(expected, rel=1e-4), name


def test_draw_epoch_draws_nothing_for_plain_training() -> None:
    draws = draw_epoch(small(layer="none"), 0, 50, CPU)
    assert draws.weights is None
    assert draws.partners is None
    assert draws.centres is None
