"""The figures: what they show, and that no result can break them."""

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from hiddenmix.report.comparison import settings_table
from hiddenmix.report.curves import reliability, strengths
from hiddenmix.report.drawing import Drawing, Group, groups, spread
from hiddenmix.report.figures import draw
from hiddenmix.report.results import Study, read_study
from tests.support.made_study import SHIFTS, made_result, make_study, write_cell


def _read(folder: Path) -> tuple[Study, list[Group]]:
    study = read_study(folder)
    assert study.problems == []
    return study, groups(study, settings_table(study.cells))


def _drawings(folder: Path) -> dict[str, Drawing]:
    study, (group, *_) = _read(folder)
    return {drawing.name: drawing for drawing in draw(group, study)}


def _texts(drawing: Drawing) -> list[str]:
    root = ET.fromstring(drawing.save("svg"))  # noqa: S314  # our own file
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_whole_set_with_units_and_n(tmp_path: Path) -> None:
    modes, alphas = ("siamese", "triplet"), (0.2, 1.0)
    made = make_study(tmp_path, modes=modes, alphas=alphas, seeds=(0, 1, 2), epochs=6)
    found = _drawings(made)
    assert list(found) == [
        *("accuracy_by_layer", "gain_heat_map", "shift_siamese", "shift_triplet"),
        *("learning_curves", "calibration"),
    ]
    for drawing in found.values():
        width, height = struct.unpack(">II", drawing.save("png")[16:24])
        assert 300 < height < 2500
        assert 300 < width < 2500
        assert any("n = 3" in text for text in _texts(drawing))
        assert any("Digits, cnn" in text for text in _texts(drawing))
        assert len(drawing.reading) > 100
    assert "test accuracy (%)" in _texts(found["accuracy_by_layer"])
    assert "gain (percentage points)" in _texts(found["gain_heat_map"])
    assert {"largest change (1/255)", "share of the side"} <= {*_texts(found["shift_siamese"])}
    assert {"training loss (nats)", "epoch"} <= {*_texts(found["learning_curves"])}
    assert "mean confidence (%)" in _texts(found["calibration"])


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    made = make_study(tmp_path, seeds=(0, 1), epochs=3)
    first, second = _drawings(made), _drawings(made)
    for name, drawing in first.items():
        assert drawing.save("svg") == second[name].save("svg")
        assert drawing.save("png") == second[name].save("png")


def test_accuracy_by_layer_stands_in_order_of_depth(tmp_path: Path) -> None:
    made = make_study(tmp_path, layers=("none", "input", "conv2", "fc1", "conv1", "pool1"))
    axis = _drawings(made)["accuracy_by_layer"].figure.axes[0]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == ["input", "conv1", "pool1", "conv2", "fc1"]


def test_heat_map_marks_what_differs_and_blanks_the_baseline(tmp_path: Path) -> None:
    made = make_study(tmp_path, gain=lambda layer, *_: 0.1 if layer == "conv1" else 0.0)
    figure = _drawings(made)["gain_heat_map"].figure
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "baseline" in texts
    [gain] = [text for text in texts if text.startswith(("+9.", "+10."))]
    assert gain.endswith("**")
    limits = figure.axes[0].images[0].get_clim()
    assert limits[0] == -limits[1]  # the colours' middle is no gain


def test_no_global_state_is_left(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for drawing in _drawings(make_study(tmp_path, seeds=(0, 1))).values():
        drawing.save("png")
    assert dict(mpl.rcParams) == before


def _strange(**changes: Any) -> dict[str, Any]:
    return made_result("conv1", "siamese", 1.0, 0) | changes


@pytest.mark.parametrize(
    "result",
    [
        _strange(title="100 $ and $x^{ & <b> 数字"),
        _strange(layer="features.0.very_long_name_of_a_layer.block.12.activation"),
        _strange(shift={}, adversarial={}),
        _strange(shift={"rotation_20": {"accuracy": 0.5}, "odd": {"accuracy": 0.5}}),
        _strange(shift={"new_kind_3": {"accuracy": 0.5}, "x_nan": {"accuracy": 0.5}}),
        _strange(mode="quartet"),
        _strange(alpha=1e-5),
        _strange(calibration={"confidence": [None], "accuracy": [None], "count": [0]}),
    ],
    ids=["title", "name", "no-shift", "one-shift", "new-shift", "new-mode", "alpha", "empty-bins"],
)
def test_single_strange_cells_are_drawn(tmp_path: Path, result: dict[str, Any]) -> None:
    write_cell(tmp_path, result)
    for drawing in _drawings(tmp_path).values():
        assert drawing.save("png")
        ET.fromstring(drawing.save("svg"))  # noqa: S314  # our own file


def test_many_layers_and_alphas_are_bounded(tmp_path: Path) -> None:
    layers = ["none", "input", *(f"features.{n}" for n in range(12))]
    alphas = [round(0.1 * n, 1) for n in range(1, 13)]
    made = make_study(tmp_path, layers=layers, alphas=alphas, seeds=(0,))
    _, [group] = _read(made)
    shown = [row["layer"] for row in group.lines("siamese")]
    assert len(shown) == 7
    assert shown[:3] == ["none", "input", "features.0"]
    assert shown[-1] == "features.11"
    assert len(_drawings(made)["accuracy_by_layer"].figure.axes) == 9


def test_line_charts_show_alpha_1_or_that_of_most_cells(tmp_path: Path) -> None:
    make_study(tmp_path / "a", alphas=(0.2, 1.0, 4.0), seeds=(0,))
    assert _read(tmp_path / "a")[1][0].chosen_alpha() == 1
    make_study(tmp_path / "b", alphas=(0.2, 0.5), layers=("input",), seeds=(0,))
    write_cell(tmp_path / "b", made_result("input", "siamese", 0.2, 1))
    assert _read(tmp_path / "b")[1][0].chosen_alpha() == 0.2


def test_a_triplet_chart_shows_the_image_mixup_of_two(tmp_path: Path) -> None:
    made = make_study(tmp_path, modes=("siamese", "triplet"), seeds=(0, 1))
    lines = _read(made)[1][0].lines("triplet")
    assert [(row["layer"], row["mode"]) for row in lines[:3]] == [
        ("none", None),
        ("input", "siamese"),
        ("input", "triplet"),
    ]


def test_strengths_include_the_unchanged_images(tmp_path: Path) -> None:
    write_cell(tmp_path, made_result("conv1", "siamese", 1.0, 4))
    study = read_study(tmp_path)
    found = strengths(study.cells)
    assert {f"{family}_{s:g}" for family, points in found.items() for s in points} >= set(SHIFTS)
    assert sorted(found["zoom"]) == [0.6, 0.8, 1.0, 1.2, 1.4]
    assert found["zoom"][1.0] == found["rotation"][0.0] == {4: study.cells["accuracy"].iloc[0]}


def test_reliability_pools_by_count() -> None:
    first = {"confidence": [0.2, 0.8], "accuracy": [0.0, 1.0], "count": [5.0, 30.0]}
    second = {"confidence": [0.2, 0.9], "accuracy": [0.0, 0.5], "count": [4.0, 10.0]}
    [(confidence, accuracy)] = reliability([first, None, second])  # 9 images: too few
    assert (confidence, accuracy) == pytest.approx((33 / 40, 35 / 40))


def test_spread_keeps_both_ends() -> None:
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread([1, 2], 4) == [1, 2]
