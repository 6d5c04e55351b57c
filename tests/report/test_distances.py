"""Gain against distance from image mixing, from tables as `hiddenmix.evaluate --distance` writes them."""

import json
import lzma
from itertools import combinations, permutations
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.transforms import Bbox
from scipy.stats import permutation_test, rankdata, spearmanr

from hiddenmix.report.__main__ import main
from hiddenmix.report.distance_figure import distance_figure
from hiddenmix.report.distances import Place, answer, correlations, distances
from hiddenmix.report.drawing import Drawing
from hiddenmix.report.factors import effects
from hiddenmix.report.findings import find
from hiddenmix.report.reading import read_study
from hiddenmix.report.two_way import Gain
from tests.support.commands import unrendered
from tests.support.made_study import write_answers

LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3")
SETTINGS = (
    ("none", None, None),
    *((layer, "siamese", 1.0) for layer in ("input", *LAYERS)),
)
DISTANCE = {"input": 0.0, **dict(zip(LAYERS, (0.2, 0.3, 0.5, 0.4, 0.6), strict=True))}
RISING = dict(zip(LAYERS, (0.02, 0.04, 0.08, 0.06, 0.1), strict=True))
HEADER = (
    "cell,test_images,layer,images,weights,initial_distance,distance,initial_batch_distance,"
    "batch_distance,cross_entropy,kl,total_variation,in_classes\n"
)


def made(folder: Path, gains: dict[str, float], digest: str = "1") -> Path:
    """A study of two seeds on 200 images, in which layers gain so much, and its table of distances."""
    layers = {"none", "input", *gains}
    write_answers(
        folder,
        [each for each in SETTINGS if each[0] in layers],
        range(2),
        200,
        lambda layer, mode, alpha: 0.6 + gains.get(layer, 0.0),
        title="Digits",
        digest=digest * 32,
        full=False,
    )
    rows = []
    for cell in sorted(path.name for path in (folder / "cells").iterdir()):
        trained, seed = cell.split("-")[2], int(cell[-1])
        for layer, value in DISTANCE.items():
            shown = value + 0.1 * seed * (value > 0)
            start = f"{cell},200,{layer},2"
            if trained == "none":
                rest = f"{1 - value},{shown},0,0,{2 - value},{1 - value},0.4,0.75"
                rows += [f"{start},equal,{rest}", f"{start},drawn,9,9,9,9,9,9,9,9"]
            elif trained == "conv1" and layer == "conv2":
                rows.append(f"{start},equal,,9,,0,,,,")  # of one of a list of layers
            elif trained == layer != "input":
                rows.append(f"{start},equal,,{value / 2},,0,,,,")
    (folder / "mixing_distance.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return folder


def test_the_table_has_the_means_and_the_factors_gains(tmp_path: Path) -> None:
    folder = made(tmp_path / "one", RISING)
    found = find(read_study(folder))
    assert [each.layer for each in found.places] == ["input", *LAYERS]
    gains = {each.level: each.gain for each in found.effects if each.factor == "layer"}
    for each in found.places:
        value = DISTANCE[each.layer]
        seeds = 0.05 if value else 0.0  # the mean over the two of them
        assert each.networks == 2
        assert each.values["distance"] == pytest.approx(value + seeds)
        assert each.values["initial_distance"] == pytest.approx(1 - value)
        assert each.values["in_classes"] == 0.75
        assert each.gain == gains.get(each.layer)
        if each.layer != "input":
            assert each.values["mixed_distance"] == pytest.approx(value / 2)


def test_layers_stand_as_the_network_executes_them(tmp_path: Path) -> None:
    """Those that were measured and never mixed too; one result that records the order is enough."""
    folder = made(tmp_path / "one", {"conv1": 0.02})
    path = folder / "cells/digits-cnn-none-00000000-s1/result.json"
    order = ["input", *reversed(LAYERS)]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers": order}))
    assert [each.layer for each in find(read_study(folder)).places] == order


def test_the_rank_correlation_is_that_of_a_count_by_hand(tmp_path: Path) -> None:
    """Five layers: 120 permutations."""
    gains = RISING | {"pool1": 0.09}
    places = find(read_study(made(tmp_path / "one", gains))).places
    [tested, before, reading] = correlations(places)
    ranks = np.array([each.gain.mean for each in places if each.gain]).argsort().argsort()
    assert ranks.tolist() == [0, 3, 2, 1, 4]
    distance_ranks = np.array([0, 1, 3, 2, 4])

    def rho(order: np.ndarray) -> float:
        return float(1 - 6 * ((order - distance_ranks) ** 2).sum() / (5 * 24))

    every = [rho(np.array(order)) for order in permutations(range(5))]
    one_sided = np.mean([each >= rho(ranks) - 1e-9 for each in every])
    assert (tested.measure, tested.n) == ("distance", 5)
    assert tested.rho == pytest.approx(rho(ranks))
    assert tested.p == pytest.approx(2 * one_sided)
    assert [before.rho, reading.rho] == pytest.approx([-rho(ranks)] * 2)
    assert before.p is reading.p is None
    assert "that the distance explains the gains is not shown." in answer(places)


def place(title: str, layer: str, distance: float, gain: float) -> Place:
    return Place(title, "cnn", layer, 6, {"distance": distance}, Gain(gain, 6, 100))


def test_data_sets_that_differ_in_both_are_no_correlation() -> None:
    """Within each of three data sets farther layers gain less; data sets of large distances gain more."""
    places = [
        place(f"set {number}", f"conv{layer}", 10 * number + layer, number - 0.1 * layer)
        for number in range(3)
        for layer in range(3)
    ]
    [tested] = correlations(places)
    assert (tested.n, tested.networks) == (9, 3)
    assert tested.rho == pytest.approx(-1)
    # each of three orders of three layers: all rising or all falling, of 6 ** 3
    assert tested.p == tested.fewest == pytest.approx(2 / 216)
    assert (
        "(p = 0.009, by permutation within each): layers farther from image mixing gain less."
        in (answer(places))
    )


def test_a_single_layer_of_a_data_set_is_ranked_with_none() -> None:
    places = [place("one", f"conv{layer}", layer, layer**2) for layer in range(3)]
    alone = place("two", "conv1", 5, -1)
    assert correlations([*places, alone]) == correlations(places)
    assert correlations([*places[:2], alone]) == []


def test_the_p_of_many_layers_is_near_that_of_scipy() -> None:
    """Eight layers have more orders than are counted."""
    generator = np.random.default_rng(1)
    pairs = generator.normal(size=(8, 2))
    pairs[:, 1] += 0.7 * pairs[:, 0]
    places = [place("one", f"conv{at}", x + 9, y) for at, (x, y) in enumerate(pairs)]
    ours, theirs = rankdata(pairs, axis=0).T - 4.5
    expected = permutation_test(
        (theirs,),
        lambda gains: ours @ gains,
        permutation_type="pairings",
        vectorized=False,
        n_resamples=40_320,
    )
    [tested] = correlations(places)
    assert tested.rho == pytest.approx(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
    assert tested.p == pytest.approx(expected.pvalue, abs=0.02)


def test_the_report_says_and_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Drawing.save
    monkeypatch.setattr(
        Drawing, "save", lambda each, suffix: save(each, suffix) if each.name == "distance" else b""
    )
    monkeypatch.setattr("hiddenmix.report.writing._LARGE", 100_000)  # its texts are looked at
    folder, output = made(tmp_path / "one", RISING), tmp_path / "published"
    assert main([str(folder), "--output", str(output)]) == 0
    text = (output / "report.md").read_text()
    assert (
        "**Distance**: over n = 5 layers, the rank correlation of gain and distance from image mixing is "
        "ρ = +1.00 (p = 0.017, by permutation): layers farther from image mixing gain more. "
    ) in text
    assert "ρ = −1.00 with the distance before training and −1.00 with how badly mixed maps" in text
    assert "| conv2   |          2 |       0.500 |     0.550 |        0.250 |" in text
    copied = lzma.decompress((output / "mixing_distance.csv.xz").read_bytes())
    assert copied == (folder / "mixing_distance.csv").read_bytes()
    again = find(read_study(output)).places
    assert [each.values for each in again] == [
        each.values for each in find(read_study(folder)).places
    ]
    stored = json.loads((output / "verdict.json").read_text())["distances"]
    assert stored["correlations"][0]["rho"] == pytest.approx(1)
    assert [each["layer"] for each in stored["layers"]] == ["input", *LAYERS]
    assert (output / "distance.png").is_file()
    root = ET.parse(output / "distance.svg").getroot()  # noqa: S314  # our own file
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(LAYERS) <= {*texts}
    assert "gain over image mixup (points)" in texts


def test_several_studies_are_correlated_over_all_their_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrendered(monkeypatch)
    folders = [
        made(tmp_path / "one", {"conv1": 0.02, "conv2": 0.08, "conv3": 0.1}, "1"),
        made(tmp_path / "two", {"conv1": 0.04, "conv3": 0.1}, "2"),
    ]
    output = tmp_path / "both"
    assert main([*map(str, folders), "--output", str(output)]) == 0
    text = (output / "report.md").read_text()
    assert (
        "**Distance**: over n = 5 layers within 2 data sets and networks, the rank correlation of gain "
        "and distance from image mixing is ρ = +1.00 (p = 0.17, by permutation within each): that "
    ) in text
    assert (
        "With so few layers p cannot fall below 0.17." in text
    )  # three layers and two: 2 of 12 orders
    assert "| Digits (two) |" in text
    assert "![Gain against distance from image mixing](distance.png)" in text
    assert json.loads((output / "verdict.json").read_text())["distances"]["layers"][0]["title"]


def with_interval(title: str, layer: str, distance: float, mean: float, half: float) -> Place:
    gain = Gain(mean, 6, 100, low=mean - half, high=mean + half)
    return Place(title, "cnn", layer, 6, {"distance": distance, "kl": 1 - distance}, gain)


THREE = [
    with_interval("one", "conv1", 0.26, 0.0037, 0.0038),
    with_interval("one", "conv2", 0.36, 0.0053, 0.0048),
    with_interval("one", "conv3", 0.31, 0.0043, 0.0041),
]
NEAR = [
    with_interval("two", "conv1", 0.41, -0.0017, 0.0025),
    with_interval("three", "conv1", 0.44, 0.0005, 0.0039),
]


def test_the_figure_counts_the_layers_that_are_ranked() -> None:
    drawing = distance_figure([*THREE, *NEAR])
    assert drawing is not None
    [tested] = [each for each in correlations([*THREE, *NEAR]) if each.measure == "distance"]
    assert tested.n == 3
    assert "(n = 3 layers ranked)" in drawing.figure.get_suptitle()
    assert drawing.reading.endswith(
        "n = 3 layers; hollow points, 2 of 5, have no other layer beside them."
    )


@pytest.mark.parametrize("places", [THREE[:2], [*THREE[:2], *NEAR], NEAR, []])
def test_fewer_than_three_layers_of_one_network_are_not_drawn(places: list[Place]) -> None:
    assert distance_figure(places) is None


def test_labels_cross_neither_bars_nor_each_other() -> None:
    drawing = distance_figure([*THREE, *NEAR])
    assert drawing is not None
    for axis in drawing.figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert [text.get_text() for text in axis.texts].count("conv1") == 3
        for bars in axis.containers:
            [ends] = bars[2][0].get_segments()
            boxes.append(Bbox(axis.transData.transform(ends)))
        overlaps = [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
        assert overlaps == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"cell,layer\n1,2\n", b'"', HEADER.encode()),
        HEADER.encode() + b"x,1,conv1,2,equal,inf,nan,-1,word,,,,\n",
    ],
)
def test_a_damaged_table_is_as_none(tmp_path: Path, content: bytes) -> None:
    folder = made(tmp_path / "one", {"conv1": 0.02})
    study = read_study(folder)
    (folder / "mixing_distance.csv").write_bytes(content)
    assert distances(study, {}) == []
    damaged = not content.startswith(HEADER.encode())
    assert [each.startswith("mixing_distance.csv was left out: ") for each in study.problems] == (
        [True] if damaged else []
    )


def test_networks_measured_on_other_images_than_most_are_left_out(tmp_path: Path) -> None:
    folder = made(tmp_path / "one", {"conv1": 0.02})
    whole = find(read_study(folder)).places
    table = folder / "mixing_distance.csv"
    first, *lines = table.read_text().splitlines()
    other = [line.replace(",200,", ",50,").replace("0.2,", "0.9,") for line in lines]
    table.write_text("\n".join([first, *other[:2], *lines]) + "\n")
    study = read_study(folder)
    assert find(study).places == whole
    assert [
        line for line in study.problems if "another number of test images than most (200)" in line
    ]


def test_without_a_table_nothing_is_said(tmp_path: Path) -> None:
    folder = made(tmp_path / "one", {"conv1": 0.02})
    (folder / "mixing_distance.csv").unlink()
    found = find(read_study(folder))
    assert found.places == []
    assert effects(found.table, read_study(folder).cells, found.answers) == found.effects
