"""`hiddenmix.evaluate --distance`: what it writes, when it measures again, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hiddenmix
from hiddenmix import evaluate, networks, randomness, report
from hiddenmix.config import from_plain
from hiddenmix.data import prepare, read
from hiddenmix.evaluation import label_consistency, mixing_distance, take_statistics
from hiddenmix.study import distances, measuring
from tests.support.commands import ALONE, Command, cells, command

STUDY = Path("outputs/default")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def test_a_studys_networks_are_measured_once(
    run: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its figures take longer than the rest; tests/report reads such tables.
    monkeypatch.setattr(report, "write_report", lambda folder: folder)
    assert run("-m", *ALONE, "layer=none,input,conv1,conv2.conv").code == 0
    before = {cell: (cell / "result.json").read_bytes() for cell in cells(tmp_path)}
    assert evaluate.main([str(STUDY), "--distance", "--images", "50"]) == 0
    said = capsys.readouterr().out
    assert said.count(": measured\n") == 3
    assert said.count(": nothing to measure: no mixup of feature maps\n") == 1
    assert {cell: (cell / "result.json").read_bytes() for cell in cells(tmp_path)} == before
    table = pd.read_csv(STUDY / "mixing_distance.csv")
    assert len(table) == 6 * (
        9 + 1 + 1
    )  # kinds of weights; input, 7 stages, what the study mixes at
    assert set(table["test_images"]) == {50}
    conv1 = table[table["cell"].str.contains("-conv1-")]
    assert set(conv1["layer"]) == {"conv1"}
    assert conv1["initial_distance"].isna().all()
    assert conv1["kl"].isna().all()
    plain = table[table["cell"].str.contains("-none-")]
    order = ["input", "conv1", "pool1", "conv2.conv", "conv2", "pool2", "conv3", "pool3", "fc1"]
    assert list(dict.fromkeys(plain["layer"])) == order
    assert plain.notna().all(axis=None)
    _check_numbers(plain)

    # Once more: the same bytes, and nothing runs. Damaged, or asked of other images: measured again.
    content = (STUDY / "mixing_distance.csv").read_bytes()
    [first, *_] = STUDY.glob("cells/*/mixing_distance.json")
    first.write_text("{")
    assert evaluate.main([str(STUDY), "--distance", "--images", "50"]) == 0
    said = capsys.readouterr().out
    assert (said.count(": measured\n"), said.count(": already measured\n")) == (1, 2)
    assert (STUDY / "mixing_distance.csv").read_bytes() == content
    assert evaluate.main([str(STUDY), "--distance"]) == 0
    assert capsys.readouterr().out.count(": measured\n") == 3


def _check_numbers(plain: pd.DataFrame) -> None:
    """Of the plainly trained network, from its files and its seed."""
    [folder] = STUDY.glob("cells/*-none-*")
    trained = hiddenmix.load(folder)
    config = from_plain(json.loads((folder / "result.json").read_text())["config"])
    data = prepare(read(config.dataset), config.dataset, config.seed)
    chosen = measuring.subset(data.test.labels, 50)
    mean, std = data.mean, data.std
    given = (data.test.images[chosen], data.test.labels[chosen], mean, std)
    numbers = dict(mixing_distance(trained.network.train(), *given, layers=["conv1"]))
    numbers |= label_consistency(trained.network, *given, layers=["conv1"])
    with randomness.default_generators(config.seed, "init"):
        initial = networks.build(config.model, (1, 8, 8), 10)
    settling = measuring.subset(data.train.labels, 128)
    take_statistics(initial, data.train.images[settling], mean, std)
    for name, value in mixing_distance(initial, *given, layers=["conv1"]):
        numbers[name.replace("distance", "initial_distance")] = value
    for _, row in plain[plain["layer"] == "conv1"].iterrows():
        place = f"conv1/{row['images']}/{row['weights']}"
        for name in ("distance", "initial_distance", "cross_entropy", "kl", "in_classes"):
            assert row[name] == pytest.approx(numbers[f"{place}/{name}"], rel=1e-4), name


def test_there_are_images_of_each_of_many_classes(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more classes than images by default, as a folder of 1,000 classes has."""
    monkeypatch.setattr(report, "write_report", lambda folder: folder)
    monkeypatch.setattr(distances, "IMAGES", 5)
    monkeypatch.setattr(distances, "_SETTLING", 5)
    assert run(*ALONE, "layer=none", "epochs=1").code == 0
    assert evaluate.main([str(STUDY), "--distance"]) == 0
    assert set(pd.read_csv(STUDY / "mixing_distance.csv")["test_images"]) == {10}


def test_what_cannot_be_is_refused(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["outputs/none", "--distance", "--outside", "a=b"]) == 2
    assert "--outside is not allowed with --distance" in capsys.readouterr().err
    assert run(*ALONE, "layer=none").code == 0
    [cell] = cells(tmp_path)
    weights = (cell / "model.safetensors").read_bytes()
    (cell / "model.safetensors").write_bytes(weights[:-8] + bytes(8))
    assert evaluate.main([str(STUDY), "--distance"]) == 1
    assert "failed: model.safetensors is damaged" in capsys.readouterr().out
    assert not (cell / "mixing_distance.json").exists()
