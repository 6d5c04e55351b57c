"""The tuned comparison of a made study: its numbers, recomputed image by image, and what it says."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hiddenmix.report import Side, Trial, Tuning, compare_tuned, terminal_tuned, write_tuned
from hiddenmix.report.tuned import told_tuned
from tests.support.made_study import made_result, setting_key, write_answered

IMAGES = 400
HIDDEN, IMAGE = ("conv2", "triplet", 0.5), ("input", "siamese", 2.0)
SEEDS = range(3, 11)


def right(layer: str, seed: int) -> np.ndarray:
    """Which images a network answers right: half of them at the input, and 4 to 6 % more behind."""
    return np.arange(IMAGES) < (200 + seed % 2 if layer == "input" else 216 + seed)


def side(setting: tuple[str, str, float], best: int) -> Side:
    layer, mode, alpha = setting
    own = {} if layer == "input" else {"layer": layer}
    trials = [
        Trial(0, {**own, "alpha": "0.123456789"}, "complete", (0.5, 0.6)),
        Trial(1, {**own, "alpha": repr(alpha)}, "complete", (0.6, 0.7)),
        Trial(2, {**own, "alpha": repr(alpha)}, "stopped", (0.4,)),
    ]
    key = setting_key(layer, mode, alpha)
    return Side(trials, math.inf, trials[best], layer, key, f"train layer={layer}")


@pytest.fixture
def tuning(tmp_path: Path) -> Tuning:
    study = tmp_path / "made"
    cells = []
    for seed in (1, *SEEDS):
        for layer, mode, alpha in (HIDDEN, IMAGE):
            result = made_result(layer, mode, alpha, seed, full=False)
            write_answered(study, result, right(layer, seed))
            if seed in SEEDS:
                cells.append(result["cell"])
    return Tuning(
        name="0123abcd",
        study=study,
        command="python -m hiddenmix.tune",
        trials=3,
        seeds=range(2),
        final_seeds=SEEDS,
        held=287,
        space={"layer": "conv1,conv2", "alpha": "log(0.1,4)"},
        hidden=side(HIDDEN, 1),
        images=side(IMAGE, 1),
        cells=cells,
        margin=0.005,
    )


def test_the_two_choices_are_compared_by_the_networks_of_the_test_alone(tuning: Tuning) -> None:
    tuned = compare_tuned(tuning)
    [question] = tuned.questions
    gains = {
        seed: float(np.mean(right("conv2", seed) * 1.0 - right("input", seed))) for seed in SEEDS
    }
    assert dict(question.by_seed) == pytest.approx(gains)
    assert question.gain is not None
    assert question.gain.mean == pytest.approx(np.mean(list(gains.values())))
    assert (question.gain.seeds, question.gain.images, question.word) == (8, IMAGES, "supported")
    sentence, *rest = told_tuned(tuned, question)
    assert sentence.startswith(
        "Supported (Digits, cnn; clean test images; tuned against tuned): the best of 3 trials at a "
        "hidden layer (layer=conv2 alpha=0.5) instead of the best of 3 trials of image mixup (alpha=2.0)"
    )
    [budget] = [text for text in rest if text.startswith("Budget: each side 3 trials")]
    assert "287 training images held out, mean over 2 seeds (0 to 1)" in budget
    assert budget.count("2 settings, 1 stopped early, 5 networks") == 2
    assert "other seeds (3 to 10)" in budget


def test_the_report_holds_the_trials_and_remembers_looks(tuning: Tuning) -> None:
    path = write_tuned(compare_tuned(tuning))
    page = path.read_text()
    assert path == tuning.study / "tune/0123abcd/report.md"
    assert page.startswith("# Tuned comparison, made 0123abcd\n\n**Supported (Digits, cnn;")
    rows = [line.split("|") for line in page.splitlines() if line.endswith("chosen |")]
    assert [[cell.strip() for cell in row[1:4]] for row in rows] == [
        ["2", "conv2", "0.5"],
        ["2", "2.0", "2"],
    ]
    found = json.loads(path.with_name("tuned.json").read_text())
    assert found["hidden_layer"]["trials"][2]["state"] == "stopped"
    assert found["hidden_layer"]["settings_in_space"] is None
    write_tuned(compare_tuned(tuning))
    write_tuned(compare_tuned(replace(tuning, trials=5)))
    looks = json.loads(path.with_name("tuned.json").read_text())["looks"]
    assert [(each["trials"], each["seeds"], each["word"]) for each in looks] == [
        (3, 8, "supported"),
        (5, 8, "supported"),
    ]
    assert "looked at before (at 3 trials and 8 seeds: supported)" in path.read_text()


@pytest.mark.parametrize("left", [0, 1])
def test_a_side_without_networks_is_said_to_lack_them(tuning: Tuning, left: int) -> None:
    tuned = compare_tuned(replace(tuning, cells=tuning.cells[:left]))
    [question] = tuned.questions
    assert "no seed has both" in told_tuned(tuned, question)[0]
    assert write_tuned(tuned).is_file()


@pytest.mark.parametrize("width", [45, 160])
def test_the_table_fits_the_terminal(tuning: Tuning, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_tuned(compare_tuned(tuning), width))
    text = console.export_text()
    assert "65.00" in text
    assert text.count("conv2") >= 2
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
