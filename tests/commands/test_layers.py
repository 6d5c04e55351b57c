"""`python -m hiddenmix.layers`."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import hiddenmix
from hiddenmix import layers
from hiddenmix.config import PreactResNet18Config
from hiddenmix.networks import build


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """The command's output, on a terminal of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["layers", *arguments])
        assert layers.main() == code
        said = capsys.readouterr()
        text: str = said.err if code else said.out
        return text

    return run


def test_the_stages_of_the_default_network(listed: Any) -> None:
    lines = listed().splitlines()
    assert lines[0].startswith("cnn, 1x8x8 images, 10 classes: 7 stages among 22 layers")
    assert lines[4].split() == ["input", "0", "1x8x8", "0.0", "%"]
    assert lines[5].split()[:5] == ["conv1", "1", "32x8x8", "0.3", "%"]
    assert lines[5].endswith("  the paper's layer: behind the first convolution")
    assert not any("paper" in line for line in lines[6:])
    assert lines[-1] == "layer=input,conv1,pool1,conv2,pool2,conv3,pool3,fc1"


def test_python_lists_the_same_layers(listed: Any) -> None:
    network = build(PreactResNet18Config(width=2), (3, 32, 32), 10)
    named = hiddenmix.mixable_layers(network, (3, 32, 32), stages=True)
    shown = listed(*SMALL).splitlines()[-1]
    assert shown == "layer=" + ",".join(layer.name for layer in named)
    every = hiddenmix.mixable_layers(network, (3, 32, 32))
    assert len(every) > 40
    assert set(named) < set(every)


@pytest.mark.parametrize(
    ("arch", "stages"),
    [
        ("swin_t", [*(f"features.{n}" for n in range(7)), "features", "norm"]),
        (
            "densenet121",
            [
                *("features.relu0", "features.pool0", "features.denseblock1"),
                *("features.transition1", "features.denseblock2", "features.transition2"),
                *("features.denseblock3", "features.transition3", "features", "classifier"),
            ],
        ),
        pytest.param(
            "efficientnet_b3",
            [*(f"features.{n}" for n in range(8)), "features"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_large_networks_fit_one_screen(listed: Any, arch: str, stages: list[str]) -> None:
    lines = listed("model=torchvision", f"model.arch={arch}", "dataset=cifar10").splitlines()
    assert len(lines) < 24
    assert lines[-1] == "layer=" + ",".join(["input", *stages])


@pytest.mark.slow
def test_deep_networks_fit_one_screen(listed: Any) -> None:
    lines = listed("model=timm", "model.arch=gmlp_s16_224", "dataset=cifar10").splitlines()
    assert len(lines) < 24
    assert "10 classes: 16 of 31 stages among 397 layers" in lines[0]
    names = [f"blocks.{number}" for number in range(0, 30, 2)]
    assert lines[-1] == "layer=" + ",".join(["input", *names, "norm"])


def test_the_stem_is_told_as_before_training(listed: Any) -> None:
    network = ("model=torchvision", "model.arch=resnet18", "dataset=cifar10")
    lines = listed(*network).splitlines()
    assert lines[1].startswith("resnet18, 32x32 images: its stem is 3x3 without pooling")
    assert lines[6].split()[:2] == ["relu", "1"]
    assert lines[6].endswith("the paper's layer: behind the first convolution")


@pytest.mark.parametrize("flag", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_files_of_the_users_own(listed: Any, tmp_path: Path, flag: list[str]) -> None:
    folder = tmp_path / "it's (mine), 100 %"
    (folder / "model").mkdir(parents=True)
    (folder / "model/small.yaml").write_text("defaults: [cnn]\nchannels: [4, 6, 8]\n")
    named = [each.format(folder) for each in flag]
    lines = listed(*named, "model=small").splitlines()
    assert lines[5].split()[:3] == ["conv1", "1", "4x8x8"]


@pytest.mark.parametrize("flag", [["--config-dir", "nowhere"], ["-cd"]])
def test_a_folder_that_is_not_there(listed: Any, flag: list[str]) -> None:
    assert "is no folder\n  expected: one with model/ or dataset/" in listed(*flag, code=2)


SMALL = ("model=preact_resnet18", "model.width=2", "dataset=cifar10")


def test_all_gives_the_reason_against_each_layer(listed: Any) -> None:
    reasons = {
        line.split()[0]: " ".join(line.split()[5:])
        for line in listed("--all", *SMALL).splitlines()[4:-2]
    }
    assert reasons["conv1"] == "image mixup in disguise: affine up to here"
    assert reasons["layer1.0"] == "finer: inside layer1"
    assert reasons["layer1.1"] == "same as layer1: affine in between"
    assert reasons["layer1"] == "the lowest stage, behind more than the first convolution"
    assert reasons["layer2"] == ""
    assert reasons["layer1.0.norm2"].startswith("bypassed: leaves ")
    assert float(reasons["layer1.0.norm2"].split()[-1]) > 0.1


def test_json(listed: Any) -> None:
    brief = json.loads(listed("--json", *SMALL))
    assert brief["papers_layer"] is None
    assert brief["layers"][1]["reason"] is None
    assert brief["stages"] == ["layer1", "layer2", "layer3", "layer4", "classifier"]
    assert brief["sweep"] == "layer=input,layer1,layer2,layer3,layer4,classifier"
    assert [row["layer"] for row in brief["layers"]] == ["input", *brief["stages"]]
    whole = json.loads(listed("--json", "--all", *SMALL))
    rows = {row["layer"]: row for row in whole["layers"]}
    assert len(rows) > 40
    assert rows["layer1"]["shape"] == [2, 32, 32]
    assert rows["layer1"]["depth"] == 5
    assert rows["layer1"]["left"] == 0
    assert rows["layer2.0.shortcut"]["cut"] is False
    assert rows["layer2.0.shortcut"]["left"] > 0.1


def test_mistakes_end_in_two_lines(listed: Any) -> None:
    assert listed("--every", code=2).splitlines() == [
        "--every is no flag of layers",
        "  allowed: --all, --json, --config-dir, --help",
    ]
    refused = listed("model=nope", code=2).splitlines()
    assert refused[0].startswith("model=nope is not allowed")
    assert "preact_resnet18" in refused[1]
    assert "usage" in listed("--help")


def test_a_network_that_refuses_the_default_data_asks_for_others(listed: Any) -> None:
    network = ("model=torchvision", "model.arch=squeezenet1_1")
    said = listed(*network, code=2)
    assert said.startswith(
        "the network does not accept 1x8x8 images, the size of the default dataset="
    )
    assert "give dataset=<name> for others\n" in said
    assert len(said.splitlines()) == 2
