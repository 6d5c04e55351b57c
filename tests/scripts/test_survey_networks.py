"""The survey of torchvision's and timm's networks, on eight small ones."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.config.schema import ModelConfig, TimmConfig, TorchvisionConfig


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("survey_networks")


def named(name: str) -> ModelConfig:
    library, _, arch = name.partition(".")
    return TimmConfig(arch=arch) if library == "timm" else TorchvisionConfig(arch=name)


@pytest.mark.parametrize(
    "name",
    [
        *("squeezenet1_1", "shufflenet_v2_x0_5", "timm.test_byobnet", "timm.test_convnext"),
        *("timm.test_efficientnet", "timm.test_nfnet", "timm.test_resnet", "timm.test_vit"),
    ],
)
def test_a_network_is_surveyed_and_mixed_as_by_hand(scripts: Any, name: str) -> None:
    row = scripts.examine(name, named(name))
    assert row.note == ""
    assert row.error is not None
    assert row.error < 1e-9
    assert row.differ == ()
    assert row.held >= row.cuts > len(row.stages) >= 4
    assert len(row.mixed) == 3


def test_the_page_says_what_does_not_work(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "SIDE", 32)
    row = scripts.examine("alexnet", named("alexnet"))
    assert row.error is None
    assert "does not accept 3x32x32" in scripts.page([row]).splitlines()[-1]
