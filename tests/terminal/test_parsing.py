"""Flags of the commands that take no configuration: mistakes end in two lines that say what to type."""

from pathlib import Path
from typing import Any

import pytest

from hiddenmix import evaluate, tune
from hiddenmix.report.__main__ import main as report


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (report, [], "the following arguments are required: study\n  see python -m hiddenmix.report"),
        (report, ["s", "--margin", "0,5"], "--margin: invalid float value: '0,5'"),
        (report, ["s", "--titel", "x"], "--titel is no flag of report\n  did you mean --title?"),
        (report, ["s", "–marginn=1"], "did you mean --margin?"),
        (report, ["s", "margin=0.5"], "margin=0.5 is not allowed with report\n  write --margin 0.5"),
        (report, ["s", "--title"], "--title: expected one argument"),
        (evaluate.main, ["s", "--images", "1e2"], "--images: invalid int value: '1e2'"),
        (evaluate.main, ["s", "device=cpu"], "device=cpu is not allowed with evaluate\n  write --dev"),
        (evaluate.main, ["s", "a", "b"], "a is not allowed with evaluate\n  see python -m"),
        (evaluate.main, ["s", "--epochs=3"], "--epochs is no flag of evaluate\n  see python -m"),
    ],
)  # fmt: skip
def test_a_mistake_ends_in_two_lines(
    capsys: Any, program: Any, arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as left:
        program(arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert words in said
    assert len(said.splitlines()) <= 2


def test_a_typographic_dash_is_a_dash(capsys: Any) -> None:
    assert report(["nowhere", "–margin", "-1"]) == 2
    assert "--margin=-1.0 is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize("program", [report, evaluate.main])
def test_a_study_is_found_by_its_name(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any
) -> None:
    (tmp_path / "outputs/mine/cells").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for typed, words in (
        ("mine", "; did you mean outputs/mine?"),
        ("study=mine", "; did you mean outputs/mine?"),
        ("outputs", "; it holds outputs/mine"),
    ):
        assert program([typed]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials=5"], "--trials is no flag of tune\n  write trials=5"),
        (["--n-trials", "5"], "write trials=5"),
        (["n_trials=5"], "n_trials=5 is no key of tune\n  write trials=5"),
        (["-m", "layer=a"], "leave it out: a,b is searched"),
        (["–m"], "leave it out: a,b is searched"),
        (["--epochs=3"], "write epochs=3"),
        (["trials=1.5"], "trials=1.5 is not allowed"),
        (["layer=conv1,", "conv2"], "write layer=conv1,conv2, without spaces around the comma"),
    ],
)
def test_tune_says_what_to_type(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["hiddenmix-tune", *arguments])
    assert tune.main() == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) <= 2
