"""Several studies side by side: each question stands alone, and nothing is pooled unless asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from hiddenmix.report.__main__ import main
from hiddenmix.report.findings import find, question_json
from hiddenmix.report.forest_figure import forest
from hiddenmix.report.past_looks import record_looks
from hiddenmix.report.plain_figure import plain_figure
from hiddenmix.report.reading import read_study
from hiddenmix.report.several import Row, pool, read
from hiddenmix.report.statistics import holm, mean_interval
from hiddenmix.report.tables import escaped, p_text
from tests.support.commands import unrendered
from tests.support.made_study import write_answers

SETTINGS = (
    ("none", None, None),
    *((layer, "siamese", 1.0) for layer in ("input", "conv1")),
)


def made(folder: Path, title: str, gain: float, digest: str, seeds: int = 6) -> Path:
    """A study of `seeds` seeds on 400 test images in which conv1 gains so much."""
    write_answers(
        folder,
        SETTINGS,
        range(seeds),
        400,
        lambda layer, mode, alpha: 0.7 + (gain if layer == "conv1" else 0.0),
        title=title,
        digest=digest * 32,
    )
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> list[Path]:
    return [
        made(tmp_path / "one", "Digits", 0.1, "1"),
        made(tmp_path / "two", "写真 & <b> $a_$\\frac{", -0.1, "2"),
        made(tmp_path / "three", "Photos", 0.0, "3", seeds=3),
    ]


def test_every_question_stands_as_in_its_own_report(tmp_path: Path, studies: list[Path]) -> None:
    output = tmp_path / "forest"
    before = {path: sorted(path.rglob("*")) for path in studies}
    assert main([*map(str, studies), "--output", str(output), "--title", "Three"]) == 0
    assert {path: sorted(path.rglob("*")) for path in studies} == before  # read alone
    stored = json.loads((output / "verdict.json").read_text())
    assert stored["pooled"] == []
    clean = [each for each in stored["questions"] if each["on"] == "clean"]
    assert [each["study"] for each in clean] == ["one", "two", "three"]
    assert [each["word"] for each in clean] == ["supported", "contradicted", "undecided"]
    for folder, question in zip(studies, clean, strict=True):
        alone = find(read_study(folder)).questions[0]
        expected = json.loads(json.dumps(question_json(alone, 0.005)))
        assert {key: question[key] for key in expected} == expected
    table = pd.read_csv(output / "verdicts.csv")
    assert list(table["on"]) == ["clean"] * 3 + ["shift"] * 3
    for kind in ("clean", "shift"):  # a family each
        own = [each for each in stored["questions"] if each["on"] == kind]
        expected = holm([each["gain"]["p_value"] for each in own])
        assert [each["p_holm"] for each in own] == expected
        assert table.loc[table["on"] == kind, "p_holm"].tolist() == pytest.approx(expected)
    assert list(table["data"][:3]) == ["Digits", "写真 & <b> $a_$\\frac{", "Photos"]
    assert list(table["verdict"][:3]) == ["supported", "contradicted", "undecided"]
    text = (output / "report.md").read_text()
    assert text.startswith("# Three\n")
    assert "**Clean test images**: 3 questions: 1 supported, 1 contradicted, 1 undecided." in text
    assert "Nothing is pooled over data sets." in text
    assert "写真 & &lt;b>" in text
    table_of_questions, _, verdicts = text.partition("## The questions")[2].partition(
        "## The verdicts"
    )
    assert "clean ones, shifted ones and outside sets are a family each" in table_of_questions
    assert escaped(p_text(stored["questions"][0]["p_holm"])) in table_of_questions
    assert verdicts.strip().startswith("one: **Supported** (Digits, cnn; clean test images)")


def test_verdicts_csv_holds_numbers(tmp_path: Path, studies: list[Path]) -> None:
    output = tmp_path / "forest"
    assert main([*map(str, studies), "--output", str(output)]) == 0
    questions = json.loads((output / "verdict.json").read_text())["questions"]
    table = pd.read_csv(output / "verdicts.csv")
    for (_, row), question in zip(table.iterrows(), questions, strict=True):
        assert (row["n"], row["N"]) == (question["gain"]["seeds"], question["gain"]["images"])
        assert row["margin_fraction"] == question["margin"] == 0.005
        for end in ("mean", "low", "high", "seed_low", "seed_high"):
            assert row[f"gain_{end}_fraction"] == pytest.approx(question["gain"][end])
        for end in ("mean", "low", "high"):
            mixup = question["image_mixup_over_plain"][end]
            assert row[f"image_mixing_over_plain_{end}_fraction"] == pytest.approx(mixup)
            layer = question["layer_over_plain"][end]
            assert row[f"layer_over_plain_{end}_fraction"] == pytest.approx(layer)
        assert row["p"] == pytest.approx(question["gain"]["p_value"])
        assert row["p_flip"] == pytest.approx(question["gain"]["p_flip"])
    assert "−" not in (output / "verdicts.csv").read_text()
    assert table["variant"].isna().all()


def changed(study: Path, part: str = "", **keys: Any) -> Path:
    """The study, its networks with `part` in their name trained with other keys of the configuration."""
    for path in study.glob(f"cells/*{part}*/result.json"):
        result = json.loads(path.read_text())
        result["config"] |= keys
        path.write_text(json.dumps(result))
    return study


CNN = {"name": "cnn", "batch_norm": True}


def test_what_differs_between_studies_of_one_network_is_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that a former version did not record has its default."""
    unrendered(monkeypatch)
    folders = [
        made(tmp_path / name, "Digits", 0.1, "1") for name in ("old", "same", "plain", "far")
    ]
    same: dict[str, Any] = {
        "model": CNN,
        "dataset": {"train_size": None},
        "epochs": 30,
        "device": "cuda",
    }
    changed(folders[1], **same)
    changed(folders[2], model=CNN | {"batch_norm": False})
    changed(folders[3], epochs=5, optimizer={"lr": 0.1}, dataset={"train_size": 1000, "root": "x"})
    assert {row.question.variant for row in read(folders[:2], None)[1]} == {""}
    _, rows, _ = read(folders[:3], None)
    names = {row.study: row.question.variant for row in rows}
    normalised = "model.batch_norm=true"
    assert names == {"old": normalised, "same": normalised, "plain": "model.batch_norm=false"}
    assert {row.own.variant for row in rows if row.own} == {""}
    names = {row.study: row.question.variant for row in read(folders[::3], None)[1]}
    assert names == {
        "old": "dataset.train_size=null, optimizer.lr=0.05, epochs=30",
        "far": "dataset.train_size=1000, optimizer.lr=0.1, epochs=5",
    }
    output = tmp_path / "both"
    assert main([*map(str, folders[1:3]), "--output", str(output)]) == 0
    text = (output / "report.md").read_text()
    assert "plain: **Supported** (Digits, cnn, model.batch_norm=false; clean test images)" in text
    stored = json.loads((output / "verdict.json").read_text())["questions"]
    assert {each["variant"] for each in stored} == {normalised, "model.batch_norm=false"}


def test_what_varies_within_one_study_is_told_of_the_other(tmp_path: Path) -> None:
    one, two = (made(tmp_path / name, "Digits", 0.1, "1") for name in ("one", "two"))
    write_answers(one, SETTINGS, range(6), 400, lambda *_: 0.7, variant="1" * 8, digest="1" * 32)
    changed(one, "-00000000-", originals=0.0)
    changed(one, "-11111111-", originals=1.0)
    names = [(row.study, row.question.variant) for row in read([one, two], None)[1]]
    assert {*names} == {
        ("one", "originals=1.0"),
        ("one", "originals=0.0"),
        ("two", "originals=0.0"),
    }


def test_other_data_of_one_title_are_told_apart(tmp_path: Path) -> None:
    folders = [made(tmp_path / digest, "Digits", 0.1, digest) for digest in "12"]
    names = {row.study: row.question.variant for row in read(folders, None)[1]}
    assert names == {"1": "data=11111111", "2": "data=22222222"}


def test_what_a_study_lacks_and_its_looks_are_said_beside_others_too(
    tmp_path: Path, studies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unrendered(monkeypatch)
    (studies[0] / "study.json").write_text(
        json.dumps({"commands": [{"command": "x", "cells": ["digits-cnn-lost-s0"]}]})
    )
    questions = find(read_study(studies[0])).questions
    [clean] = [each for each in questions if each.what == "clean"]
    assert clean.gain is not None
    early = replace(clean, gain=replace(clean.gain, seeds=4), word="undecided")
    record_looks(studies[0], [early])
    output = tmp_path / "forest"
    assert main([*map(str, studies), "--output", str(output)]) == 0
    text = (output / "report.md").read_text()
    assert "one: **Looks**: a verdict on Digits cnn was drawn before at n = 4 (undecided). " in text
    assert "one: **This study is incomplete** (cells: 1 missing; named at the end)." in text
    assert "### Missing\n" in text
    assert "- `digits-cnn-lost-s0`" in text
    assert "two: " not in text.partition("## The questions")[0].replace("two: mixing", "")


def test_the_forest_plot_has_a_row_each_with_both_intervals(
    tmp_path: Path, studies: list[Path]
) -> None:
    assert main([*map(str, studies), "--output", str(tmp_path / "forest")]) == 0
    root = ET.parse(tmp_path / "forest/forest.svg").getroot()  # noqa: S314  # our own file
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Digits, cnn: conv1", "(one)"} <= set(texts)
    assert any(
        text.startswith("+10.00 [") and "supported, n = 6, N = 400" in text for text in texts
    )
    assert any("undecided, n = 3, N = 400" in text for text in texts)
    words = {"supported", "contradicted", "undecided"}
    ends = {"new seeds, 95 %", "new seeds and images, 95 %", "new seeds and images, 90 %"}
    assert words | ends <= {*texts}
    assert (tmp_path / "forest/forest_shift.png").is_file()
    assert not list((tmp_path / "forest").glob(".*"))


def test_the_forest_plot_shows_the_interval_that_the_band_is_held_to(tmp_path: Path) -> None:
    question = find(read_study(made(tmp_path / "one", "Digits", 0.1, "1"))).questions[0]
    drawing = forest([Row("one", "1", question, 0.005)])
    assert drawing is not None
    [ticks] = [line for line in drawing.figure.axes[0].lines if line.get_marker() == "|"]
    gain = question.gain
    assert gain is not None
    assert gain.low90 is not None
    assert gain.high90 is not None
    assert list(np.asarray(ticks.get_xdata())) == pytest.approx(
        [100 * gain.low90, 100 * gain.high90]
    )
    assert "both ticks lie within it, the ends of its 90 % interval" in drawing.reading


def test_the_forest_plot_speaks_of_settings_in_words(tmp_path: Path) -> None:
    [question] = [
        each
        for each in find(read_study(made(tmp_path / "one", "Digits", 0.1, "1"))).questions
        if each.what == "clean"
    ]
    variant = (
        "originals=1.0, model.batch_norm=false, dataset.train_size=5000, dataset.resample=true"
    )
    asked = replace(question, title="fashion_mnist", variant=f"{variant}, epochs=20")
    drawing = forest([Row("one", "1", asked, 0.005)])
    assert drawing is not None
    [label] = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    words = (
        "Fashion-MNIST, cnn, originals and their mixture, no BatchNorm, 5,000 training images, drawn "
        "anew by seed, 20 epochs: conv1 (one)"
    )
    assert " ".join(label.split()) == words


def test_both_sides_are_drawn_against_plain_training(tmp_path: Path) -> None:
    """Not where none was trained; the points are those of the accuracies in the result files."""
    made(tmp_path / "one", "Digits", 0.1, "1")
    rows = {row.question.what: row for row in read([tmp_path / "one"], None)[1]}
    drawing = plain_figure([rows["clean"]])
    assert drawing is not None
    assert drawing.name == "plain"
    shifted = plain_figure([rows["shift"]])
    assert shifted is not None
    assert shifted.name == "plain_shift"
    accuracies: dict[str, list[float]] = {}
    for path in tmp_path.glob("one/cells/*/result.json"):
        result = json.loads(path.read_text())
        accuracies.setdefault(result["layer"], []).append(100 * result["test"]["accuracy"])
    plain = np.mean(accuracies["none"])
    expected = [np.mean(accuracies[layer]) - plain for layer in ("input", "conv1")]
    axis = drawing.figure.axes[0]
    points = [np.asarray(line.get_xdata()) for line in axis.lines if line.get_marker() in "so"]
    assert [float(point[0]) for point in points] == pytest.approx(expected)
    assert any(text.get_text().startswith("image mixup  +") for text in axis.texts)
    alone = replace(rows["clean"].question, mixup=None, over_plain=None)
    assert plain_figure([replace(rows["clean"], question=alone)]) is None
    both = plain_figure([rows["clean"], replace(rows["clean"], question=alone)])
    assert both is not None
    assert both.reading.endswith("without plain training beside them, which are not drawn: 1.")
    pasted = replace(rows["clean"].question, variant="operation=cutmix")
    mixed = plain_figure([rows["clean"], replace(rows["clean"], question=pasted)])
    assert mixed is not None
    starts = [text.get_text().partition("  ")[0] for text in mixed.figure.axes[0].texts]
    assert starts == ["image mixup", "image CutMix"]
    many = plain_figure([rows["clean"]] * 61)
    assert many is not None
    assert "1 more stand in the table alone." in many.reading


def test_no_interval_over_seeds_alone_is_drawn_as_one_over_images(tmp_path: Path) -> None:
    """Where predictions are missing; the gain stands without an interval, as in the table."""
    study = made(tmp_path / "one", "Digits", 0.1, "1")
    next(study.glob("cells/*none*/predictions.safetensors")).unlink()
    [row, _] = read([study], None)[1]
    assert row.question.over_plain is not None
    assert row.question.over_plain.low is None
    assert row.question.over_plain.seed_low is not None
    drawing = plain_figure([row])
    assert drawing is not None
    axis = drawing.figure.axes[0]
    assert {len(np.asarray(line.get_xdata())) for line in axis.lines[1:]} == {1}
    assert not any("[" in text.get_text() for text in axis.texts)


def test_a_warning_names_the_studies_that_it_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [made(tmp_path / name, name, 0.1, name[0]) for name in ("a1", "b2", "c3")]
    for folder in folders[1:]:
        for result in folder.glob("cells/*conv1*/result.json"):
            found = json.loads(result.read_text())
            found["config"]["margin"] = 1.0
            result.write_text(json.dumps(found))
    assert main([*map(str, folders), "--output", str(tmp_path / "forest")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: b2, c3: networks differ in margin: 0.5 (12), 1 (6)")


def test_pooling_counts_a_data_set_once(tmp_path: Path, studies: list[Path]) -> None:
    """Two studies on the same data are no independent evidence, whatever they call it."""
    again = made(tmp_path / "again", "Digits again", 0.05, "1")
    _, rows, _ = read([*studies, again], None)
    gains = {row.study: row.question.gain for row in rows if row.question.what == "clean"}
    means = {study: gain.mean for study, gain in gains.items() if gain is not None}
    expected = mean_interval([(means["one"] + means["again"]) / 2, means["two"], means["three"]])
    [clean, shift] = pool(rows)
    assert (clean.on, clean.sets) == ("clean", 3)
    assert (clean.mean, clean.low, clean.high) == (expected.mean, expected.low, expected.high)
    assert shift.on == "shift"
    output = tmp_path / "pooled"
    assert main([*map(str, studies), "--pool", "--output", str(output)]) == 0
    text = (output / "report.md").read_text()
    assert "Pooled over 3 data sets, each counted once (clean test images): " in text
    assert "It carries no verdict." in text
    assert "Nothing is pooled" not in text
    assert json.loads((output / "verdict.json").read_text())["pooled"][0]["sets"] == 3


def test_studies_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [made(tmp_path / place / "default", "Digits", 0.1, "1") for place in ("a", "b")]
    _, rows, _ = read(folders, 0.01)
    assert {row.study for row in rows} == {"a/default", "b/default"}
    assert {row.margin for row in rows} == {0.01}


def test_a_figure_of_an_earlier_report_goes(tmp_path: Path, studies: list[Path]) -> None:
    output = tmp_path / "forest"
    assert main([*map(str, studies), "--output", str(output)]) == 0
    for path in tmp_path.glob("*/cells/*/result.json"):
        result = json.loads(path.read_text())
        del result["shift"], result["evaluated"]
        path.write_text(json.dumps(result))
    assert main([*map(str, studies), "--output", str(output)]) == 0
    assert not list(output.glob("forest_shift*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one", "two"], "several studies need --output"),
        (["one", "./one/", "--output", "x"], "is named twice"),
        (["one", "--pool"], "--pool is not allowed with one study"),
        (["one", "nowhere", "--output", "x"], "nowhere is not a folder"),
        (["one", "same", "--pool", "--output", "x"], "--pool needs two data sets"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    studies: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    made(tmp_path / "same", "Same", 0.1, "1")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) <= 2
    assert not (tmp_path / "x").exists()
