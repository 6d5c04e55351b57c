"""The study's questions: which they are, what they rest on, and what is said of them."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from hiddenmix.report.answers import CLEAN, SHIFTS, Answers, summary
from hiddenmix.report.factors import best_layers, effects
from hiddenmix.report.findings import Findings, as_json, find
from hiddenmix.report.past_looks import former, record_looks
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import read_study
from hiddenmix.report.statistics import holm
from hiddenmix.report.tables import points
from hiddenmix.report.two_way import seeds_alone, two_way
from hiddenmix.report.verdict import spoken, told
from hiddenmix.report.writing import write_report
from tests.support.commands import unrendered
from tests.support.made_study import (
    made_result,
    make_study,
    setting_key,
    write_answered,
    write_answers,
    write_cell,
)

Setting = tuple[str, str | None, float | None]
PLAIN: Setting = ("none", None, None)


@pytest.fixture(autouse=True)
def _unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    unrendered(monkeypatch)


def grid(*layers: str, alphas: tuple[float, ...] = (1.0,)) -> list[Setting]:
    modes = ("siamese", "triplet")
    return [
        PLAIN,
        *((layer, mode, alpha) for layer in layers for mode in modes for alpha in alphas),
    ]


def chance(layer: str, mode: str | None, alpha: float | None) -> float:
    """conv1 gains 2 points; a third image costs 1, at any layer."""
    share = {"none": 0.78, "input": 0.8, "conv1": 0.82}.get(layer, 0.81)
    return share - 0.01 * (mode == "triplet")


def found(folder: Path, margin: float | None = None) -> Findings:
    return find(read_study(folder), margin)


def clean_question(folder: Path) -> Question:
    [question] = [each for each in found(folder).questions if each.what == CLEAN]
    return question


def right(folder: Path, setting: str, seed: int) -> Any:
    study = read_study(folder)
    cells = study.cells
    [cell] = cells.loc[(cells["setting"] == setting) & (cells["seed"] == seed), "cell"]
    return Answers(folder, cells).right(cell, CLEAN)


def test_one_question_over_the_grid_is_one_number_a_seed(tmp_path: Path) -> None:
    """Against a computation cell by cell."""
    write_answers(tmp_path, grid("input", "conv1", alphas=(0.2, 1.0)), range(6), 500, chance)
    question = clean_question(tmp_path)
    pairs = [(mode, alpha) for mode in ("siamese", "triplet") for alpha in (0.2, 1.0)]
    d = np.mean(
        [
            [
                right(tmp_path, setting_key("conv1", mode, alpha), seed)
                - right(tmp_path, setting_key("input", mode, alpha), seed)
                for seed in range(6)
            ]
            for mode, alpha in pairs
        ],
        axis=0,
    )
    assert question.gain == two_way(d)
    assert question.word == "supported"
    assert len(question.rows) == 4
    assert question.mixup is not None
    assert question.mixup.mean == pytest.approx(0.02 - 0.005, abs=0.002)


def test_the_layer_and_the_number_of_images_are_not_confounded(tmp_path: Path) -> None:
    """A third image costs 1 point at the input already; conv1 gains nothing."""
    write_answers(
        tmp_path,
        grid("input", "conv1"),
        range(6),
        2000,
        lambda layer, mode, alpha: 0.8 - 0.01 * (mode == "triplet"),
    )
    everything = found(tmp_path)
    [layer] = [each for each in everything.effects if each.factor == "layer"]
    [images] = [each for each in everything.effects if each.factor == "K"]
    assert (layer.level, layer.reference, layer.pairs) == ("conv1", "input", 2)
    assert layer.gain.low is not None
    assert layer.gain.high is not None
    assert layer.gain.low < 0 < layer.gain.high
    assert (images.level, images.reference, images.pairs) == ("3", "2", 2)
    assert images.gain.mean == pytest.approx(-0.01, abs=0.001)
    corrected = holm([each.gain.p_value for each in everything.effects])
    assert [each.p_holm for each in everything.effects] == corrected


def test_variants_and_data_sets_have_questions_of_their_own(tmp_path: Path) -> None:
    for variant, lr in (("0" * 8, 0.05), ("1" * 8, 0.1)):
        write_answers(
            tmp_path, grid("input", "conv1"), range(6), 100, chance, variant=variant, lr=lr
        )
    questions = [each for each in found(tmp_path).questions if each.what == CLEAN]
    assert [each.variant for each in questions] == ["optimizer.lr=0.05", "optimizer.lr=0.1"]
    assert all(len(each.rows) == 2 for each in questions)
    rates = [each for each in found(tmp_path).effects if each.factor == "optimizer.lr"]
    assert [(each.level, each.reference, each.pairs) for each in rates] == [("0.1", "0.05", 4)]


def test_missing_seeds_and_predictions_are_said(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(6), 100, chance)
    write_answered(tmp_path, made_result("conv1", "siamese", 1.0, 6), np.ones(100, bool))
    question = clean_question(tmp_path)
    assert question.gain is not None
    assert (question.gain.seeds, question.left_out) == (6, (6,))
    assert "Left out, as parts of the grid are missing: seeds 6." in spoken(question, 0.005)
    cell = next(tmp_path.glob("cells/*conv1-triplet*-s3"))
    (cell / "predictions.safetensors").unlink()
    question = clean_question(tmp_path)
    assert question.gain is not None
    assert (question.gain.images, question.without_predictions) == (0, 1)
    assert question.gain.low is None
    assert question.gain.seed_low is not None
    assert question.word == "undecided"
    assert "The predictions of 1 network are missing" in spoken(question, 0.005)


def test_a_study_without_predictions_has_no_verdict_but_its_seeds(tmp_path: Path) -> None:
    question = clean_question(make_study(tmp_path, seeds=range(8), gain=lambda *_: 0.05))
    assert question.word == "undecided"
    assert question.gain is not None
    assert question.gain.p_seeds is not None


@pytest.mark.parametrize(
    ("layers", "asked"), [(("none",), 0), (("none", "input"), 1), (("none", "conv1"), 1)]
)
def test_nothing_to_compare(tmp_path: Path, layers: tuple[str, ...], asked: int) -> None:
    questions = found(make_study(tmp_path, layers=layers)).questions
    assert len(questions) == asked
    for question in questions:
        assert question.word == "undecided"
        assert "nothing can be compared" in spoken(question, 0.005)


@pytest.mark.parametrize(("seeds", "word"), [(3, "undecided"), (5, "undecided"), (6, "supported")])
def test_three_seeds_never_decide(tmp_path: Path, seeds: int, word: str) -> None:
    """However large the difference: the sign-flip p of n seeds is at least 2 ** (1 - n)."""
    write_answers(
        tmp_path,
        grid("input", "conv1"),
        range(seeds),
        1000,
        lambda layer, mode, alpha: 0.95 if layer == "conv1" else 0.5,
    )
    question = clean_question(tmp_path)
    assert question.word == word
    assert ("a verdict needs at least 6 seeds" in spoken(question, 0.005)) == (seeds < 6)
    # Their spread is too badly known to say how many more it takes.
    assert ("at least 6 seeds; how many more" in spoken(question, 0.005)) == (seeds < 6)
    assert question.need is None


def over_plain(study: Path) -> float:
    """What mixing at conv1 gains over plain training, from the accuracies in the result files."""
    results = [json.loads(path.read_text()) for path in study.glob("cells/*/result.json")]
    accuracies: dict[str, list[float]] = {}
    for each in results:
        accuracies.setdefault(each["layer"], []).append(each["test"]["accuracy"])
    return float(np.mean(accuracies["conv1"]) - np.mean(accuracies["none"]))


def test_the_sentence_names_effect_interval_counts_both_p_and_image_mixup(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(6), 2000, chance)
    question = clean_question(tmp_path)
    text = spoken(question, 0.005)
    assert question.gain is not None
    assert text.startswith(
        "Supported (Digits, cnn; clean test images): mixing feature maps at conv1 (the study's lowest "
        f"hidden layer, fixed beforehand) instead of images: +{100 * question.gain.mean:.2f} ["
    )
    for part in (
        "95 % interval for new seeds and new test images; n = 6 seeds, N = 2,000 test images, ",
        "mean of 2 settings of K and α",
        "p = ",
        "sign-flip p over seeds 0.031",
        "For new seeds on this test set alone: [",
        "Image mixup itself, against plain training: +1.",
        f"] points; mixing at that layer: {points(over_plain(tmp_path))} [",
    ):
        assert part in text
    lines = " ".join(told(question, 0.005))
    assert text == lines.replace("**", "").replace("`", "")
    assert "Why undecided" not in text


def test_equal_names_the_margin(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(8), 4000, lambda *_: 0.8)
    everything = found(tmp_path, margin=0.02)
    question = everything.questions[0]
    assert question.word == "equal"
    assert spoken(question, everything.margin).startswith("Equal within ±2 points (")


def test_shifts_are_asked_of_images_with_each_family_once() -> None:
    label = np.array([0, 1, 2], np.uint8)
    arrays = {
        "label": label,
        "clean/class": label,
        "shift/rotation_20/class": np.array([0, 1, 0], np.uint8),
        "shift/rotation_40/class": np.array([0, 0, 0], np.uint8),
        "shift/blur_0.04/class": np.array([1, 1, 2], np.uint8),
        "outside/far/class": np.array([1, 1], np.uint8),
        "outside/far/label": np.array([1, 0], np.uint8),
        "outside/c:fog_1/class": np.array([1, 1], np.uint8),
        "outside/c:fog_1/label": np.array([1, 0], np.uint8),
        "outside/c:fog_2/class": np.array([1, 0], np.uint8),
        "outside/c:fog_2/label": np.array([1, 0], np.uint8),
    }
    shifts = ["rotation_20", "rotation_40", "blur_0.04"]
    right = summary(arrays, shifts)
    assert right[CLEAN].tolist() == [1, 1, 1]
    assert right[SHIFTS].tolist() == [0.5, 0.75, 0.5]
    assert right["outside/far"].tolist() == [1, 0]
    assert right["outside/c"].tolist() == [1, 0.5]
    few = summary({**arrays, "subset": np.array([2, 0, 1], np.int32)}, shifts)
    assert few[SHIFTS].tolist() == [0, 0.25, 0]
    assert summary(arrays, shifts[:1])[SHIFTS].tolist() == [1, 1, 0]
    assert SHIFTS not in summary(arrays, [])


def test_settings_that_differ_in_sign_stand_beside_their_mean(tmp_path: Path) -> None:
    """conv1 gains as much with two images as it loses with three: nothing, and not the whole truth."""

    def apart(layer: str, mode: str | None, alpha: float | None) -> float:
        return 0.75 + (layer == "conv1") * (0.125 if mode == "siamese" else -0.125)

    write_answers(tmp_path, grid("input", "conv1"), range(6), 1000, apart)
    clean, shifted = found(tmp_path).questions
    assert clean.gain is not None
    assert clean.gain.mean == pytest.approx(0, abs=1e-9)
    ends = "mean of 2 settings of K and α, from −12.50 (triplet α=1) to +12.50 (siamese α=1); "
    assert ends in spoken(clean, 0.005)
    assert "mean of 2 settings of K and α, from " in spoken(shifted, 0.005)
    unlike = "Its settings differ: siamese α=1 against triplet α=1 +25.00 ["
    assert unlike in spoken(clean, 0.005)
    assert clean.odd is not None
    assert clean.odd.p_holm < 1e-6
    assert clean.by_setting == pytest.approx({"siamese α=1": 0.125, "triplet α=1": -0.125})


def test_the_settings_are_those_of_the_questions_seeds(tmp_path: Path) -> None:
    """A seed that the question leaves out is no part of the range that its mean lies in."""

    def apart(layer: str, mode: str | None, alpha: float | None) -> float:
        return 0.5 + (layer == "conv1") * 0.125

    write_answers(tmp_path, grid("input", "conv1"), range(6), 400, apart)
    right = np.zeros(400, bool)
    write_answered(tmp_path, made_result("input", "siamese", 1.0, 6), ~right)
    write_answered(tmp_path, made_result("conv1", "siamese", 1.0, 6), right)  # -100 points, alone
    clean = found(tmp_path).questions[0]
    assert clean.left_out == (6,)
    assert clean.by_setting == pytest.approx({"siamese α=1": 0.125, "triplet α=1": 0.125})
    assert "from +12.50 (" in spoken(clean, 0.005)


def test_the_clean_gain_on_the_shifts_images_stands_beside_theirs(tmp_path: Path) -> None:
    """All of the gain is on images that shifts were not measured on."""
    subset = np.arange(100)
    for seed in range(6):
        for layer in ("input", "conv1"):
            right = np.random.default_rng(seed).random(400) < 0.5
            right[100:140] = layer == "conv1"
            result = made_result(layer, "siamese", 1.0, seed)
            result["evaluated"] = {"images": 100}
            write_answered(tmp_path, result, right, subset=subset)
    clean, shifted = found(tmp_path).questions
    assert clean.gain is not None
    assert clean.gain.mean == pytest.approx(0.1)
    assert clean.unshifted is None
    assert shifted.unshifted is not None
    assert (shifted.unshifted.mean, shifted.unshifted.images) == (0.0, 100)
    assert "On these 100 images without a shift: +0.00 points." in spoken(shifted, 0.005)


def families_apart(study: Path) -> None:
    """Six seeds at input and conv1: at conv1 10 + seed more are right under blur, as many and twice as
    many fewer under two strengths of noise."""
    label = np.zeros(100, np.uint8)
    for seed in range(6):
        for layer in ("none", "input", "conv1"):
            mode, alpha = (None, None) if layer == "none" else ("siamese", 1.0)
            result = made_result(layer, mode, alpha, seed, full=True)
            more = (10 + seed) * (layer == "conv1")
            wrong = {"blur_0.04": 50 - more, "noise_0.1": 50 + more, "noise_0.2": 50 + 2 * more}
            wrong |= {"rotation_20": 50}
            answers = {
                name: (np.arange(100) < many).astype(np.uint8) for name, many in wrong.items()
            }
            arrays = {"label": label, "clean/class": label}
            arrays |= {f"shift/{name}/class": answer for name, answer in answers.items()}
            content = save(arrays)
            result["predictions"] = hashlib.blake2b(content, digest_size=16).hexdigest()
            result["shift"] = {
                name: {"accuracy": float((answer == 0).mean()), "nll": 1.0}
                for name, answer in answers.items()
            }
            (write_cell(study, result) / "predictions.safetensors").write_bytes(content)


def test_families_of_shifts_stand_beside_their_mean(tmp_path: Path) -> None:
    families_apart(tmp_path)
    everything = found(tmp_path)
    clean, shifted = everything.questions
    assert not clean.families
    assert shifted.what == SHIFTS
    blur, rotation, noise = shifted.families
    assert (blur.name, rotation.name, noise.name) == ("blur", "rotation", "noise")
    means = [each.gain.mean for each in (blur, rotation, noise)]
    assert means == pytest.approx([0.125, 0, -0.1875])
    assert shifted.gain is not None
    assert shifted.gain.mean == pytest.approx(sum(means) / 3)
    [effect] = everything.shifted_effects
    assert (effect.factor, effect.level, effect.gain) == ("layer", "conv1", shifted.gain)
    # image by image: 10 + seed of them differ, the same ones at each seed
    matrix = np.array(
        [[float(50 - 10 - seed <= at < 50) for at in range(100)] for seed in range(6)]
    )
    assert blur.gain == two_way(matrix)
    p_values = [blur.gain.p_value, 1.0, noise.gain.p_value]  # rotation: all alike, but tested
    assert [each.p_holm for each in (blur, rotation, noise)] == holm(p_values)
    assert blur.mixup is not None
    assert blur.mixup.mean == 0
    sentence = spoken(shifted, everything.margin)
    assert (
        " points of accuracy, the mean of 3 families of shifts, from −18.75 (noise) to +12.50 (blur). "
        "How sure"
    ) in sentence
    text = write_report(tmp_path).read_text()
    assert re.search(r"\| blur +\| +6 \| +100 \| +\+12\.50 \[", text)
    stored = json.loads((tmp_path / "report/verdict.json").read_text())["questions"][1]
    assert [each["gain"]["mean"] for each in stored["families"]] == pytest.approx(means)


def test_families_without_predictions_are_compared_over_seeds(tmp_path: Path) -> None:
    families_apart(tmp_path)
    for path in tmp_path.glob("cells/*/predictions.safetensors"):
        path.unlink()
    shifted = found(tmp_path).questions[1]
    assert shifted.gain is not None
    assert shifted.gain.seed_low is not None
    assert shifted.gain.mean == pytest.approx((0.125 - 0.1875) / 3)
    blur, _, noise = shifted.families
    expected = seeds_alone([(10 + seed) / 100 for seed in range(6)])
    assert (blur.gain.low, blur.gain.images) == (None, 0)
    assert blur.gain.seed_low == pytest.approx(expected.seed_low)
    assert noise.gain.mean == pytest.approx(-0.1875)


def test_the_best_layer_is_reported_without_its_luck(tmp_path: Path) -> None:
    """Six layers that do nothing: the best of them looks good, and is corrected downwards."""
    layers = ("input", *(f"conv{number}" for number in range(1, 7)))
    settings: list[Setting] = [PLAIN, *((layer, "siamese", 1.0) for layer in layers)]
    write_answers(tmp_path, settings, range(6), 300, lambda *_: 0.8)
    study = read_study(tmp_path)
    everything = find(study)
    [best] = everything.best
    assert best.among == 6
    assert best.corrected < best.gain
    assert best == best_layers(everything.table, study.cells, everything.answers)[0]  # no chance
    assert len(effects(everything.table, study.cells, everything.answers)) == 6


def test_a_report_on_a_study_that_grew_after_a_look_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "commands": []}))
    write_answers(tmp_path, grid("input", "conv1"), range(3), 100, chance)
    record_looks(tmp_path, found(tmp_path).questions)
    record_looks(tmp_path, found(tmp_path).questions)  # the same look again
    assert "**Looks**" not in write_report(tmp_path).read_text()
    write_answers(tmp_path, grid("input", "conv1"), range(3, 7), 100, chance)
    text = write_report(tmp_path).read_text()
    assert "**Looks**: a verdict on Digits cnn was drawn before at n = 3 (undecided)." in text
    record_looks(tmp_path, found(tmp_path).questions)
    looks = json.loads((tmp_path / "study.json").read_text())["looks"]
    assert [each["n"] for each in looks] == [3, 7]
    keys = {"question", "at", "n", "word", "planned", "layer", "settings", "compared"}
    assert looks[0].keys() == keys
    assert "fixed beforehand)" in spoken(clean_question(tmp_path), 0.005)


def test_a_question_that_changed_after_a_look_is_not_called_fixed(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "commands": []}))
    write_answers(tmp_path, grid("input", "conv2"), range(6), 100, chance)
    record_looks(tmp_path, found(tmp_path).questions)
    write_answers(tmp_path, grid("conv1")[1:], range(6), 100, chance)
    said = spoken(clean_question(tmp_path), 0.005)
    expected = "not fixed beforehand: a verdict on conv2 was drawn before"
    assert f"conv1 (the study's lowest hidden layer, {expected})" in said
    assert expected in write_report(tmp_path).read_text()
    record_looks(tmp_path, found(tmp_path).questions)  # as many seeds, and another question
    looks = json.loads((tmp_path / "study.json").read_text())["looks"]
    assert [each["layer"] for each in looks] == ["conv2", "conv1"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"lr": 0.1, "variant": "f" * 8}, id="a key that did not vary before"),
        pytest.param({"digest": "f" * 32, "variant": "f" * 8}, id="another version of the data"),
    ],
)
def test_a_look_is_known_after_the_study_gave_its_question_a_longer_name(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "commands": []}))
    write_answers(tmp_path, grid("input", "conv2"), range(6), 100, chance)
    record_looks(tmp_path, found(tmp_path).questions)
    write_answers(tmp_path, grid("conv1")[1:], range(8), 100, chance)
    write_answers(tmp_path, grid("input", "conv2"), range(6, 8), 100, chance)
    write_answers(tmp_path, grid("input", "conv1"), range(8), 100, chance, **other)
    first, second = [each for each in found(tmp_path).questions if each.what == CLEAN]
    assert (first.title, first.variant) != (second.title, second.variant)
    assert first.changed == "not fixed beforehand: a verdict on conv2 was drawn before"
    assert second.changed == ""
    assert [each.n for each in former(read_study(tmp_path).looks, first)] == [6]
    assert former(read_study(tmp_path).looks, second) == []


def test_a_look_that_is_damaged_says_nothing_of_the_settings(tmp_path: Path) -> None:
    look = {"question": "Digits / cnn", "n": 6, "layer": "conv1", "settings": 5}
    content = {"format": 2, "commands": [], "looks": [look]}
    (tmp_path / "study.json").write_text(json.dumps(content))
    write_answers(tmp_path, grid("input", "conv1"), range(6), 100, chance)
    assert read_study(tmp_path).looks[0].settings == ()
    assert "fixed beforehand)" in spoken(clean_question(tmp_path), 0.005)


def test_settings_added_after_a_look_are_said(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "commands": []}))
    write_answers(tmp_path, grid("input", "conv1"), range(6), 100, chance)
    record_looks(tmp_path, found(tmp_path).questions)
    write_answers(tmp_path, grid("input", "conv1", alphas=(0.2,))[1:], range(6), 100, chance)
    said = spoken(clean_question(tmp_path), 0.005)
    assert "averaged over other K and α when a verdict was drawn before" in said


def test_a_published_report_can_be_computed_again_from_what_lies_in_it(tmp_path: Path) -> None:
    """Without the predictions: cells.csv, and the summary of the answers."""
    study = tmp_path / "study"
    write_answers(study, grid("input", "conv1"), range(6), 500, chance)
    published = tmp_path / "published"
    write_report(study, output=published)
    assert not (study / "report").exists()
    names = {path.name for path in published.iterdir()}
    assert names >= {
        "report.md",
        "verdict.json",
        "cells.csv",
        "summary.csv",
        "answers.safetensors.xz",
    }
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("predictions.safetensors"))
    shutil.copytree(published, copy / "report")
    assert found(copy).questions[0].gain == found(study).questions[0].gain


def test_verdict_json_holds_the_report_for_machines(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(6), 500, chance)
    write_report(tmp_path)
    stored = json.loads((tmp_path / "report/verdict.json").read_text())
    everything = found(tmp_path)
    assert stored == json.loads(json.dumps(as_json(read_study(tmp_path), everything), default=str))
    question = stored["questions"][0]
    assert question["word"] == "supported"
    assert question["gain"]["seeds"] == 6
    assert question["gain"]["images"] == 500
    assert question["sentence"] == spoken(everything.questions[0], everything.margin)
    assert len(stored["settings"]) == 5
    assert stored["margin"] == 0.005
    assert set(question["gain_by_setting"]) == {"siamese α=1", "triplet α=1"}
    assert question["odd_setting"]["tests"] == 1
    assert question["gain_without_shift"] is None


def test_no_stale_figure_is_left_in_the_folder(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(2), 50, chance)
    path = write_report(tmp_path)
    assert (path.parent / "factors.png").is_file()
    for name in ("2_old.png", "mine.png"):
        (path.parent / name).write_bytes(b"")
    path.write_text(path.read_text() + "![](2_old.png)")  # as an earlier report named it
    write_report(tmp_path)
    names = {each.name for each in path.parent.iterdir()}
    assert "2_old.png" not in names
    assert "mine.png" in names  # the user's own


def test_the_questions_table_has_one_row_each(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(6), 200, chance)
    text = write_report(tmp_path).read_text()
    assert text.count("| supported |") + text.count("| undecided |") >= 2
    assert "| shifted test images, as samples from outside |" in text
    assert "Seeds cover initial weights" in text
    write_cell(tmp_path, made_result("conv2", "siamese", 1.0, 0))  # a layer without a question
    assert [each.layer for each in found(tmp_path).questions] == ["conv1", "conv1"]


def test_too_few_differing_images_are_said(tmp_path: Path) -> None:
    """Six seeds that agree on three images of 100: undecided, with the reason."""
    right = np.ones(100, bool)
    for seed in range(6):
        for layer in ("input", "conv1"):
            answered = right.copy()
            answered[:3] = layer == "conv1"
            write_answered(tmp_path, made_result(layer, "siamese", 1.0, seed), answered)
    question = clean_question(tmp_path)
    assert question.word == "undecided"
    text = spoken(question, 0.005)
    assert (
        "Why undecided: the gain rests on 3.0 test images in effect (the methods differ on 3, and not "
        "alike), and a verdict needs at least 10."
    ) in text


def test_answers_to_other_images_are_never_paired(tmp_path: Path) -> None:
    """Of an outside set's two versions, equally large, only the more common one is compared."""
    write_answers(tmp_path, grid("input", "conv1"), range(6), 100, chance)
    for number, path in enumerate(sorted(tmp_path.glob("cells/*"))):
        result = json.loads((path / "result.json").read_text())
        arrays = load((path / "predictions.safetensors").read_bytes())
        shutil.rmtree(path)
        right = arrays["clean/class"] == arrays["label"]
        version = "new" if number == 0 else "old"
        result["outside"] = {"far": {"accuracy": float(right.mean()), "nll": 1.0}}
        result["evaluated"] = {"images": None, "outside": {"far": version}}
        write_answered(tmp_path, result, right, outside=("far",))
    study = read_study(tmp_path)
    assert study.problems[0].startswith("outside set far: left out of 1 cells")
    [question] = [each for each in find(study).questions if each.what == "outside/far"]
    assert question.without_predictions == 1
    assert question.gain is None


def test_the_report_shows_the_gain_of_each_seed(tmp_path: Path) -> None:
    write_answers(tmp_path, grid("input", "conv1"), range(3), 100, chance)
    question = clean_question(tmp_path)
    assert question.gain is not None
    assert list(question.by_seed) == [0, 1, 2]
    assert np.mean(list(question.by_seed.values())) == pytest.approx(question.gain.mean)
    text = write_report(tmp_path).read_text()
    table = text.partition("## By seed\n\n")[2].partition("\n\n")[0].splitlines()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert lines[0] == ["seed", "clean test images", "shifted test images"]
    shown = [[str(seed), f"{100 * gain:+.2f}"] for seed, gain in question.by_seed.items()]
    assert [line[:2] for line in lines[2:]] == [
        [seed, gain.replace("-", "−")] for seed, gain in shown
    ]


def test_questions_of_a_table_by_seed_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    options: dict[str, Any] = {"full": False, "variant": "1" * 8, "lr": 0.1}
    write_answers(tmp_path, grid("input", "conv1"), range(2), 50, chance, full=False)
    write_answers(tmp_path, grid("input", "conv1"), range(1, 3), 50, chance, **options)
    text = write_report(tmp_path).read_text()
    table = text.partition("## By seed\n\n")[2].partition("\n\n")[0].splitlines()
    names = [f"optimizer.lr={lr}, clean test images" for lr in (0.05, 0.1)]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert lines[0] == ["seed", *names]
    assert [line[0] for line in lines[2:]] == ["0", "1", "2"]
    assert [bool(cell) for line in lines[2:] for cell in line[1:]] == [
        *(True, False, True, True, False, True)
    ]


def test_of_several_questions_the_table_stands_first(tmp_path: Path) -> None:
    for number, title in enumerate(("near", "far")):
        more = {"title": title, "digest": str(number) * 32, "variant": str(number) * 8}
        write_answers(tmp_path, grid("input", "conv1"), range(2), 50, chance, **more)
    text = write_report(tmp_path).read_text()
    table, verdict = text.index("## The questions"), text.index("**Undecided**")
    assert table < verdict
    assert text.count("## The questions") == 1
    rows = [line for line in text[table:verdict].splitlines() if "| clean test images" in line]
    assert sorted(row.split("|")[1].strip() for row in rows) == ["far", "near"]
    near = find(read_study(tmp_path)).questions
    assert {each.title for each in near} == {"near", "far"}
