"""The command line as its users run it: a subprocess in an empty folder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import hiddenmix
from hiddenmix import study, train
from hiddenmix.system import Interrupted
from tests.support.commands import HANG, Command, command

TINY = (
    "dataset.train_size=120",
    "epochs=2",
    "batch_size=32",
    "model.channels=[4,4,4]",
    "model.width=8",
)


def run(folder: Path, *arguments: str, module: str = "train") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"hiddenmix.{module}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "error"},
    )


def results(folder: Path, study: str = "default") -> dict[str, dict[str, Any]]:
    paths = (folder / "outputs" / study / "cells").glob("*/result.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """A result without times and host."""
    kept = {key: value for key, value in result.items() if key not in ("environment", "command")}
    return kept | {"train": result["train"]["loss"]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    """The command in this process, where the second one of a test need not load torch anew."""
    return command(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One setting, two repeats, with its baselines: eight networks."""
    folder = tmp_path_factory.mktemp("one")
    return folder, run(folder, "layer=conv1", "mode=triplet", "repeats=2", "workers=2", *TINY)


def test_one_setting_beside_its_baselines(
    one: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = one
    assert done.returncode == 0, done.stderr
    assert "8 networks, 0 already there, 8 to train" in done.stdout
    assert "data digits: 120 of 1,437 training and 360 test images of 10 classes" in done.stdout
    for words in ("none", "input", "conv1", "triplet", "gain"):
        assert words in done.stdout
    assert done.stdout.rstrip().splitlines()[-3:] == [
        "results: outputs/default/summary.csv and outputs/default/cells",
        "TensorBoard: tensorboard --logdir outputs/default",
        "report with figures: python -m hiddenmix.report outputs/default",
    ]
    found = results(folder)
    settings = {(r["layer"], r["mode"], r["alpha"], r["seed"]) for r in found.values()}
    assert settings == {
        (*setting, seed)
        for setting in (
            ("none", None, None),
            ("input", "siamese", 1.0),
            ("input", "triplet", 1.0),
            ("conv1", "triplet", 1.0),
        )
        for seed in (0, 1)
    }
    assert len(found) == 8
    names = {"config.yaml", "metrics.jsonl", "result.json", "model.safetensors"}
    names |= {"predictions.safetensors"}
    for name, result in found.items():
        cell = folder / "outputs/default/cells" / name
        there = {path.name for path in cell.iterdir()}
        assert names <= there
        assert there - names == {"tb"}
        [written] = (cell / "tb").iterdir()
        assert written.name.startswith("events.out.tfevents")
        lines = [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert result["test"]["accuracy"] == lines[-1]["test_accuracy"]
        assert result["train"]["loss"] == lines[-1]["loss"] != lines[0]["loss"]
        seconds = sum(line["seconds"] for line in lines)
        assert result["train"]["seconds"] == pytest.approx(seconds, abs=1e-3)
        assert result["train_size"] == 120
        assert result["test_size"] == 360


def test_summary_pairs_by_seed(one: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = one
    table = pd.read_csv(folder / "outputs/default/summary.csv")
    columns = "dataset,model,layer,mode,alpha,n,accuracy_mean,accuracy_low,accuracy_high,gain_mean,"
    columns += "gain_low,gain_high,p_value"
    assert ",".join(table.columns).startswith(columns)
    accuracy = {
        (r["layer"], r["seed"]): r["test"]["accuracy"]
        for r in results(folder).values()
        if r["mode"] == "triplet"
    }
    row = table[table["layer"] == "conv1"].iloc[0]
    gains = [accuracy["conv1", seed] - accuracy["input", seed] for seed in (0, 1)]
    assert row["n"] == 2
    assert row["gain_mean"] == pytest.approx(sum(gains) / 2)


def test_done_cells_are_not_trained_again_and_two_runs_agree(
    one: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, _ = one
    before = {
        path: path.stat().st_mtime_ns for path in folder.glob("outputs/*/cells/*/result.json")
    }
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        again = here("layer=conv1", "mode=triplet", "repeats=2", *TINY)
    assert again.code == 0, again.errors
    assert "8 networks, 8 already there, 0 to train" in again.output
    assert again.output.count("already there, accuracy") == 8
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Those of two workers, and of this process.
    other = here("layer=conv1", "mode=triplet", "repeats=1", "workers=1", *TINY)
    assert other.code == 0, other.errors
    first, others = results(folder), results(tmp_path)
    assert len(others) == 4
    for name, result in others.items():
        assert comparable(result)["test"] == comparable(first[name])["test"]
        assert result["train"]["loss"] == first[name]["train"]["loss"]


def test_tensorboard_shows_a_cell_and_the_comparison(
    one: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = one
    study = folder / "outputs/default"
    cell = next(study.glob("cells/digits-cnn-conv1-triplet-a1-s0-*"))
    events = EventAccumulator(
        str(cell / "tb"), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
    )
    events.Reload()
    tags = events.Tags()
    for tag in ("train/loss", "train/learning_rate", "train/images_per_second", "test/accuracy"):
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
    assert sum(tag.startswith("mixing/") for tag in tags["tensors"]) == 2
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    for line in ("setting", "image mixup", "plain"):
        chart = EventAccumulator(str(study / "comparison" / line))
        chart.Reload()
        assert "comparison/digits cnn: conv1, triplet, alpha=1" in chart.Tags()["scalars"]


@pytest.mark.slow
def test_sweep_shares_baselines_and_prints_one_table(tmp_path: Path, here: Command) -> None:
    sweep = ("-m", "layer=none,input,conv1", "mode=siamese,triplet", "alpha=0.2,1.0", "repeats=1")
    done = here(*sweep, "workers=1", *TINY)
    assert done.code == 0, done.errors
    # plain once; input and conv1 in two modes with two alphas.
    assert "9 networks, 0 already there, 9 to train" in done.output
    assert len(results(tmp_path)) == 9
    assert done.output.count("accuracy, and gain over image mixup") == 1
    assert (tmp_path / "outputs/default/report/report.md").exists()
    assert len(list((tmp_path / "outputs/default/hydra").glob("*/multirun.yaml"))) == 1
    # A new setting finds its baselines there.
    more = here("layer=conv2", "alpha=0.2", "repeats=1", "workers=1", *TINY)
    assert "3 networks, 2 already there, 1 to train" in more.output


def test_one_bad_value_refuses_the_whole_sweep_before_anything_is_written(
    tmp_path: Path, here: Command
) -> None:
    done = here("-m", "layer=conv1,conv9", *TINY)
    assert done.code == 2
    assert "conv9" in done.errors
    assert "conv1, pool1, conv2" in done.errors
    assert len(done.errors.strip().splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_manifold_mixup_and_literal_branches_from_the_command_line(
    tmp_path: Path, here: Command
) -> None:
    done = here(
        "layer=[input,conv1]",
        "partners=independent",
        "mode=triplet",
        "lam=sample",
        "originals=1",
        "baseline=false",
        "repeats=1",
        "dataset.validation=0.2",
        *TINY,
    )
    assert done.code == 0, done.errors
    [result] = results(tmp_path).values()
    assert result["layer"] == "input+conv1"
    assert result["validation"]["accuracy"] > 0


def test_a_layer_in_doubt_is_named_and_recorded(tmp_path: Path, here: Command) -> None:
    network = ("model=preact_resnet18", "model.width=2", "epochs=1", "batch_size=99")
    doubtful = "layer=[conv1,layer1.0.norm1,layer1]"
    done = here(doubtful, "baseline=false", "repeats=1", *network)
    assert done.code == 0, done.errors
    lines = done.output.splitlines()
    named = [line for line in lines if line.startswith("warning: layer=")]
    assert [line.split()[1] for line in named] == [
        *("layer=conv1", "layer=layer1.0.norm1", "layer=layer1.0.norm1")
    ]
    assert "is image mixup in disguise" in named[0]
    assert "image mixup but for the batch's statistics" in named[1]
    assert "is bypassed" in named[2]
    [result] = results(tmp_path).values()
    assert result["disguised"] == ["conv1"]
    assert list(result["bypassed"]) == ["layer1.0.norm1"]
    assert f"{result['bypassed']['layer1.0.norm1']:.2f} of the difference" in named[2]


def test_help_and_composition_do_not_load_torch(tmp_path: Path) -> None:
    arguments = ("--help", "--cfg=job", "--info=defaults")
    code = (
        "import sys\n"
        "from hydra.core.hydra_config import HydraConfig\n"
        "from hiddenmix.train import main\n"
        "for argument in sys.argv[1:]:\n"
        "    sys.argv = ['train', argument]\n"
        "    HydraConfig.instance().cfg = None\n"
        "    try:\n        main()\n"
        "    except SystemExit as left:\n        code = left.code\n"
        "    heavy = {'torch', 'torchvision', 'matplotlib', 'pandas', 'scipy', 'sklearn'}\n"
        "    print('HEAVY', argument, code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("HEAVY")]
    assert said == [f"HEAVY {argument} 0 []" for argument in arguments]
    assert list(tmp_path.iterdir()) == []


def test_a_signal_waits_until_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> None:
            if name == study.__name__:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(hiddenmix, "study", study)  # put back afterwards, with its module
    monkeypatch.delitem(sys.modules, study.__name__)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(Interrupted):
        train._load_torch()
    assert study.__name__ in sys.modules


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dataset=", {"dataset=digits", "dataset=image_folder"}),
        ("--config-dir own model=", {"model=cnn", "model=small"}),
        ("-cd own model=s", {"model=small"}),
        ("--config-dir nowhere model=", {"model=cnn"}),
        ("dataset.root=./o", {"dataset.root=./own"}),
    ],
)
def test_shell_completion_offers_keys_choices_and_the_users_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, line: str, offered: set[str]
) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/small.yaml").write_text("defaults: [cnn]\n")
    monkeypatch.setenv("COMP_LINE", f"hiddenmix-train {line}")
    done = command(tmp_path, monkeypatch, capsys)("-sc", "query=bash")
    assert (done.code, done.errors) == (0, "")
    assert offered <= set(done.output.split())


@pytest.mark.slow
def test_digits_reaches_95_percent_in_every_setting(tmp_path: Path, here: Command) -> None:
    """In a sixth of the default's epochs, with one seed."""
    sweep = ("-m", "layer=none,input,conv1", "mode=siamese,triplet")
    done = here(*sweep, "epochs=5", "repeats=1", "workers=1")
    assert done.code == 0, done.errors
    table = pd.read_csv(tmp_path / "outputs/default/summary.csv")
    assert len(table) == 5
    assert (table["accuracy_mean"] >= 0.95).all(), table[["layer", "mode", "accuracy_mean"]]


def test_a_full_evaluation_asked_for_later_is_measured_without_training(
    tmp_path: Path, here: Command
) -> None:
    command = ["layer=none", "repeats=1", "baseline=false", *TINY]
    assert here(*command).code == 0
    [before] = results(tmp_path).values()
    assert "shift" not in before
    again = here(*command, "evaluation=full")
    assert again.code == 0, again.errors
    assert "1 already there, 0 to train" in again.output
    assert "evaluated in full" in again.output
    [after] = results(tmp_path).values()
    assert {"shift", "adversarial"} <= after.keys()
    assert {key: after[key] for key in before if key != "predictions"} == {
        key: value for key, value in before.items() if key != "predictions"
    }
    third = here(*command, "evaluation=full")
    assert "evaluated in full" not in third.output


def test_results_of_other_hardware_are_named_before_new_ones_join_them(
    tmp_path: Path, here: Command
) -> None:
    command = ["layer=none", "baseline=false", "workers=1", *TINY]
    assert "round" not in here(*command, "repeats=1").output
    [path] = (tmp_path / "outputs" / "default" / "cells").glob("*/result.json")
    result = json.loads(path.read_text())
    result["environment"]["threads"] = 61
    path.write_text(json.dumps(result))
    again = here(*command, "repeats=2")
    assert again.code == 0
    assert "warning: networks already there were trained on cpu (61 threads)" in again.output


def test_the_rest_is_estimated_once_each_worker_has_trained(
    one: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    lines = one[1].stdout.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("about ")]
    assert lines[place - 1].startswith("[3/8]")
