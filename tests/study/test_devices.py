"""Devices by torch's own names for them. No machine here has any: `torch.accelerator` says so here."""

from types import SimpleNamespace

import pytest
import torch

from hiddenmix import randomness
from hiddenmix.config.errors import ConfigError
from hiddenmix.config.schema import Config
from hiddenmix.evaluation.measuring import Tally
from hiddenmix.study.devices import choose_device, device_name
from hiddenmix.study.workers import how_many
from hiddenmix.training.forms import choose_form


def machine(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int) -> None:
    """This machine has `count` accelerators of a kind; None, as torch's CPU build has it, or "cuda" and
    none, as a CUDA build on a machine without."""
    named = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: named)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("kind", "count", "name", "job", "chosen"),
    [
        (None, 0, "auto", 1, "cpu"),
        ("cuda", 0, "auto", 0, "cpu"),
        ("mps", 1, "auto", 3, "mps:0"),
        ("mps", 1, "mps", 0, "mps:0"),
        ("xpu", 2, "auto", 3, "xpu:1"),
        ("xpu", 2, "xpu:1", 0, "xpu:1"),
        ("cuda", 4, "cuda", 2, "cuda:0"),
        ("cuda", 4, "cpu", 2, "cpu"),
    ],
)
def test_the_device_that_is_there(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, name: str, job: int, chosen: str
) -> None:
    machine(monkeypatch, kind, count)
    assert choose_device(name, job) == torch.device(chosen)


@pytest.mark.parametrize(
    ("kind", "count", "name", "found"),
    [
        (None, 0, "cuda", "no accelerator"),
        ("cuda", 0, "cuda:0", "no accelerator"),
        ("mps", 1, "cuda", "mps:0"),
        ("xpu", 2, "xpu:2", "xpu:0, xpu:1"),
        ("xpu", 2, "gpu", "xpu:0, xpu:1"),
        ("cuda", 1, "cuda:x", "cuda:0"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, name: str, found: str
) -> None:
    machine(monkeypatch, kind, count)
    with pytest.raises(ConfigError) as refused:
        choose_device(name, 0)
    assert str(refused.value) == (
        f"device={name} is not allowed\n  allowed: auto, cpu ({found} found)"
    )


def test_a_worker_for_each_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "xpu", 3)
    assert how_many(Config(), torch.device("xpu", 0), 5) == 3
    assert how_many(Config(device="xpu:1"), torch.device("xpu", 1), 5) == 1
    assert how_many(Config(), torch.device("xpu", 0), 2) == 2


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_other_accelerators_train_step_by_step_and_say_so(kind: str) -> None:
    form = choose_form(Config(), torch.device(kind))
    assert not form.compiled
    assert not form.recorded
    assert "CPU" not in form.text


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_name(torch.device("cpu")) == "cpu"
    module = SimpleNamespace(get_device_name=lambda device: f"Arc {device.index}")
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert device_name(torch.device("xpu", 1)) == "Arc 1"
    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace())
    assert device_name(torch.device("mps", 0)) == "mps"


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_the_generators_of_an_accelerator_are_lent_and_come_back(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    own = [torch.Generator().manual_seed(7 + number) for number in range(2)]
    module = SimpleNamespace(
        default_generators=own,
        current_device=lambda: 1,
        _get_default_mps_generator=lambda: own[1],
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    device = torch.device(kind, 1 if kind == "xpu" else 0)
    before = [torch.get_rng_state(), *(each.get_state() for each in own)]
    with randomness.default_generators(3, "dropout", device):
        here, there = torch.rand(4), torch.rand(4, generator=own[1])
        saved = randomness.generator_states(device)
        torch.rand(1)
        torch.rand(1, generator=own[1])
        randomness.restore_generators(device, saved)
        assert torch.equal(own[1].get_state(), saved[1])
    assert torch.equal(here, there)  # of the one stream
    after = [torch.get_rng_state(), *(each.get_state() for each in own)]
    assert all(map(torch.equal, before, after))


def test_sums_are_of_a_kind_that_apples_gpus_have(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.dtype] = []
    zeros = torch.zeros

    def without_device(*size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        made.append(dtype)
        return zeros(*size, dtype=dtype)

    monkeypatch.setattr(torch, "zeros", without_device)
    tally = Tally(1, 3, torch.device("mps"))
    tally.add(0, 0, torch.eye(3), torch.tensor([0, 1, 0]))
    assert torch.float64 not in made
    assert dict(tally.pairs(["a"]))["a/accuracy"] == pytest.approx(2 / 3)
