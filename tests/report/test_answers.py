"""The answers behind a report: of shifts measured on a part of the test images, the same clean ones."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.report.answers import CLEAN, CLEAN_SUBSET, NAME, SHIFTS, Answers
from hiddenmix.report.pairing import compare
from hiddenmix.report.reading import read_study
from tests.support.made_study import made_result, write_answered

ALL, FEW = 40, np.arange(0, 40, 4)


def made(study: Path, subset: np.ndarray | None = FEW) -> None:
    """conv1 gains 8 of the 40 images, and loses 2 of the 10 that the shifts were measured on."""
    image_mixup = np.zeros(ALL, bool)
    image_mixup[FEW[:5]] = True
    conv1 = np.zeros(ALL, bool)
    conv1[FEW[:3]] = conv1[1:40:4] = True
    for seed in range(2):
        for layer, right in (("none", image_mixup), ("input", image_mixup), ("conv1", conv1)):
            mode, alpha = (None, None) if layer == "none" else ("siamese", 1.0)
            result = made_result(layer, mode, alpha, seed)
            write_answered(study, result, right, subset=subset)


def gains(study: Path) -> list[Any]:
    """On all clean images, and on those of the shifts: the mean and N."""
    cells = read_study(study).cells
    answers = Answers(study, cells)
    by_setting = {str(key): group for key, group in cells.groupby("setting")}
    [pair] = {
        (row["setting"], row["baseline"]) for _, row in cells.iterrows() if row["layer"] == "conv1"
    }
    found = [compare([pair], what, by_setting, answers).gain for what in (CLEAN, CLEAN_SUBSET)]
    return [None if gain is None else (round(gain.mean, 9), gain.images) for gain in found]


def test_the_gain_on_the_shifts_images_is_not_that_on_all(tmp_path: Path) -> None:
    made(tmp_path)
    assert gains(tmp_path) == [(0.2, 40), (-0.2, 10)]
    cells = read_study(tmp_path).cells
    kinds = Answers(tmp_path, cells).kinds(cells["cell"][0])
    assert kinds == [CLEAN, SHIFTS]  # it is no question of its own


def test_where_shifts_are_of_all_images_the_two_are_one(tmp_path: Path) -> None:
    made(tmp_path, None)
    assert gains(tmp_path) == [(0.2, 40), (0.2, 40)]


@pytest.mark.parametrize("subset", [FEW, None], ids=["few", "all"])
def test_a_published_report_keeps_them(tmp_path: Path, subset: np.ndarray | None) -> None:
    study, copy = tmp_path / "study", tmp_path / "copy"
    made(study, subset)
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("predictions.safetensors"))
    assert gains(copy)[1] is None  # seeds alone know nothing of single images
    (copy / "report").mkdir()
    (copy / "report" / NAME).write_bytes(Answers(study, read_study(study).cells).content())
    assert gains(copy) == gains(study)
