"""A published report is enough to compute it again: results, answers and record lie in its folder."""

import itertools
import json
import lzma
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.report.__main__ import main
from hiddenmix.report.published_results import NAME, packed
from hiddenmix.report.reading import read_study
from hiddenmix.report.writing import write_report
from tests.support.commands import unrendered
from tests.support.made_study import cell_id, made_result, write_answered

SETTINGS = (
    ("none", None, None),
    *((layer, "siamese", 1.0) for layer in ("input", "conv1")),
)
SEEDS = 3
SHIFTS = ("zoom_0.6", "zoom_1.4", "blur_0.04")
COMMAND = "python -m hiddenmix.train dataset.root=/home/me/photos"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    unrendered(monkeypatch)
    folder = tmp_path / "study"
    for seed, setting in itertools.product(range(SEEDS), SETTINGS):
        result = made_result(*setting, seed)
        result["shift"] = {name: {"accuracy": 0.5, "nll": 1 / 3} for name in SHIFTS}
        result["config"]["dataset"] = {"root": "/home/me/photos", "train_size": 7}
        own = np.random.default_rng([seed, len(setting[0])]).random(60)
        write_answered(folder, result, own < 0.7 + 0.1 * (setting[0] == "conv1"))
    failed = folder / "cells" / "broken"
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"error": "Boom", "message": "it was"}))
    command = {"command": COMMAND, "commit": "0123", "dirty": False, "cells": ["unbegun"]}
    looks = [{"question": "Digits / cnn", "at": "", "n": 2, "word": "undecided"}]
    (folder / "study.json").write_text(json.dumps({"commands": [command], "looks": looks}))
    return folder


def numbers(found: Any) -> Any:
    """With numbers that compare as equal where the last bit differs."""
    if isinstance(found, Mapping):
        return {key: numbers(value) for key, value in found.items()}
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [numbers(each) for each in found]
    return pytest.approx(found, rel=1e-9, abs=1e-12) if isinstance(found, float) else found


def test_the_report_of_a_published_report_is_the_same(tmp_path: Path, study: Path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for source, output in ((study, first), (first, second)):
        assert main([str(source), "--output", str(output), "--title", "Mine"]) == 0
    expected = json.loads((first / "verdict.json").read_text())
    assert expected["questions"][1]["families"][0]["gain"]["low"] is not None
    assert json.loads((second / "verdict.json").read_text()) == numbers(expected)
    for name in ("report.md", "cells.csv", NAME, "answers.safetensors.xz", "study.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    text = (second / "report.md").read_text()
    assert "`broken`: Boom: it was" in text
    assert "- `unbegun`" in text
    assert "drawn before at n = 2" in text
    assert COMMAND in text


def test_several_published_reports_stand_beside_each_other(tmp_path: Path, study: Path) -> None:
    published = tmp_path / "published"
    write_report(study, output=published)
    assert main([*map(str, (study, published)), "--output", str(tmp_path / "both")]) == 0
    questions = json.loads((tmp_path / "both/verdict.json").read_text())["questions"]
    assert len(questions) == 4
    for own, again in zip(questions[::2], questions[1::2], strict=True):
        assert (own["study"], again["study"]) == ("study", "published")
        assert again["gain"] == numbers(own["gain"])
        assert own["variant"] == again["variant"] == ""


def test_no_place_on_the_machine_is_published(study: Path) -> None:
    def line() -> tuple[str, dict[str, Any]]:
        text = lzma.decompress(packed(study)).decode()
        [found] = [each for each in map(json.loads, text.splitlines()) if each["cell"] == cell]
        return text, found["result"]

    cell = cell_id("conv1", "siamese", 1.0, 0)
    text, result = line()
    assert "/home" not in text
    assert result["config"]["dataset"] == {"root": None, "train_size": 7}
    assert "command" not in result
    assert result["shift"]["zoom_0.6"]["nll"] == 0.333333
    own = json.loads((study / "cells" / cell / "result.json").read_text())
    assert result["test"] == own["test"]
    (study / "study.json").unlink()
    assert line()[1]["command"] == own["command"]


def test_a_published_report_stays_as_it_is(
    tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = tmp_path / "published"
    write_report(study, output=published)
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    assert main([str(published)]) == 2
    assert "is a published report, and stays as it is" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


@pytest.mark.parametrize("content", [b"\xfd7zXZ", b"no xz", lzma.compress(b"[1]\n{")])
def test_damaged_results_are_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert main([str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    errors = capsys.readouterr().err
    assert f"{NAME} is damaged" in errors
    assert len(errors.splitlines()) <= 2


def test_a_study_is_read_from_its_cells(tmp_path: Path, study: Path) -> None:
    """And not from what was published beside them."""
    write_report(study, output=study)
    shutil.rmtree(study / "cells" / cell_id("conv1", "siamese", 1.0, 0))
    assert len(read_study(study).cells) == SEEDS * len(SETTINGS) - 1
