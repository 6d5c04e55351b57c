"""`repeats=auto`: which networks are trained, when a study stops, and what is recorded of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.report import questions, sequential
from tests.support.commands import SMALL, Command, cells, command

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


def test_an_answered_question_stops_the_training(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(*arguments: Any) -> sequential.Look:
        return replace(sequential.should_stop(*arguments), word="equal", stop=True, then=None)

    monkeypatch.setattr(questions, "should_stop", answered)
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
