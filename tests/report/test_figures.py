"""The figures: what they show, and that no result can break them."""

import io
import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hiddenmix.report.answers import Answers
from hiddenmix.report.comparison import settings_table
from hiddenmix.report.curves import reliability
from hiddenmix.report.drawing import Drawing, Group, groups, line_handles, small, spread
from hiddenmix.report.figures import accuracy_by_layer, draw, gain_heat_map
from hiddenmix.report.reading import Study, read_study
from tests.support.made_study import made_result, make_study, write_cell


def _read(folder: Path) -> tuple[Study, list[Group]]:
    study = read_study(folder)
    assert study.problems == []
    return study, groups(study, settings_table(study.cells))


def _drawings(folder: Path) -> dict[str, Drawing]:
    study, (group, *_) = _read(folder)
    answers = Answers(study.folder, study.cells)
    return {drawing.name: drawing for drawing in draw(group, study, answers)}


def _texts(drawing: Drawing) -> list[str]:
    root = ET.fromstring(drawing.save("svg"))  # noqa: S314  # our own file
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_whole_set_with_units_and_n(tmp_path: Path) -> None:
    modes, alphas = ("siamese", "triplet"), (0.2, 1.0)
    made = make_study(tmp_path, modes=modes, alphas=alphas, seeds=(0, 1, 2), epochs=6)
    found = _drawings(made)
    assert list(found) == [
        *("accuracy_by_layer", "gain_heat_map", "shift_siamese", "shift_triplet"),
        *("by_class_siamese", "by_class_triplet", "learning_curves", "calibration"),
    ]
    texts = {name: _texts(drawing) for name, drawing in found.items()}
    for name, drawing in found.items():
        width, height = struct.unpack(">II", drawing.save("png")[16:24])
        assert 300 < height < 2500
        assert 300 < width < 2500
        assert any("n = 3" in text for text in texts[name])
        assert any("Digits, cnn" in text for text in texts[name])
        assert len(drawing.reading) > 100
    assert "test accuracy (%)" in texts["accuracy_by_layer"]
    assert "gain (percentage points)" in texts["gain_heat_map"]
    assert {"largest change (1/255)", "share of the side"} <= {*texts["shift_siamese"]}
    assert {"training loss (nats)", "epoch"} <= {*texts["learning_curves"]}
    assert "mean confidence (%)" in texts["calibration"]


def test_a_palette_changes_no_colour_that_one_could_see() -> None:
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    colours = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#555555"]
    for place, colour in enumerate(colours):
        axes.bar(place, 1, 1, color=colour)
    axes.set(xlim=(-0.5, 4.5), ylim=(0, 1))
    whole = Drawing("bars", "", "", figure).save("png")
    with Image.open(io.BytesIO(small(whole))) as image:
        assert image.mode == "P"
        shown = image.convert("RGB")
    for place, colour in enumerate(colours):
        got = shown.getpixel((round((place + 0.5) * shown.width / 5), shown.height // 2))
        assert isinstance(got, tuple)
        assert np.abs(np.subtract(got, [int(colour[i : i + 2], 16) for i in (1, 3, 5)])).max() <= 2


def test_the_scale_of_a_heat_map_keeps_its_shades() -> None:
    """128 colours drew bands into it."""
    content = io.BytesIO()
    shades = np.zeros((4, 256, 4), np.uint8)
    shades[..., 0], shades[..., 2] = np.arange(256), np.arange(256)[::-1]
    shades[..., 3] = 255
    Image.fromarray(shades).save(content, "png")

    def colours(shades: bool) -> int:
        with Image.open(io.BytesIO(small(content.getvalue(), shades))) as image:
            return len(image.convert("RGB").getcolors(1000) or ())

    assert (colours(shades=False), colours(shades=True)) == (128, 256)


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    made = make_study(tmp_path, seeds=(0, 1), epochs=3)
    first, second = _drawings(made), _drawings(made)
    for name, drawing in first.items():
        assert drawing.save("svg") == second[name].save("svg")
    assert first["calibration"].save("png") == second["calibration"].save("png")


def test_the_users_own_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    """`text.usetex` would ask for LaTeX, and a larger font would not fit."""
    made = make_study(tmp_path, seeds=(0, 1), layers=("none", "input", "conv1"))
    own = {
        "text.usetex": True,
        "font.size": 20,
        "savefig.bbox": "tight",
        "axes.unicode_minus": False,
    }
    before = {name: drawing.save("svg") for name, drawing in _drawings(made).items()}
    with mpl.rc_context(own):
        after = {name: drawing.save("svg") for name, drawing in _drawings(made).items()}
        assert mpl.rcParams["font.size"] == 20
    assert after == before


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
    [stars] = [text.get_text() for text in figure.texts if "*:" in text.get_text()]
    assert "p < 0.05, paired t-test over seeds, for this test set" in stars
    assert "**: also after Holm's correction" in stars


def test_a_heat_map_explains_the_stars_it_has(tmp_path: Path) -> None:
    figure = _drawings(make_study(tmp_path, seeds=(0,)))["gain_heat_map"].figure
    told = [text.get_text() for text in figure.texts]
    assert "no gain with p < 0.05, paired t-test over seeds" in told
    assert not any("*:" in text for text in told)


def test_small_gains_are_pale(tmp_path: Path) -> None:
    """Or a difference of a tenth of a point would have the darkest colour."""
    made = make_study(tmp_path, layers=("none", "input", "conv1"), noise=1e-4)
    _, [group] = _read(made)
    drawing = gain_heat_map(group)
    assert drawing is not None
    assert drawing.figure.axes[0].images[0].get_clim() == (-1, 1)
    assert drawing.shades


def test_the_line_of_two_images_is_not_the_baseline_of_three(tmp_path: Path) -> None:
    made = make_study(tmp_path, modes=("siamese", "triplet"), seeds=(0, 1))
    _, [group] = _read(made)
    [legend] = accuracy_by_layer(group).figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        *("siamese", "triplet", "image mixup of two", "plain (no mixing)", "95 % interval")
    ]
    lines = [handle.get_label() for handle in line_handles(group, group.lines("triplet"))]
    assert lines[1:3] == ["image mixup of two", "image mixup, triplet"]


def test_no_global_state_is_left(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for drawing in list(_drawings(make_study(tmp_path, seeds=(0, 1))).values())[:3]:
        drawing.save("png")
    assert dict(mpl.rcParams) == before


def _strange(**changes: Any) -> dict[str, Any]:
    return made_result("conv1", "siamese", 1.0, 0) | changes


@pytest.mark.parametrize(
    "result",
    [
        _strange(
            title="100 $ and $x^{ & <b> 数字",
            layer="features.0.very_long_name_of_a_layer.block.12.activation",
            mode="四 $x^{ ../quartet",
            alpha=1e-5,
        ),
        _strange(
            title="長い名前 " * 40,
            shift={"rotation_20": {"accuracy": 0.5}, "odd": {"accuracy": 0.5}},
        ),
        _strange(
            shift={"new_kind_3": {"accuracy": 0.5}, "x_nan": {"accuracy": 0.5}},
            outside={"a:fog_1": {"accuracy": 0.5}, "b": {"accuracy": 0}, "c:": {"accuracy": 1}},
        ),
        _strange(
            shift={},
            adversarial={},
            calibration={"confidence": [None], "accuracy": [None], "count": [0]},
        ),
    ],
    ids=["names", "long-title-and-one-shift", "new-shift-and-outside", "nothing-measured"],
)
def test_single_strange_cells_are_drawn(tmp_path: Path, result: dict[str, Any]) -> None:
    write_cell(tmp_path, result)
    for drawing in _drawings(tmp_path).values():
        assert re.fullmatch(r"[a-z0-9_.]+", drawing.name)
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


def test_reliability_pools_by_count() -> None:
    first = {"confidence": [0.2, 0.8], "accuracy": [0.0, 1.0], "count": [5.0, 30.0]}
    second = {"confidence": [0.2, 0.9], "accuracy": [0.0, 0.5], "count": [14.0, 10.0]}
    [(confidence, accuracy)] = reliability([first, None, second])  # 19 of two networks: too few
    assert (confidence, accuracy) == pytest.approx((33 / 40, 35 / 40))


def test_a_bin_of_one_image_is_not_of_ten_for_ten_seeds() -> None:
    one = {"confidence": [0.2, 0.8], "accuracy": [0.0, 0.7], "count": [1.0, 10.0]}
    [point] = reliability([one] * 10)
    assert point == pytest.approx((0.8, 0.7))


def test_spread_keeps_both_ends() -> None:
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread([1, 2], 4) == [1, 2]


# Axes, titles and names


def _result(layer: str, seed: int) -> dict[str, Any]:
    plain = layer == "none"
    return made_result(layer, None if plain else "siamese", None if plain else 1.0, seed)


def test_axes_of_accuracies_end_at_0_and_100_and_those_of_epochs_are_whole(tmp_path: Path) -> None:
    perfect = {f"{name}_{level}": {"accuracy": 1.0} for name in ("blur", "new") for level in (1, 2)}
    outside = {"c:fog_1": {"accuracy": 1.0}, "c:fog_2": {"accuracy": 0.0}, "d": {"accuracy": 0.99}}
    for seed, accuracy in enumerate((0.98, 1.0, 1.0)):
        for layer in ("none", "input", "conv1"):
            result = _result(layer, seed)
            right = [36, 36, 0, int(36 * accuracy), *([36] * 6)]
            result["test"] |= {"accuracy": accuracy, "class_right": right}
            write_cell(tmp_path, result | {"shift": perfect, "outside": outside}, epochs=2)
    found = _drawings(tmp_path)
    accuracies = epochs = 0
    for drawing in found.values():
        drawing.save("png")
        for axis in drawing.figure.axes:
            for part in (axis.xaxis, axis.yaxis):
                name, ticks = part.get_label_text(), part.get_majorticklocs()
                if "accuracy" in name or "confidence" in name:
                    accuracies += 1
                    assert 0 <= min(part.get_view_interval()) < max(part.get_view_interval()) <= 100
                    assert len(ticks) >= 2
                    assert 0 <= min(ticks) < max(ticks) <= 100
                if name == "epoch":
                    epochs += 1
                    assert len(ticks) >= 1
                    assert all(tick == int(tick) for tick in ticks)
    assert (accuracies, epochs) == (8, 2)
    # At (98 + 100 + 100) / 3 the interval would reach above 100.
    [bar] = found["accuracy_by_layer"].figure.axes[0].containers[:1]
    assert max(end[1] for segment in bar[2][0].get_segments() for end in segment) == 100


def test_files_of_several_groups_are_told_apart_by_name_and_title(tmp_path: Path) -> None:
    long = {"title": "Microscopy of cells, a data set with a long title of its own, 2024 edition"}
    for key, lr in (("1" * 8, 0.05), ("2" * 8, 0.1)):
        for layer in ("input", "conv1"):
            write_cell(tmp_path, made_result(layer, "siamese", 1.0, 0, variant=key, lr=lr) | long)
    study, found = _read(tmp_path)
    names, titles = set(), set()
    for number, group in enumerate(found, start=1):
        for drawing in draw(group, study, Answers(tmp_path, study.cells), f"{number}_"):
            suptitle = drawing.figure.get_suptitle().replace("\n", " ")
            assert suptitle.endswith(group.label)
            assert drawing.name.startswith(f"{number}_microscopy_of_cells")
            names.add(drawing.name.removeprefix(f"{number}_"))
            titles.add(suptitle)
            axis = drawing.figure.axes[0]
            top = axis.get_position().y1 * drawing.figure.get_figheight()
            lines = drawing.figure.get_suptitle().count("\n") + 1
            assert drawing.figure.get_figheight() - top > 0.17 * lines + 0.2
    assert len(names) == len(titles) == 2 * 5
    assert {"lr_0.05" in name or "lr_0.1" in name for name in names} == {True}


# By class


def _by_class(tmp_path: Path, names: list[str], right: list[int]) -> Drawing | None:
    for layer in ("none", "input"):
        for seed in (0, 1):
            result = _result(layer, seed)
            result["data"]["classes"] = names
            counts = [1_000 + label for label in range(len(names))]
            result["test"] |= {"class_count": counts, "class_right": [n + seed for n in right]}
            result["test"]["balanced_accuracy"] = 0.5 + 0.1 * seed
            write_cell(tmp_path, result)
    return _drawings(tmp_path).get("by_class_siamese")


def test_by_class_shows_every_class_with_its_images_and_balanced_accuracy(tmp_path: Path) -> None:
    names = ["cat", "a dog of a breed with a name that goes on and on, and on", "cow"]
    drawing = _by_class(tmp_path, names, [0, 500, 1_000])
    assert drawing is not None
    [axis] = drawing.figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert (labels[0], labels[2]) == ("cat (1,000)", "cow (1,002)")
    assert max(map(len, labels[1].split("\n"))) <= 26 + len(" (1,001)")
    assert labels[1].startswith("a dog of a breed")
    plain, image = (bars[0].get_xydata() for bars in axis.containers)
    assert list(plain[:, 0]) == pytest.approx([0.05, 100 * 500.5 / 1_001, 100 * 1_000.5 / 1_002])
    for place in range(3):  # from above, in a class the settings below each other
        assert place - 0.5 < plain[place, 1] < image[place, 1] < place + 0.5
    assert axis.yaxis_inverted()
    assert "plain (no mixing): balanced 55.00 ± 63.53 %" in _texts(drawing)


@pytest.mark.parametrize(("classes", "drawn"), [(20, True), (21, False), (0, False)])
def test_by_class_needs_classes_and_at_most_20(tmp_path: Path, classes: int, drawn: bool) -> None:
    drawing = _by_class(tmp_path, [str(n) for n in range(classes)], [7] * classes)
    assert (drawing is not None) == drawn


def test_classes_that_shorten_to_one_name_are_numbered(tmp_path: Path) -> None:
    names = [f"Latin name of a genus {'x' * 30} {n} {'y' * 30} of the family" for n in (1, 2)]
    drawing = _by_class(tmp_path, names, [5, 6])
    assert drawing is not None
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert [label[:9] for label in labels] == ["1 Latin n", "2 Latin n"]


# Outside sets


def _outside(tmp_path: Path, corruptions: int = 2, sets: int = 1, whole: int = 1) -> None:
    """At severity s a plain network loses 0.1 s, image mixup 0.01 more and conv1 0.02 less."""
    for layer, loss in (("none", 0.0), ("input", 0.01), ("conv1", -0.02)):
        for seed in (0, 1, 2):
            base = 0.9 - loss + 0.01 * seed
            found = {
                f"c{n}:kind{k}_{s}": {"accuracy": base - 0.1 * s + 0.02 * k, "nll": 1.0}
                for n in range(sets)
                for k in range(corruptions)
                for s in range(1, 6)
            }
            found |= {f"w{n}": {"accuracy": base - 0.3} for n in range(whole)}
            if (layer, seed) == ("conv1", 2):
                found.pop(f"c0:kind{corruptions - 1}_5", None)
            write_cell(tmp_path, _result(layer, seed) | {"outside": found})


def test_severities_are_drawn_as_means_over_what_every_network_has(tmp_path: Path) -> None:
    _outside(tmp_path, corruptions=3)
    drawing = _drawings(tmp_path)["outside_severity_siamese"]
    upper, lower = drawing.figure.axes
    assert [tick.get_text() for tick in lower.get_xticklabels()] == list("12345")
    plain, image, conv1 = (bars[0].get_xydata() for bars in upper.containers)
    # kind2 lacks a severity on one network; the mean of kind0 and kind1 is 0.01 above kind0.
    assert list(plain[:, 1]) == pytest.approx([100 * (0.92 - 0.1 * s) for s in range(1, 6)])
    assert list(image[:, 0]) == [1, 2, 3, 4, 5]
    assert list(conv1[:, 1] - image[:, 1]) == pytest.approx([3] * 5)
    gains = [bars[0].get_xydata() for bars in lower.containers]
    assert [len(points) for points in gains] == [0, 0, 5]
    assert list(gains[2][:, 1]) == pytest.approx([3] * 5)
    assert "(c0: 2)" in drawing.reading
    assert "left out for they were not measured" in drawing.reading
    assert drawing.reading.endswith("kind2.")
    assert {"severity", "gain (points)", "test accuracy (%)"} <= {*_texts(drawing)}


def test_sets_without_severity_are_rows_of_accuracy_and_gain(tmp_path: Path) -> None:
    _outside(tmp_path, sets=0, whole=14)
    found = _drawings(tmp_path)
    assert "outside_severity_siamese" not in found
    drawing = found["outside_sets_siamese"]
    left, right = drawing.figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [f"w{n}" for n in range(12)]
    assert drawing.reading.endswith("Not drawn, for want of room: w12, w13.")
    plain, _, conv1 = (bars[0].get_xydata()[:, 0] for bars in left.containers)
    assert list(plain) == pytest.approx([61] * 12)
    assert list(conv1) == pytest.approx([63] * 12)
    assert [len(bars[0].get_xydata()) for bars in right.containers] == [0, 0, 12]
    assert list(right.containers[2][0].get_xydata()[:, 0]) == pytest.approx([3] * 12)


def test_of_many_sets_with_severities_four_are_drawn_and_the_rest_named(tmp_path: Path) -> None:
    _outside(tmp_path, sets=6)
    drawing = _drawings(tmp_path)["outside_severity_siamese"]
    assert len(drawing.figure.axes) == 8
    assert "Not drawn, for want of room: c4, c5." in drawing.reading
