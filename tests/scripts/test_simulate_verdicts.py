"""The simulation judges as the report does, its model is what it says, and the fit finds it again."""

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import stats

from hiddenmix.report.decision import word
from hiddenmix.report.statistics import sign_flip_p
from hiddenmix.report.two_way import two_way

SCRIPTS = Path(__file__).parents[2] / "scripts"
PAGE = Path(__file__).parents[2] / "docs" / "simulations.md"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("simulate_verdicts")


def made(scripts: Any) -> Any:
    """Large effects of each kind, which a few answers show."""
    return scripts.Spread(0.8, 0.3, 0.1, 0.03, 0.02, 0.2)


def test_a_tiny_run_prints_every_table() -> None:
    command = [sys.executable, str(SCRIPTS / "simulate_verdicts.py")]
    command += ["--studies", "8", "--images", "40", "50"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    tables = [table.splitlines() for table in done.stdout.strip().split("\n\n")]
    # N, n and gain; N and gain; N; model, N and n: each with two lines of heading.
    assert [len(table) for table in tables] == [2 + 2 * 4 * 5, 2 + 2 * 5, 2 + 2, 2 + 8 * 2 * 2]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
    for row in tables[0][2:]:
        cells = [float(cell.replace(",", "")) for cell in row.strip("|").split("|")]
        assert sum(cells[3:7]) == pytest.approx(100)
        assert cells[1] != 3 or cells[6] == 100
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert again.stdout == done.stdout


def test_words_are_those_of_the_report(scripts: Any) -> None:
    """Of studies that are few and small enough to differ in every way."""
    seen = set()
    random = np.random.default_rng(2)
    for chance in (0.02, 0.2, 0.5):
        for images, lean in ((30, 0.0), (30, 0.6), (30, -0.6), (3000, 0.0), (3000, 0.05)):
            d = random.choice((-1, 0, 1), (8, 10, images), p=_leaning(chance, lean)).astype(np.int8)
            for n, study in scripts.judged(d, [2, 6, 10]).items():
                single = [two_way(each[:n]) for each in d]
                words = [word(each, scripts.MARGIN) for each in single]
                assert [scripts.WORDS[index] for index in study.words()] == words
                p = [np.nan if each.error is None else each.p_of(0.01) for each in single]
                assert study.p_of(0.01) == pytest.approx(p, nan_ok=True)
                loose = [word(each, scripts.MARGIN, 0.1, 0.2) for each in single]
                assert [scripts.WORDS[index] for index in study.words(0.1, 0.2)] == loose
                seen |= {*words, *loose}
    assert seen == {*scripts.WORDS}


def _leaning(chance: float, lean: float) -> list[float]:
    up = chance * (1 + lean) / 2
    return [chance - up, 1 - chance, up]


def test_no_difference_at_all_is_undecided(scripts: Any) -> None:
    found = scripts.judged(np.zeros((3, 6, 50), dtype=np.int8), [6])[6]
    assert found.words().tolist() == [0, 0, 0]


@pytest.mark.parametrize("n", [2, 6, 9, 14])
def test_the_sign_flip_p_of_whole_numbers(scripts: Any, n: int) -> None:
    random = np.random.default_rng(n)
    for shift in (0, 2, 5):
        rows = random.integers(-9, 10, n) + shift
        found, expected = scripts.flip_p(rows), sign_flip_p(rows)
        # A bound stands for the p where it is clearly small.
        assert found == pytest.approx(expected) or expected <= found < 0.05
    assert scripts.flip_p(np.zeros(4, dtype=int)) == 1


def test_answers_right_together_are_those_of_a_binormal_integral(scripts: Any) -> None:
    model = importlib.import_module("verdict_model")
    bound = stats.norm.ppf(0.9)
    for correlation in (0.0, 0.3, 0.95):
        normal = stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]])
        expected = float(normal.cdf([bound, bound]))
        assert model.together(0.9, correlation) == pytest.approx(expected, abs=1e-6)
        assert model.correlation(0.9, expected - 0.81) == pytest.approx(correlation, abs=1e-4)
    assert model.correlation(0.9, -0.01) == 0


def test_the_made_answers_have_the_accuracies_gain_and_spread_of_the_model(scripts: Any) -> None:
    model = importlib.import_module("verdict_model")
    spread = made(scripts)
    gains, squares = [], []
    for gain, found in scripts.simulate(spread, 400, 60, (0.0, 0.1), [20], 3):
        if gain:
            gains.append(found[20].mean)
        else:
            squares.append(np.stack([found[20].mean, found[20].error ** 2]))
    mean = np.concatenate(gains)
    assert mean.mean() == pytest.approx(0.1, abs=4 * mean.std() / np.sqrt(len(mean)))
    expected = model.components(spread)
    variance = (expected["seeds"] ** 2 / 20 + expected["images"] ** 2 / 400) / 1e4
    variance += expected["rest"] ** 2 / 8000 / 1e4
    observed, estimated = np.concatenate(squares, axis=1)
    assert estimated.mean() == pytest.approx(variance, rel=0.1)
    assert observed.var() == pytest.approx(variance, rel=0.5)


def write_study(folder: Path, scripts: Any, seeds: int, images: int) -> None:
    """Two methods' answers of the model as a study's files, one class right and one wrong."""
    spread = made(scripts)
    random = np.random.default_rng(4)
    drawn = list(scripts.draw(spread, (1, seeds, images), 2, random))
    settings = [("conv1", drawn[0][0]), ("input", drawn[1][0]), ("none", drawn[1][0])]
    for layer, normal in settings:
        for seed in range(seeds):
            cell = folder / "cells" / f"{layer}-{seed}"
            cell.mkdir(parents=True)
            about = {"layer": layer, "mode": "siamese", "alpha": 1.0, "seed": seed}
            (cell / "result.json").write_text(json.dumps(about))
            right = normal[seed] > -stats.norm.ppf(spread.accuracy)
            label = np.ones(images, dtype=np.uint8)
            answers = {"label": label, "clean/class": right.astype(np.uint8)}
            save_file(answers, cell / "predictions.safetensors")


def test_the_fit_finds_the_model_again(scripts: Any, tmp_path: Path) -> None:
    model = importlib.import_module("verdict_model")
    write_study(tmp_path, scripts, seeds=60, images=1500)
    found = model.fit(tmp_path)
    expected = dataclasses.asdict(made(scripts))
    for name, value in found["spread"].items():
        assert value == pytest.approx(expected[name], abs=0.035), name
    true = model.components(made(scripts))
    for name, value in found["model"].items():
        assert value == pytest.approx(true[name], rel=0.25), name
        assert value == pytest.approx(found["observed"][name], abs=0.05), name
    assert (found["comparisons"], found["seeds"], found["images"]) == (1, 60, 1500)
    # The report's own estimate, from the mean squares of the same answers.
    gain = two_way(right_answers(tmp_path, "conv1") - right_answers(tmp_path, "input"))
    for name, variance in (
        ("seeds", gain.variance_seeds),
        ("images", gain.variance_images),
        ("rest", gain.variance_rest),
    ):
        assert variance is not None
        assert found["observed"][name] == pytest.approx(100 * variance**0.5, abs=2e-3), name


def right_answers(folder: Path, layer: str) -> NDArray[np.float64]:
    cells = [folder / "cells" / f"{layer}-{seed}" for seed in range(60)]
    return np.stack(
        [load_file(cell / "predictions.safetensors")["clean/class"] for cell in cells]
    ).astype(float)


def test_a_study_without_a_comparison_is_refused(scripts: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no hidden layer and input"):
        importlib.import_module("verdict_model").fit(tmp_path)


def test_the_stored_models_are_fits(scripts: Any) -> None:
    stored = json.loads(scripts.STORED.read_text())
    assert [each["study"] for each in stored] == ["fashion_pilot", "paper_small"]
    for each in stored:
        spread = scripts.Spread(**each["spread"])
        assert min(dataclasses.astuple(spread)) >= 0
        assert spread.rest_own > 0
        for name, value in each["model"].items():
            assert value == pytest.approx(each["observed"][name], rel=0.02, abs=0.02)


def shown(columns: int) -> list[list[float]]:
    """The numbers of the page's only table of so many columns."""
    text = PAGE.read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    rows = [row for row in rows if len(row) == columns and set(row[0]) - set("-: ")]
    return [[float(cell.replace(",", "")) for cell in row] for row in rows[1:]]


def above(percent: float, size: float) -> float:
    """`percent`, three errors of the page's simulation with `size` test images, and the rounding of
    a tenth."""
    [text] = re.findall(
        r"([\d,]+) made studies a line at N = 10,000, four times as many", PAGE.read_text()
    )
    studies = int(text.replace(",", "")) * (1 if size == 10_000 else 4)
    return float(percent + 300 * np.sqrt(percent * (100 - percent) / 1e4 / studies) + 0.1)


def test_the_page_shows_what_was_demanded(scripts: Any) -> None:
    """At most 5 % false words and wrong equality, 93 to 97 % coverage, in every line."""
    rows = shown(10)
    grid = {
        (size, n, 100 * gain)
        for size in scripts.IMAGES
        for n in scripts.SEEDS
        for gain in scripts.GAINS
    }
    assert {tuple(row[:3]) for row in rows} == grid
    for size, _, gain, supported, contradicted, equal, undecided, coverage, _, _ in rows:
        assert supported + contradicted + equal + undecided == pytest.approx(100, abs=0.21)
        assert contradicted + (0 if gain else supported) <= above(5, size)
        assert gain < 0.5 or equal <= above(5, size)
        assert 100 - above(7, size) <= coverage <= above(97, size)
    looks = shown(7)
    assert len(looks) == len(scripts.IMAGES) * len(scripts.GAINS)
    for size, gain, supported, contradicted, equal, undecided, seeds in looks:
        assert supported + contradicted + equal + undecided == pytest.approx(100, abs=0.21)
        assert contradicted + (0 if gain else supported) <= above(5, size)
        assert gain < 0.5 or equal <= above(5, size)
        assert 6 <= seeds <= 30


def test_the_page_shows_what_the_script_finds(scripts: Any) -> None:
    """400 studies of 360 images; four errors of their simulation."""
    spread = scripts.Spread(**json.loads(scripts.STORED.read_text())[0]["spread"])
    fixed, auto = scripts.rates(spread, 360, 400, key=9)
    names = (*scripts.WORDS[1:], scripts.WORDS[0], "covered", "former +", "former -")
    for size, n, gain, *percents in shown(10):
        if size == 360:
            count = fixed[gain / 100, n]
            for name, percent in zip(names, percents, strict=True):
                spare = 400 * np.sqrt(max(1.0, percent) * max(1.0, 100 - percent) / 1e4 / 400)
                assert count[name] / 4 == pytest.approx(percent, abs=spare), (n, gain, name)
    for size, gain, *_, seeds in shown(7):
        if size == 360:
            assert auto[gain / 100]["seeds"] / 400 == pytest.approx(seeds, abs=2)
