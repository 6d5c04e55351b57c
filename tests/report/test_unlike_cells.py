"""Cells of one study that differ in what is no setting, or that lack what others have: nothing of them is
split, mixed in or left out without a word."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from hiddenmix.report.answers import SHIFTS, family_means, mean
from hiddenmix.report.factors import _optimism
from hiddenmix.report.findings import Findings, find
from hiddenmix.report.reading import read_study
from hiddenmix.report.verdict import spoken
from hiddenmix.report.writing import write_report
from tests.support.commands import unrendered
from tests.support.made_study import setting_key, write_answers

Setting = tuple[str, str | None, float | None]
PLAIN: Setting = ("none", None, None)
INPUT: Setting = ("input", "siamese", 1.0)
CONV1: Setting = ("conv1", "siamese", 1.0)


def chance(layer: str, mode: str | None, alpha: float | None) -> float:
    """conv1 and conv2 gain 2 points at α = 1 and nothing at 0.2."""
    return 0.8 + 0.02 * (layer in ("conv1", "conv2") and alpha == 1)


def made(folder: Path, *settings: Setting, seeds: int = 6, **config: Any) -> list[Path]:
    """Cells of these settings whose configuration has `config`; returns their result files."""
    before = {*folder.glob("cells/*")}
    write_answers(folder, settings, range(seeds), 1000, chance, full=False)
    own = [path / "result.json" for path in sorted({*folder.glob("cells/*")} - before)]
    for path in own:
        edit(path, lambda result: result["config"].update(config))
    return own


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))


def found(folder: Path) -> Findings:
    return find(read_study(folder))


@pytest.mark.parametrize(
    ("key", "first", "other"),
    [
        *(("workers", "auto", 2), ("threads", 1, 2), ("checkpoint_seconds", 60, 5)),
        ("dataset", {"root": "a", "resize": 32}, {"root": "b", "resize": [32, 32]}),
        ("dataset", {"train": "train"}, {"train": "training_set"}),
        ("model", {"weights": None}, {"weights": "w.pt"}),
    ],
)
def test_what_trains_no_other_network_makes_no_other_question(
    tmp_path: Path, key: str, first: Any, other: Any
) -> None:
    made(tmp_path, PLAIN, INPUT, CONV1, **{key: first})
    made(tmp_path, ("input", "siamese", 0.2), ("conv1", "siamese", 0.2), **{key: other})
    made(tmp_path, ("conv2", "siamese", 1.0), **{key: other})
    everything = found(tmp_path)
    [question] = everything.questions
    assert (question.variant, [*question.rows["alpha"]]) == ("", [0.2, 1])
    factors = [(each.factor, each.level) for each in everything.effects]
    assert factors == [("layer", "conv1"), ("layer", "conv2"), ("alpha", "0.2")]
    assert everything.best


def test_a_part_of_the_grid_without_its_baseline_is_named(tmp_path: Path) -> None:
    made(tmp_path, PLAIN, INPUT, CONV1, ("conv1", "triplet", 0.2))
    [question] = found(tmp_path).questions
    assert len(question.rows) == 1
    assert (
        "Left out, as image mixup of as many images was not trained beside them: triplet α=0.2."
    ) in spoken(question, 0.005)


def test_image_mixup_over_plain_is_of_the_questions_seeds(tmp_path: Path) -> None:
    made(tmp_path, PLAIN, INPUT, seeds=9)
    made(tmp_path, CONV1, seeds=6)
    [question] = found(tmp_path).questions
    assert question.gain is not None
    assert question.mixup is not None
    assert question.over_plain is not None
    assert (question.gain.seeds, question.mixup.seeds, question.over_plain.seeds) == (6, 6, 6)


def test_fewer_seeds_of_plain_training_are_said(tmp_path: Path) -> None:
    made(tmp_path, INPUT, CONV1, seeds=8)
    made(tmp_path, PLAIN, seeds=3)
    [question] = found(tmp_path).questions
    assert question.mixup is not None
    said = spoken(question, 0.005).partition("against plain training: ")[2].split("; ")
    assert len(said) == 2
    assert all(each.removesuffix(".").endswith("(n = 3 seeds)") for each in said)


def test_the_best_layer_is_the_best_over_what_all_layers_have(tmp_path: Path) -> None:
    """conv1 at α = 1 and 0.2, conv2 at 1 alone: over all they have, conv2 gains twice as much."""
    made(tmp_path, PLAIN, INPUT, CONV1, ("input", "siamese", 0.2), ("conv1", "siamese", 0.2))
    made(tmp_path, ("conv2", "siamese", 1.0))
    everything = found(tmp_path)
    [best] = everything.best
    assert best.gain == pytest.approx(0.02, abs=0.002)
    gains = {each.level: each.gain.mean for each in everything.effects if each.factor == "layer"}
    assert gains == pytest.approx({"conv1": 0.01, "conv2": 0.02}, abs=0.002)  # each of its own
    assert best.corrected < best.gain - 0.0001  # the two are alike: choosing has an optimism
    clear = np.zeros((2, 6, 50))
    clear[0] = 0.5
    assert _optimism(clear) == 0  # never below: no sample's best is worse than the study's
    noisy = np.random.default_rng(1).integers(-1, 2, (3, 6, 200)).astype(float)
    noisy[0] += 0.1  # nearly always the best: the bootstrap's own noise is larger than what is left
    assert 0 <= _optimism(noisy) < 0.01


def test_shifts_that_some_lack_are_left_out_of_all_and_named(tmp_path: Path) -> None:
    write_answers(tmp_path, (PLAIN, INPUT, CONV1), range(6), 500, lambda *_: 0.8)
    shifted = [each for each in found(tmp_path).questions if each.what == SHIFTS]
    for path in tmp_path.glob("cells/*conv1*/result.json"):
        predictions = path.with_name("predictions.safetensors")
        arrays = load(predictions.read_bytes())
        arrays["shift/jpeg_10/class"] = ((arrays["label"] + 1) % 10).astype(np.uint8)  # all wrong
        predictions.write_bytes(content := save(arrays))
        result = json.loads(path.read_text())
        result["predictions"] = hashlib.blake2b(content, digest_size=16).hexdigest()
        result["shift"]["jpeg_10"] = {"accuracy": 0.0, "nll": 9.0}
        path.write_text(json.dumps(result))
    study = read_study(tmp_path)
    again = [each for each in find(study).questions if each.what == SHIFTS]
    assert [each.gain for each in again] == [each.gain for each in shifted]
    assert [line for line in study.problems if line.startswith("shifts: jpeg_10 left out")]


FORMER = "attacks (FGSM) are of an older version, which loses its gradient where a network is sure"


@pytest.mark.parametrize("newer", [0, 2, 5, 6])
def test_attacks_of_another_version_are_left_out_and_told(tmp_path: Path, newer: int) -> None:
    """Of six cells so many were attacked by the newer one; what is not about attacks stays."""
    write_answers(tmp_path, (INPUT, CONV1), range(3), 100, lambda *_: 0.8)
    cells = sorted(tmp_path.glob("cells/*/result.json"))
    for path in cells[newer:]:
        edit(path, lambda result: result["evaluated"].pop("attack"))
    study = read_study(tmp_path)
    usual = {path.parent.name for path in (cells[newer:] if newer < 3 else cells[:newer])}
    kept = study.cells["adversarial"].map(bool)
    assert {*study.cells.loc[kept, "cell"]} == usual
    assert study.cells["shift"].map(bool).all()
    odd = [line for line in study.problems if line.startswith("attacks (FGSM): left out of")]
    assert len(odd) == (newer not in (0, 6))
    assert all(f"{min(newer, 6 - newer)} cells, such as" in line for line in odd)
    assert sum(line.startswith(FORMER) for line in study.problems) == (newer < 3)


def test_networks_of_several_margins_are_said(tmp_path: Path) -> None:
    made(tmp_path, PLAIN, INPUT, margin=0.5)
    made(tmp_path, CONV1, margin=2)
    study = read_study(tmp_path)
    assert study.margin == 0.005
    assert study.problems == [
        "networks differ in margin: 0.5 (12), 2 (6); verdicts take 0.5, that of most, and "
        "python -m hiddenmix.report --margin another"
    ]
    made(tmp_path, ("conv2", "siamese", 1.0), margin=2)
    assert read_study(tmp_path).margin == 0.005  # of as many the smaller


def test_published_answers_of_other_results_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrendered(monkeypatch)
    made(tmp_path, PLAIN, INPUT, CONV1)
    write_report(tmp_path, output=tmp_path / "report")
    for path in tmp_path.glob("cells/*/predictions.safetensors"):
        path.unlink()
    [question] = found(tmp_path).questions
    assert (question.word, question.without_predictions) == ("supported", 0)
    for path in tmp_path.glob(f"cells/{setting_key(*CONV1)}-s*/result.json"):  # trained anew
        edit(path, lambda result: result.update(predictions="0" * 32))
        edit(path, lambda result: result["test"].update(accuracy=0.7))
    [question] = found(tmp_path).questions
    assert (question.word, question.without_predictions) == ("undecided", 6)
    assert question.gain is not None
    assert question.gain.mean == pytest.approx(-0.1)


def test_a_family_counts_once_in_numbers_as_in_answers() -> None:
    found = {"zoom_0.6": 0.25, "zoom_1.4": 0.75, "noise_0.1": 1.0}
    assert family_means(found) == {"zoom": 0.5, "noise": 1.0}
    assert mean(family_means(found).values()) == 0.75
    arrays = {name: np.array([value, 0.0]) for name, value in found.items()}
    assert mean(family_means(arrays).values()).tolist() == [0.75, 0.0]
