"""The training command with networks of timm, of the user, and with weights at hand."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import hiddenmix
from hiddenmix import evaluate, report
from hiddenmix.config.schema import Config, ImportConfig
from hiddenmix.study.planning import question_alone
from tests.support.commands import Command, command

BRIEF = ("epochs=1", "repeats=1", "dataset.train_size=100", "batch_size=50")

NETWORK = """
from torch import nn
from own_blocks import Block

class MyNet(nn.Sequential):
    def __init__(self, width, classes, shape):
        super().__init__()
        self.stage = Block(shape[0], width)
        self.flat = nn.Flatten()
        self.head = nn.Linear(width * shape[1] * shape[2], classes)
"""

BLOCKS = """
from torch import nn

class Block(nn.Sequential):
    def __init__(self, inputs, width):
        super().__init__(nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU())
"""

OWN = ("model=import", "model.target=own_mynet.MyNet", "model.arguments={width: 2}", *BRIEF)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_mynet.py").write_text(NETWORK)
    (tmp_path / "own_blocks.py").write_text(BLOCKS)
    _forget()
    return command(tmp_path, monkeypatch, capsys)


def _forget() -> None:
    """As a new process would begin."""
    for name in ("own_mynet", "own_blocks"):
        sys.modules.pop(name, None)


def _results(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "outputs/default/cells").glob("*/result.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_layers_of_any_name_are_mixed_at(tmp_path: Path, run: Command) -> None:
    """torch refuses a dot in a module's name alone."""
    (tmp_path / "own_mynet.py").write_text("""
from torch import nn

def make(classes):
    parts = {"res-1": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), "été": nn.Conv2d(2, 2, 3)}
    body = nn.ModuleDict({**parts, "a/b|c": nn.ReLU()})
    return Net(body, classes)

class Net(nn.Module):
    def __init__(self, body, classes):
        super().__init__()
        self.body, self.head = body, nn.Linear(2 * 16, classes)

    def forward(self, x):
        for part in self.body.values():
            x = part(x)
        return self.head(x.flatten(1))
""")
    net = ("model=import", "model.target=own_mynet.make", "baseline=false", "workers=1", *BRIEF)
    done = run("checkpoint_seconds=0", "-m", "layer=body.res-1,body.été,'body.a/b|c'", *net)
    assert done.code == 0, done.output
    results = _results(tmp_path)
    assert {result["layer"] for result in results} == {"body.res-1", "body.été", "body.a/b|c"}
    text = (tmp_path / "outputs/default/report/report.md").read_text()
    assert "body.a/b\\|c" in text
    assert run("layer=body.nope", *net).errors.startswith("layer=body.nope is not allowed")


def test_an_own_network_is_trained_beside_its_baselines(tmp_path: Path, run: Command) -> None:
    done = run("layer=stage", *OWN)
    assert done.code == 0, done.errors
    assert "own_mynet.MyNet" in done.output
    results = _results(tmp_path)
    assert [result["layer"] for result in results] == ["input", "none", "stage"]
    assert {result["model"] for result in results} == {"own_mynet.MyNet"}
    assert {result["parameters"] for result in results} == {2 * 9 + 2 + 10 * 128 + 10}
    # A part of it that lies in another file is another network.
    _forget()
    (tmp_path / "own_blocks.py").write_text(BLOCKS.replace("ReLU", "Tanh"))
    again = run("layer=stage", "baseline=false", *OWN)
    assert again.code == 0, again.errors
    assert "1 network, 0 already there, 1 to train" in again.output
    former = next(each["cell"] for each in results if each["layer"] == "stage")
    assert (
        "warning: the code of own_mynet.MyNet has changed since: 1 network of this study, such as "
        f"{former}, is trained again\n"
    ) in again.output
    assert len({result["config"]["model"]["source"] for result in _results(tmp_path)}) == 2


def test_the_question_is_about_what_runs_first_whatever_it_is_called(
    tmp_path: Path, run: Command
) -> None:
    (tmp_path / "own_mynet.py").write_text(
        NETWORK.replace(
            "self.stage = Block(shape[0], width)", "self.zoom = Block(shape[0], width)"
        ).replace("self.flat", "self.act = Block(width, width)\n        self.flat")
    )
    done = run(
        "-m", "layer=act,zoom,[input,act]", *OWN, "baseline=false", "tracker=[]", "workers=1"
    )
    assert done.code == 0, done.errors
    results = _results(tmp_path)
    assert [each["layer"] for each in results] == ["act", "input+act", "zoom"]
    order = ["input", "zoom.0", "zoom.1", "zoom", "act.0", "act.1", "act", "flat", "head"]
    assert [each["layers"] for each in results] == [order] * 3
    report = tmp_path / "outputs/default/report"
    [question] = json.loads((report / "verdict.json").read_text())["questions"]
    assert question["layer"] == "zoom"
    summary = (tmp_path / "outputs/default/summary.csv").read_text().splitlines()[1:]
    assert [line.split(",")[2] for line in summary] == ["zoom", "act", "input+act"]
    # It is the one that repeats=auto trains.
    model = ImportConfig(target="own_mynet.MyNet", arguments={"width": 2})
    asked = [Config(model=model, layer=layer) for layer in ("act", "zoom")]
    assert question_alone(asked) == (asked[1:], asked[:1])


def test_changed_code_is_not_evaluated_as_what_was_trained(
    tmp_path: Path, run: Command, capsys: Any
) -> None:
    assert run("layer=stage", "baseline=false", *OWN).code == 0
    (tmp_path / "own_mynet.py").write_text(NETWORK + "# a comment\n")
    again = run("layer=stage", "baseline=false", *OWN)
    assert "1 network, 1 already there, 0 to train" in again.output
    assert "has changed" not in again.output
    (tmp_path / "own_mynet.py").write_text(NETWORK + "another = 1\n")
    capsys.readouterr()
    # A study may come from others: their code is imported only where it is named.
    _forget()
    assert evaluate.main(["outputs/default"]) == 2
    assert "only where it is named: --target own_mynet.MyNet" in capsys.readouterr().out
    with pytest.raises(hiddenmix.UserError, match="made by code of its own"):
        hiddenmix.load(next((tmp_path / "outputs/default/cells").iterdir()))
    assert "own_mynet" not in sys.modules
    assert evaluate.main(["outputs/default", "--target", "own_mynet.MyNet"]) == 2
    assert "refused: model.target=own_mynet.MyNet: its code has changed" in capsys.readouterr().out


def test_a_network_of_timm_is_trained(tmp_path: Path, run: Command) -> None:
    network = ("model=timm", "model.arch=test_vit", "model.arguments={patch_size: 4}")
    done = run("layer=blocks.3", "baseline=false", *network, *BRIEF)
    assert done.code == 0, done.errors
    [result] = _results(tmp_path)
    assert result["model"] == "timm.test_vit"
    assert result["bypassed"] == {}
    assert "timm" in result["environment"]["packages"]


def test_weights_at_hand_are_told_and_recorded(tmp_path: Path, run: Command) -> None:
    network = ("model.channels=[2,2,2]", "model.width=4")
    assert run("layer=none", "baseline=false", *network, *BRIEF).code == 0
    [first] = _results(tmp_path)
    [stored] = (tmp_path / "outputs/default/cells").glob("*/model.safetensors")
    shutil.copy(stored, tmp_path / "start.safetensors")
    weights = "model.weights=start.safetensors"
    done = run("layer=none", "baseline=false", *network, *BRIEF, weights)
    assert done.code == 0, done.errors
    assert "weights of start.safetensors: 22 of 22 tensors\n" in done.output
    second = next(each for each in _results(tmp_path) if each["cell"] != first["cell"])
    assert second["train"]["loss"] < first["train"]["loss"]
    assert len(second["config"]["model"]["weights_digest"]) == 16
    # The same file elsewhere is the same network; evaluating needs it no more.
    (tmp_path / "start.safetensors").rename(tmp_path / "moved.safetensors")
    moved = run("layer=none", "baseline=false", *network, *BRIEF, "model.weights=moved.safetensors")
    assert "1 network, 1 already there" in moved.output
    (tmp_path / "moved.safetensors").unlink()
    assert evaluate.main(["outputs/default", "--images", "10"]) == 0


@pytest.mark.slow
def test_the_stem_is_told(tmp_path: Path, run: Command) -> None:
    done = run("layer=none", "baseline=false", "model=torchvision", "model.arch=resnet18", *BRIEF)
    assert (
        "resnet18, 8x8 images: its stem is 3x3 without pooling, for small images "
        "(model.small_stem=false for the other)"
    ) in done.output
    [result] = _results(tmp_path)
    assert result["config"]["model"]["small_stem"] is True


LIKE_TUTORIALS = """
import torch.nn.functional as F
from torch import nn

class MyNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.fc = nn.Conv2d(4, 4, 3), nn.LazyLinear(classes)

    def train(self, mode=True):
        super().train(mode)
        self.bn1.eval()
        return self

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.view(-1, 4 * 4 * 4))
"""


def test_a_network_as_in_tutorials_is_trained_as_it_is(
    tmp_path: Path, run: Command, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`view` behind convolutions, a frozen BatchNorm, a lazy layer."""
    (tmp_path / "own_mynet.py").write_text(LIKE_TUTORIALS)
    monkeypatch.setattr(report, "write_report", lambda folder: folder)  # its figures take long
    alone = ("baseline=false", "tracker=[]", "workers=1", "model=import")
    done = run("-m", "layer=bn1,input", *alone, "model.target=own_mynet.MyNet", *BRIEF)
    assert done.code == 0, done.errors
    assert "form: eager, contiguous as the network does not run in channels_last, " in done.output
    assert "warning: layer=bn1 is image mixup in disguise" in done.output
    results = {result["layer"]: result for result in _results(tmp_path)}
    assert results["bn1"]["disguised"] == ["bn1"]
    # The same seed, weights and draws: mixing there is mixing images, to the last answer but rounding.
    losses = [results[layer]["train"]["loss"] for layer in ("bn1", "input")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    # What is measured later runs likewise.
    target = ("--target", "own_mynet.MyNet")
    assert evaluate.main(["outputs/default", "--images", "10", *target]) == 0
    capsys.readouterr()
    assert evaluate.main(["outputs/default", "--distance", "--images", "20", *target]) == 0
    rows = (tmp_path / "outputs/default/mixing_distance.csv").read_text().splitlines()
    head = rows[0].split(",")
    found = [dict(zip(head, row.split(","), strict=True)) for row in rows[1:]]
    frozen = [each for each in found if each["layer"] == "bn1" and "-bn1-" in each["cell"]]
    assert frozen
    assert all(float(each["batch_distance"]) < 1e-5 for each in frozen)
