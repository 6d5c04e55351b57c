"""Settings of any number of images K in tables, factors and figures."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hiddenmix.report.comparison import settings_table
from hiddenmix.report.drawing import groups
from hiddenmix.report.figures import accuracy_by_layer
from hiddenmix.report.findings import find
from hiddenmix.report.reading import read_study
from tests.support.made_study import make_study, write_answers

MODES = ("siamese", "triplet", "4", "12")


def test_k_is_a_factor_of_numbers(tmp_path: Path) -> None:
    """Each image more costs half a point, at any layer."""
    costs = dict(zip(MODES, (0.0, 0.005, 0.01, 0.05), strict=True))
    settings = [(layer, mode, 1.0) for layer in ("input", "conv1") for mode in MODES]
    write_answers(
        tmp_path, settings, range(3), 1000, lambda layer, mode, alpha: 0.8 - costs[mode or ""]
    )
    found = find(read_study(tmp_path), None)
    images = {each.level: each for each in found.effects if each.factor == "K"}
    assert list(images) == ["3", "4", "12"]
    for level, mode in (("3", "triplet"), ("4", "4"), ("12", "12")):
        assert (images[level].reference, images[level].pairs) == ("2", 2)
        assert images[level].gain.mean == pytest.approx(-costs[mode], abs=0.001)


def test_modes_stand_by_their_number_of_images(tmp_path: Path) -> None:
    study = read_study(make_study(tmp_path, modes=MODES, seeds=(0, 1), layers=("none", "input")))
    table = settings_table(study.cells)
    assert list(table["mode"]) == [None, *MODES]
    [group] = groups(study, table)
    assert group.modes() == list(MODES)
    assert len(set(group.mode_styles().values())) == len(MODES)
    drawing = accuracy_by_layer(group)
    root = ET.fromstring(drawing.save("svg"))  # noqa: S314  # our own file
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"siamese", "triplet", "4 images", "12 images"} <= set(texts)
