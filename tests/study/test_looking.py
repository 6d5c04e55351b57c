"""`repeats=auto`: which networks are trained, when a study stops, and what is recorded of it."""

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.config import Config, ConfigError, UserError, from_plain, layers
from hiddenmix.data import Data
from hiddenmix.report import sequential
from hiddenmix.report.__main__ import main as report_main
from hiddenmix.study import running
from hiddenmix.study.cells import image_mixup, plain, setting_key, two_images
from hiddenmix.study.command import Run
from hiddenmix.study.looking import check_looks
from hiddenmix.study.planning import check_requests
from hiddenmix.study.running import check_elsewhere
from hiddenmix.study.store import Cell
from tests.support.commands import SMALL, Command, cells, command
from tests.support.made_study import made_result, write_answered

AUTO = (*(each for each in SMALL if "repeats" not in each), "repeats=auto", "epochs=1")
AUTO = tuple(each for each in AUTO if each != "epochs=2")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def looks(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "outputs/default/study.json").read_text())[
        "looks"
    ]
    return found


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose answers are drawn and not learned; mixing at a hidden layer helps a little."""

    def answered(cell: Cell, data: Data, run: Run) -> dict[str, Any]:
        config, digest = cell.config, data.digest
        [layer] = layers(config)
        mode, alpha = (None, None) if layer == "none" else (config.mode, config.alpha)
        result = made_result(layer, mode, alpha, config.seed, full=False, digest=digest)
        result |= {"cell": cell.id, "setting": setting_key(config, digest)}
        others = {"plain": plain, "baseline": image_mixup, "two_images": two_images}
        result |= {
            name: setting_key(of(config), digest)
            for name, of in others.items()
            if layer != "none" or name == "plain"
        }
        result |= {"title": "digits", "config": asdict(config)}
        easy = np.random.default_rng(config.seed).permutation(360)
        own = np.random.default_rng([config.seed, layer == "none", layer == "input"])
        write_answered(cell.folder.parents[1], result, easy + own.normal(0, 30, 360) < 300)
        return result

    monkeypatch.setattr("hiddenmix.study.attempting.train_cell", answered)
    monkeypatch.setattr("hiddenmix.report.writing._figures", lambda *_, **__: ([], set()))
    monkeypatch.setattr("hiddenmix.study.attempting.lacking", lambda *_: None)
    monkeypatch.setattr("hiddenmix.study.running.lacking", lambda *_: None)


@pytest.mark.usefixtures("invented")
def test_only_what_the_question_needs_is_trained_and_the_last_look_ends_it(
    run: Command, tmp_path: Path
) -> None:
    ended = run("-m", *AUTO, "layer=conv2,conv1,conv3", "max_repeats=7")
    assert ended.code == 0, ended.errors
    assert "conv1 and its baselines; left out: conv2, conv3\n" in ended.output
    assert len(cells(tmp_path)) == 3 * 7
    assert {cell.name.split("-")[2] for cell in cells(tmp_path)} == {"none", "input", "conv1"}
    assert [(each["n"], each["planned"]) for each in looks(tmp_path)] == [(6, True), (7, True)]
    assert "look at 6 seeds, digits, cnn: undecided (p = " in ended.output
    assert "the next look is at 7 seeds" in ended.output
    assert "This was a planned look (repeats=auto): p had to lie below " in ended.output
    report = (tmp_path / "outputs/default/report/report.md").read_text()
    assert "These were looks of repeats=auto, whose bounds allow for them." in report
    # The same command again trains nothing and looks at nothing new.
    before = looks(tmp_path)
    assert run("-m", *AUTO, "layer=conv2,conv1,conv3", "max_repeats=7").code == 0
    assert looks(tmp_path) == before


@pytest.mark.usefixtures("invented")
def test_another_plan_that_began_at_the_same_moment_is_refused_before_a_look(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_plan = running.train_plan

    def beside_another(*arguments: Any) -> dict[str, str]:
        failures = train_plan(*arguments)
        for path in tmp_path.glob("outputs/default/cells/*/result.json"):
            result = json.loads(path.read_text())
            result["config"]["max_repeats"] = 12
            path.write_text(json.dumps(result))
        return failures

    monkeypatch.setattr(running, "train_plan", beside_another)
    ended = run(*AUTO, "layer=conv1", "max_repeats=7")
    assert ended.code == 2
    assert "its looks were planned with max_repeats=12" in ended.errors
    assert "looks" not in json.loads((tmp_path / "outputs/default/study.json").read_text())


@pytest.mark.usefixtures("invented")
def test_an_answered_question_stops_the_training(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    should_stop = sequential.should_stop

    def answered(*arguments: Any) -> sequential.Look:
        return replace(should_stop(*arguments), word="equal", stop=True, then=None)

    monkeypatch.setattr(sequential, "should_stop", answered)
    ended = run(*AUTO, "layer=conv1")
    assert ended.code == 0
    assert len(cells(tmp_path)) == 3 * 6
    assert [(each["n"], each["word"]) for each in looks(tmp_path)] == [(6, "equal")]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            ("layer=none",),
            "layer=none is not allowed\n  allowed: a hidden layer, with repeats=auto",
        ),
        (("baseline=false",), "baseline=false is not allowed\n  allowed: true with repeats=auto"),
        (("max_repeats=5",), "max_repeats=5 is not allowed"),
        (("repeats=some",), "repeats=some is not allowed\n  allowed: auto, or a whole number"),
        (("repeats=2.5",), "repeats=2.5 is not allowed\n  allowed: auto, or a whole number"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    run: Command, tmp_path: Path, values: tuple[str, ...], text: str
) -> None:
    settings = [each for each in AUTO if "repeats=some" not in values or each != "repeats=auto"]
    settings = [each for each in settings if "repeats=2.5" not in values or each != "repeats=auto"]
    ended = run(*settings, *values)
    assert ended.code == 2
    assert text in ended.errors
    assert not (tmp_path / "outputs").exists()


@pytest.mark.usefixtures("invented")
def test_a_command_that_was_stopped_between_looks_goes_on_to_the_next(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Seven seeds are none of the looks at 6 and 8: no word, and no end."""
    assert run(*AUTO, "layer=conv1", "max_repeats=8").code == 0
    study = tmp_path / "outputs/default"
    for cell in study.glob("cells/*-s7-*"):
        shutil.rmtree(cell)
    content = json.loads((study / "study.json").read_text())
    content["looks"] = [each for each in content["looks"] if each["n"] < 8]
    (study / "study.json").write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["hiddenmix-report"])
    assert report_main([str(study)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Undecided (digits, cnn; clean test images)" in said
    assert "n = 7 seeds is between the planned looks of repeats=auto at 6, which said " in said
    assert "the next look is at 8" in said
    verdict = json.loads((study / "report/verdict.json").read_text())["questions"][0]
    assert verdict["between_looks"]["then"] == 8
    ended = run(*AUTO, "layer=conv1", "max_repeats=8")
    assert ended.code == 0, ended.errors
    assert (
        "no look was planned at 7 seeds, digits, cnn: the next look is at 8 seeds" in ended.output
    )
    assert len(cells(tmp_path)) == 3 * 8
    planned = [(each["n"], each["planned"]) for each in looks(tmp_path)]
    assert planned == [(6, True), (7, False), (8, True)]
    report = (study / "report/report.md").read_text()
    assert "at n = 6 (undecided). These were looks of repeats=auto, whose bounds allow" in report


@pytest.mark.usefixtures("invented")
def test_seeds_that_were_there_before_are_taken_and_looked_at_by_the_bounds(
    run: Command, tmp_path: Path
) -> None:
    assert run(*AUTO, "layer=conv1", "repeats=3").code == 0
    ended = run(*AUTO, "layer=conv1", "max_repeats=6")
    assert ended.code == 0, ended.errors
    assert len(cells(tmp_path)) == 3 * 6
    assert [(each["n"], each["planned"]) for each in looks(tmp_path)] == [(3, False), (6, True)]
    assert "look at 6 seeds, digits, cnn: " in ended.output
    assert "This was a planned look (repeats=auto)" in ended.output
    report = (tmp_path / "outputs/default/report/report.md").read_text()
    assert "at n = 3 (undecided). Fewer than 6 seeds give no word: the bounds of " in report


@pytest.mark.usefixtures("invented")
def test_another_question_in_the_study_is_refused_before_anything_is_written(
    run: Command, tmp_path: Path
) -> None:
    """The default study's three seeds, asked for three images, and then for two until it is answered."""
    assert run(*AUTO, "layer=conv1", "mode=triplet", "repeats=3").code == 0
    before = sorted((tmp_path / "outputs").rglob("*"))
    ended = run(*AUTO, "layer=conv1")
    assert ended.code == 2
    assert ended.errors == (
        "repeats=auto is not allowed with study=default: its question is averaged over mode=triplet "
        "alpha=1 too, which is not asked for now\n"
        "  use another study=<name>, or ask for these settings as well\n"
    )
    assert sorted((tmp_path / "outputs").rglob("*")) == before


@pytest.mark.usefixtures("invented")
def test_what_planned_looks_could_not_allow_for_is_refused(run: Command, tmp_path: Path) -> None:
    assert run(*AUTO, "layer=conv1", "repeats=3").code == 0
    study = tmp_path / "outputs/default"
    [path, *_] = study.glob("cells/*-conv1-*-s0-*/result.json")
    result = json.loads(path.read_text())
    fixed, digest = from_plain(result["config"]), result["data"]["digest"]

    def checked(**values: Any) -> None:
        config = replace(fixed, repeats="auto", **values)
        check_looks(study, [(config, digest)])

    def refused(text: str, **values: Any) -> None:
        with pytest.raises(UserError, match=text):
            checked(**values)

    refused("it holds seed 0, and those to be looked at are 9 to 38", seed=9)
    refused("it was begun with margin=0.5\n  use margin=0.5, or another", margin=1.0)
    refused("it mixes at conv1 too, and its question is about the lowest", layer="conv2")
    checked()
    checked(batch_size=25)  # another question, which the report asks apart
    for number in range(3, 6):  # as if three more had been asked for
        more = study / "cells" / f"more{number}"
        more.mkdir()
        (more / "result.json").write_text(json.dumps(result | {"seed": number}))
    refused("it holds 6 seeds of a fixed number, whose verdict has no bounds\n.* such as seed=6")
    for path in study.glob("cells/*/result.json"):
        result = json.loads(path.read_text())
        result["config"] |= {"repeats": "auto", "max_repeats": 10}
        path.write_text(json.dumps(result))
    checked(max_repeats=10)  # the same command again
    refused("planned with max_repeats=10\n  use max_repeats=10, or another", max_repeats=12)


def test_one_plan_of_looks_holds_for_all_jobs_of_a_command() -> None:
    """Seeds from 0 and from 9 are twelve at the look at six, at which no look was planned."""
    one = Config(repeats="auto")
    for other in (
        replace(one, seed=9),
        replace(one, max_repeats=7),
        replace(one, margin=1.0),
        replace(one, repeats=3),
    ):
        with pytest.raises(ConfigError, match="one value for all jobs of a command"):
            check_requests([one, other])


def test_jobs_of_their_own_ask_no_layer_above_the_question() -> None:
    """That job would never be looked at."""
    jobs = [Config(repeats="auto", layer=layer) for layer in ("conv2", "conv1")]
    check_elsewhere(jobs[1:])
    with pytest.raises(ConfigError, match="layer=conv2 is not allowed\n  allowed: conv1 alone"):
        check_elsewhere(jobs)
