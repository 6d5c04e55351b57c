"""Recorded steps train as unrecorded ones: on a tape here, as CUDA graphs where there is a GPU.

A CUDA graph repeats operations on places in memory and sees no Python value again. The tape does
the same on the CPU, so a learning rate, batch or weight that a step took from Python would show.
"""

import dataclasses
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hiddenmix.config.schema import AdamConfig, CnnConfig, Config, DatasetConfig, SgdConfig, layers
from hiddenmix.networks.building import build
from hiddenmix.randomness import default_generators
from hiddenmix.training.forms import choose_form
from hiddenmix.training.loop import Training
from hiddenmix.training.recording import WARM_UP
from tests.support.small_training import CPU, assert_same, epochs, images_and_labels, weights


class Tape(TorchDispatchMode):
    """Repeats the operations of a step, their results written where those of the recording lie."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return  # a tape, other than a graph, has run what it recorded
        with torch.no_grad():
            for func, args, kwargs, result in self.calls:
                again = tree_leaves(func(*args, **kwargs))
                for place, value in zip(tree_leaves(result), again, strict=True):
                    if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                        place.copy_(value)


class Tapes:
    """A recorder of tapes."""

    def __init__(self) -> None:
        self.made: list[Tape] = []

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        tape = Tape()
        with tape:
            step()
        self.made.append(tape)
        return tape.replay


def small(**changes: Any) -> Config:
    """Six epochs of 50 images: three batches of 16 and one of 2, which BatchNorm would blow up."""
    base = Config(
        model=CnnConfig(channels=[4, 6, 8], width=16, batch_norm=False),
        optimizer=SgdConfig(lr=0.1),
        epochs=6,
        batch_size=16,
    )
    return dataclasses.replace(base, **changes)


def training(config: Config, device: torch.device = CPU, **options: Any) -> Training:
    images, labels = images_and_labels()
    with default_generators(config.seed, "init"):
        network = build(config.model, (1, 8, 8), 3)
    mean, std = torch.tensor([0.5], device=device), torch.tensor([0.3], device=device)
    images, labels = images.to(device), labels.to(device)
    return Training(network, images, labels, mean, std, config, device, **options)


SETTINGS: list[dict[str, Any]] = [
    {"layer": "none"},
    {"layer": "input", "dataset": DatasetConfig(augment="flip_crop")},
    {"layer": "conv1", "mode": "triplet", "lam": "sample"},
    {"layer": "conv2", "originals": 0.5, "optimizer": AdamConfig()},
    {"layer": ["input", "conv1"], "mode": "triplet"},
    {"layer": "conv1", "partners": "independent", "mode": "triplet"},
    {"layer": "conv1", "precision": "bf16"},
    {"layer": "conv1", "model": CnnConfig(channels=[4, 6, 8], width=16, dropout=0.3)},
    {"layer": "conv1", "operation": "cutmix", "lam": "sample"},
    {"layer": "input", "operation": "cutmix", "mode": "triplet", "partners": "independent"},
]


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal to rounding: a recorded step's learning rate is float32, an unrecorded one's float64."""
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_a_recorded_training_is_the_unrecorded_one(changes: dict[str, Any]) -> None:
    config = small(**changes)
    if config.model == CnnConfig(channels=[4, 6, 8], width=16, dropout=0.3):
        config = dataclasses.replace(config, batch_size=25)  # BatchNorm: no batch of two
    plain, tapes = training(config), Tapes()
    recorded = training(config, recorder=tapes)
    expected = [epoch.loss for epoch in epochs(plain.run())]
    assert [epoch.loss for epoch in epochs(recorded.run())] == pytest.approx(expected, rel=1e-3)
    assert_close(weights(recorded.network), weights(plain.network))
    replayed = sum(tape.replays for tape in tapes.made)
    kinds = 2 * len(layers(config))  # whole batches and the last one, at each layer
    assert config.epochs * recorded.steps - replayed <= WARM_UP * kinds
    assert replayed > 0


@pytest.mark.parametrize("stop", [2, 9, 16])
def test_a_recorded_training_is_resumed_at_any_step(stop: int) -> None:
    config = small(layer="conv1", mode="triplet", optimizer=AdamConfig())
    whole = training(config, recorder=Tapes())
    history = epochs(whole.run())
    killed = training(config, recorder=Tapes())
    seen = []
    for number, state in enumerate(killed.run(), start=1):
        if state is not None:
            seen.append(state)
        if number == stop:
            saved = killed.state()
            break
    resumed = training(config, recorder=Tapes())
    resumed.load_state(saved)
    seen += epochs(resumed.run())
    assert_same(weights(resumed.network), weights(whole.network))
    assert [(e.number, e.loss) for e in seen] == [(e.number, e.loss) for e in history]


@pytest.mark.parametrize("optimizer", [SgdConfig(lr=0.1), AdamConfig()], ids=["sgd", "adam"])
@pytest.mark.parametrize("first", ["recorded", "unrecorded"])
def test_a_checkpoint_serves_both_forms(optimizer: SgdConfig | AdamConfig, first: str) -> None:
    config = small(layer="conv1", optimizer=optimizer)
    whole = training(config)
    epochs(whole.run())
    recorders = [Tapes(), None] if first == "recorded" else [None, Tapes()]
    killed, resumed = (training(config, recorder=recorder) for recorder in recorders)
    for number, _ in enumerate(killed.run(), start=1):
        if number == 14:
            break
    resumed.load_state(killed.state())
    epochs(resumed.run())
    assert_close(weights(resumed.network), weights(whole.network))


def test_what_cannot_be_recorded_is_trained_unrecorded_and_said() -> None:
    said: list[str] = []

    def refuse(step: Callable[[], None]) -> Callable[[], None]:
        # Midway, with gradients and an armed hook left behind.
        for parameter in recorded.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        recorded._hooks.arm("conv1", lambda maps: maps)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    config = small(layer="conv1")
    recorded = training(config, recorder=refuse, say=said.append)
    plain = training(config)
    expected = [epoch.loss for epoch in epochs(plain.run())]
    assert [epoch.loss for epoch in epochs(recorded.run())] == pytest.approx(expected, rel=1e-3)
    assert said[0] == (
        "steps of this network are not recorded as CUDA graphs: operation not permitted when "
        "stream is capturing"
    )
    assert len(said) == 2  # batches of 16 and of 2


def test_a_recorded_training_is_freed_when_it_is_done() -> None:
    """Not by the garbage collector some time later: a graph holds the memory of a whole step."""
    recorded = training(small(layer="conv1"), recorder=Tapes())
    epochs(recorded.run())
    gone = weakref.ref(recorded)
    gc.disable()
    try:
        del recorded
        assert gone() is None
    finally:
        gc.enable()


def test_the_form_says_whether_steps_are_recorded() -> None:
    cuda = torch.device("cuda")
    assert choose_form(Config(), cuda).recorded
    assert choose_form(Config(compile=True), cuda).recorded
    assert not choose_form(Config(compile=False), cuda).recorded
    assert not choose_form(Config(), CPU).recorded
    assert "recorded as CUDA graphs" in choose_form(Config(), cuda).text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_cuda_graphs_train_as_eager_steps_do(changes: dict[str, Any]) -> None:
    """On a GPU. Kernels may be others in a graph, so: equal to rounding, which steps amplify."""
    device = torch.device("cuda", 0)
    said: list[str] = []
    if "dropout" in str(changes):
        pytest.skip("a graph draws its dropout from another part of the generator's stream")
    plain = training(small(**changes, compile=False), device)
    recorded = training(small(**changes), device, say=said.append)
    expected = [epoch.loss for epoch in epochs(plain.run())]
    rel = 3e-2 if changes.get("precision") == "bf16" else 1e-3
    assert [epoch.loss for epoch in epochs(recorded.run())] == pytest.approx(expected, rel=rel)
    assert said == []
