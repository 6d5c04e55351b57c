"""Accuracy against shift strength: every point of a line is of the same test images."""

from pathlib import Path

import numpy as np
import pytest

from hiddenmix.report.answers import Answers
from hiddenmix.report.comparison import settings_table
from hiddenmix.report.drawing import Drawing, groups, styled
from hiddenmix.report.findings import find
from hiddenmix.report.markdown import markdown
from hiddenmix.report.reading import read_study
from hiddenmix.report.shift_figures import Strengths, shift_curves, strengths
from tests.support.made_study import SHIFTS, made_result, make_study, write_answered, write_cell

FEW = np.arange(0, 40, 4)
"""Positions of the test images that shifts were measured on: 10 of 40."""


def measured(folder: Path, subset: np.ndarray | None = FEW) -> None:
    """Of the shifts' ten images conv1 answers two fewer than image mixup, of all 40 eight more."""
    image_mixing = np.zeros(40, bool)
    image_mixing[FEW[:5]] = True
    conv1 = np.zeros(40, bool)
    conv1[FEW[:3]] = conv1[1:40:4] = True
    for seed in (0, 1):
        for layer, right in (("input", image_mixing), ("conv1", conv1)):
            result = made_result(layer, "siamese", 1.0, seed)
            write_answered(folder, result, right, subset=subset)


def of_layer(folder: Path, layer: str) -> Strengths:
    cells = read_study(folder).cells
    return strengths(cells[cells["layer"] == layer], Answers(folder, cells))


def drawn(folder: Path) -> Drawing:
    study = read_study(folder)
    [group] = groups(study, settings_table(study.cells))
    with styled(["sans-serif"]):
        drawing = shift_curves(group, Answers(folder, study.cells), "siamese")
    assert drawing is not None
    return drawing


def test_strengths_include_the_unchanged_images(tmp_path: Path) -> None:
    write_cell(tmp_path, made_result("conv1", "siamese", 1.0, 4))
    found = of_layer(tmp_path, "conv1")
    assert {f"{family}_{s:g}" for family, points in found.items() for s in points} >= set(SHIFTS)
    assert sorted(found["zoom"]) == [0.6, 0.8, 1.0, 1.2, 1.4]
    accuracy = read_study(tmp_path).cells["accuracy"].iloc[0]
    assert found["zoom"][1.0] == found["rotation"][0.0] == {4: accuracy}


def test_a_line_begins_at_the_images_it_goes_on_with(tmp_path: Path) -> None:
    measured(tmp_path)
    assert of_layer(tmp_path, "input")["rotation"][0.0] == {0: 0.5, 1: 0.5}  # of all: 5 / 40
    found = of_layer(tmp_path, "conv1")
    assert found["rotation"][0.0] == found["zoom"][1.0] == found["fgsm"][0.0]
    assert found["rotation"][0.0] == pytest.approx({0: 0.3, 1: 0.3})  # of all: 13 / 40
    drawing = drawn(tmp_path)
    gains = [bars[0].get_xydata() for bars in drawing.figure.axes[4].containers]
    [conv1] = [points for points in gains if len(points)]
    assert conv1[0].tolist() == pytest.approx([0, -20])  # of all: +20
    assert "accuracy on a fixed stratified 10 of the 40 test images" in drawing.reading
    assert "(n = 2, N = 10)" in drawing.figure.get_suptitle()


def test_without_predictions_the_point_is_left_out_where_the_images_were_fewer(
    tmp_path: Path,
) -> None:
    measured(tmp_path / "few")
    measured(tmp_path / "all", None)
    for path in tmp_path.glob("*/cells/*-conv1-*-s1/predictions.safetensors"):
        path.unlink()
    found = of_layer(tmp_path / "few", "conv1")
    assert sorted(found["rotation"]) == [20, 40]  # of no seed: all points are of the same
    assert sorted(of_layer(tmp_path / "few", "input")["rotation"]) == [0, 20, 40]
    assert "a line lacks the same images undeformed" in drawn(tmp_path / "few").reading
    assert of_layer(tmp_path / "all", "conv1")["rotation"][0.0] == {0: 13 / 40, 1: 13 / 40}
    assert "accuracy on all 40 test images" in drawn(tmp_path / "all").reading


def test_the_table_of_shifts_says_on_which_images_they_were_measured(tmp_path: Path) -> None:
    measured(tmp_path / "few")
    measured(tmp_path / "all", None)
    few, every = (read_study(tmp_path / name) for name in ("few", "all"))
    said = (
        "All of this is on 10 of the 40 test images (evaluation_images): to the accuracies on all"
    )
    assert said in markdown(few, find(few), "few", [])
    assert "All of this is on" not in markdown(every, find(every), "all", [])


def test_panels_have_scales_of_their_own_and_a_lone_gain_stands_at_its_strength(
    tmp_path: Path,
) -> None:
    make_study(tmp_path, layers=("none", "input", "conv1"), seeds=(0, 1, 2), noise=1e-3)
    figure = drawn(tmp_path).figure
    upper, lower = figure.axes[:4], figure.axes[4:8]
    limits = {axis.get_ylim() for axis in upper}
    assert len(limits) == 4
    for axis in lower:
        low, high = axis.get_ylim()
        assert low <= -1
        assert high >= 1
        [points] = [bars[0].get_xydata() for bars in axis.containers if len(bars[0].get_xydata())]
        assert points[:, 0].tolist() == list(axis.get_xticks())
