"""`python -m hiddenmix.tune`, in this process, on networks of a tenth of a second."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from hiddenmix import tune
from hiddenmix.study import attempting, cell_training, measuring
from tests.support.commands import Ended, at_step, counted_steps

SMALL = (
    *("dataset.train_size=100", "epochs=1", "batch_size=50", "model.channels=[4,4,4]"),
    *("model.width=8", "workers=1", "repeats=2", "final_repeats=2", "study=mine"),
)
SPACE = ("layer=conv1,conv2", "alpha=log(0.1,4)", "optimizer.lr=interval(0.02,0.2)")

Tune = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Tune:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)

    def command(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hiddenmix-tune", *arguments])
        capsys.readouterr()
        code = tune.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Ended(code, said.out, said.err)

    return command


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a command that nothing disturbed, of two trials a side."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(torch, "set_num_threads", lambda _: None)
        patch.setattr(sys, "argv", ["hiddenmix-tune", "trials=2", *SMALL, *SPACE])
        assert tune.main() == 0
    return folder


def report(folder: Path) -> dict[str, Any]:
    [path] = folder.glob("outputs/mine/tune/*/tuned.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def results(study: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(study.glob("cells/*/result.json"))]


SIDES = [("hidden_layer", {"conv1", "conv2"}), ("image_mixup", {"input"})]


@pytest.mark.parametrize(("name", "layers"), SIDES)
def test_the_choice_has_the_highest_mean_validation_accuracy(
    whole: Path, name: str, layers: set[str]
) -> None:
    side = report(whole)[name]
    means: dict[tuple[str, float, float], list[float]] = {}
    for each in results(whole / "outputs/mine/tune"):
        assert each["config"]["dataset"]["validation"] == 0.2
        assert each["seed"] in (0, 1)
        if each["layer"] in layers:
            key = (each["layer"], each["alpha"], each["config"]["optimizer"]["lr"])
            means.setdefault(key, []).append(each["validation"]["accuracy"])
    assert len(means) == len(side["trials"]) == 2
    assert sum(map(len, means.values())) == side["networks"] == 4
    best = max(means, key=lambda key: fmean(means[key]))
    chosen = side["values"]
    assert (side["layer"], float(chosen["alpha"]), float(chosen["optimizer.lr"])) == best
    assert side["validation_accuracy"] == pytest.approx(fmean(means[best]))


def test_the_choices_are_trained_anew_and_compared_on_the_test_images(whole: Path) -> None:
    found, tested = report(whole), results(whole / "outputs/mine")
    accuracies = []
    for name, _ in SIDES:
        finals = [each for each in tested if each["setting"] == found[name]["setting"]]
        assert [each["seed"] for each in finals] == [2, 3]
        assert {each["config"]["dataset"]["validation"] for each in finals} == {0}
        assert {each["train_size"] for each in finals} == {100}
        accuracies.append(fmean(each["test"]["accuracy"] for each in finals))
    [answer] = found["answers"]
    assert answer["gain"]["mean"] == pytest.approx(accuracies[0] - accuracies[1])
    assert answer["word"] == "undecided"
    for words in ("tuned against tuned", "the best of 2 trials", "each side 2 trials"):
        assert words in answer["sentence"]
    page = next(whole.glob("outputs/mine/tune/*/report.md")).read_text()
    assert all(found[name]["command"] in page for name, _ in SIDES)


def test_more_trials_go_on_from_those_that_are_there(
    run: Tune, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole / "outputs", tmp_path / "outputs")
    steps = counted_steps(monkeypatch)
    more = run("trials=3", *SMALL, *SPACE)
    assert more.code == 0
    assert "2 of them to be made" in more.output
    # Two networks of two steps for each new trial; and where a choice is another, for the test.
    assert len(steps) in (8, 12, 16)
    assert more.output.splitlines()[-1].startswith("results: outputs/mine/tune/")
    found = report(tmp_path)
    for name, _ in SIDES:
        assert found[name]["trials"][:2] == report(whole)[name]["trials"]
    # That the test images were looked at in between is said.
    assert "looked at before (at 2 trials and 2 seeds: undecided)" in more.output
    assert [each["trials"] for each in found["looks"]] == [2, 3]


def test_stopped_and_with_other_test_numbers_the_trials_and_choices_are_the_same(
    run: Tune, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal within the first trial of the images; and no test number decides about a trial."""
    measure = measuring.measure

    def others(*given: Any, **named: Any) -> Any:
        numbers, answers = measure(*given, **named)
        numbers["test"]["accuracy"] = 1 - numbers["test"]["accuracy"]
        return numbers, answers

    monkeypatch.setattr(measuring, "measure", others)
    at_step(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = run("trials=2", *SMALL, *SPACE)
    assert stopped.code == 130
    assert "the same command goes on from here" in stopped.errors
    assert not list(tmp_path.glob("outputs/mine/tune/*/tuned.json"))
    ended = run("trials=2", *SMALL, *SPACE)
    assert ended.code == 0
    assert "3 of them to be made" in ended.output
    assert all(report(tmp_path)[name] == report(whole)[name] for name, _ in SIDES)


def test_networks_that_fail_are_named_and_tried_again(
    run: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("trials=1", *SMALL, "layer=conv1,conv2", "repeats=1")
    train = cell_training.train_cell

    def fail(cell: Any, *rest: Any) -> Any:
        if "conv1" in cell.id:
            raise ValueError("made to fail")
        return train(cell, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(attempting, "train_cell", fail)
        ended = run(*arguments)
    assert ended.code == 1
    assert "failed: hidden layer 1: layer=conv1: made to fail" in ended.output
    assert "nothing is compared: hidden layer" in ended.output
    again = run(*arguments)
    assert again.code == 0
    assert report(tmp_path)["hidden_layer"]["values"] == {"layer": "conv1"}
    assert "1 setting, all there are" in report(tmp_path)["answers"][0]["sentence"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trials=0"], "trials=0 is not allowed\n  allowed: 1 to 99999"),
        (["--all"], "--all is no flag of tune"),
        (["alpha=log(0,1)"], "alpha=log(0,1) cannot be searched"),
        (["alpha=interval(0,1)"], "alpha=0.0 is not allowed\n  allowed: a number above 0"),
        (["layer=conv1,conv9"], "layer=conv9 is not allowed"),
        (["layer=conv1,input"], "layer=input is not allowed\n  allowed: hidden layers;"),
        (["alpah=1,2"], "alpah is no key of the configuration; did you mean alpha?"),
        (["study=a,b"], "study cannot be tuned"),
        (["dataset=digits,mnist"], "dataset cannot be tuned"),
        (["baseline=false"], "baseline means nothing for a tuning"),
        (["dataset.validation=0"], "dataset.validation=0.0 is not allowed\n  allowed: above 0"),
        (["repeats=auto"], "repeats=auto is not allowed"),
        (["experiment=paper"], "use a file without hydra.sweeper.params"),
        (
            ["layer=conv1", "mode=siamese", "alpha=1", "optimizer.lr=0.1"],
            "nothing is left to tune",
        ),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(
    run: Tune, tmp_path: Path, arguments: list[str], words: str
) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert words in ended.errors
    assert len(ended.errors.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_the_extra_is_named(
    run: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    ended = run(*SMALL)
    assert ended.code == 2
    assert "pip install 'optuna>=5'" in ended.errors
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_optuna(run: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "final_repeats=6" in run("--help").output
