"""Layers stand, and the question's is chosen, in the order in which the network executes them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hiddenmix import networks
from hiddenmix.config.schema import CnnConfig, ModelConfig, PreactResNet18Config
from hiddenmix.report.depth import by_depth
from hiddenmix.report.drawing import groups
from hiddenmix.report.findings import Findings, find
from hiddenmix.report.reading import read_study
from hiddenmix.report.writing import write_report
from tests.support.commands import unrendered
from tests.support.made_study import made_result, write_answers, write_cell

DENSENET = [
    *("input", "features.conv0", "features.norm0", "features.relu0", "features.pool0"),
    *("features.denseblock1", "features.transition1", "features.denseblock2"),
]
"""torchvision's densenet121, as it runs: relu0 before denseblock1, whose name sorts first."""

MIXED = ["features.denseblock1", "features.relu0", "features.pool0"]
SETTINGS = [
    ("none", None, None),
    *((layer, "siamese", 1.0) for layer in ("input", "features.denseblock1+input", *MIXED)),
]


def made(folder: Path, recorded: Any = None, among: Iterable[str] = ("s0",)) -> Findings:
    """The findings of a study at `MIXED` whose cells with an ending of `among` hold `layers`."""
    write_answers(
        folder,
        SETTINGS,
        range(2),
        200,
        lambda layer, mode, alpha: 0.80 + 0.02 * (layer == MIXED[0]) - 0.02 * (layer == MIXED[1]),
        full=False,
    )
    for path in (folder / "cells").glob("*/result.json"):
        if recorded is not None and path.parent.name.endswith(tuple(among)):
            result = json.loads(path.read_text())
            path.write_text(json.dumps(result | {"layers": recorded}))
    return find(read_study(folder))


def test_the_question_is_about_the_layer_that_runs_first(tmp_path: Path) -> None:
    [question] = made(tmp_path, DENSENET, ("s0", "s1")).questions
    assert question.layer == "features.relu0"
    assert question.gain is not None
    assert question.gain.mean == pytest.approx(-0.02)


def test_the_report_lists_layers_as_they_run(tmp_path: Path) -> None:
    found = made(tmp_path, DENSENET, ("s0", "s1"))
    hidden = ["features.relu0", "features.pool0", "features.denseblock1"]
    mixed = ["input", *hidden, "features.denseblock1+input"]
    assert list(found.table["layer"]) == ["none", *mixed]
    assert [each.level for each in found.effects if each.factor == "layer"] == mixed[1:]
    [group] = groups(read_study(tmp_path), found.table)
    assert group.layers() == mixed
    assert [row["layer"] for row in group.lines("siamese")] == ["none", *mixed]


def test_results_that_record_no_order_keep_that_of_names(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert found.questions[0].layer == "features.denseblock1"
    hidden = ["features.denseblock1", "features.pool0", "features.relu0"]
    assert list(found.table["layer"]) == ["none", "input", *hidden, "features.denseblock1+input"]


def foreign(folder: Path, *layers: str, model: str = "timm.x", order: Any = None) -> list[str]:
    """The problems of a study at these layers of a network that is none of our own."""
    for layer in ("none", "input", *layers):
        mode, alpha = (None, None) if layer == "none" else ("siamese", 1.0)
        result = made_result(layer, mode, alpha, 0, full=False) | {"model": model}
        write_cell(folder, result | ({"layers": order} if order else {}))
    study = read_study(folder)
    find(study)
    find(study)
    return study.problems


def test_a_layer_that_was_guessed_from_names_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrendered(monkeypatch)
    [problem] = foreign(tmp_path, "features.relu0", "features.denseblock1")
    assert problem == (
        "Digits, timm.x: no result records in what order the network executes its layers; that "
        "features.denseblock1 is the lowest of features.denseblock1, features.relu0 is guessed from "
        "their names, and one more network, trained by this version, settles it"
    )
    assert "## Result files that were not used in full" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("layers", "options"),
    [
        (["conv2", "conv1"], {"model": "cnn"}),
        (["stem", "layer1"], {"model": "preact_resnet18"}),
        (["blocks.2.norm", "blocks.10.norm"], {}),  # by number
        (["layer2.0", "layer1.1"], {}),
        (["encoder"], {}),
        (["features.relu0", "features.denseblock1"], {"order": DENSENET}),
    ],
)
def test_an_order_that_is_known_is_no_guess(
    tmp_path: Path, layers: list[str], options: dict[str, Any]
) -> None:
    assert foreign(tmp_path, *layers, **options) == []


def test_an_order_that_lacks_a_layer_leaves_a_guess(tmp_path: Path) -> None:
    assert len(foreign(tmp_path, "features.relu0", "late", order=DENSENET)) == 1


@pytest.mark.parametrize(
    "model", [CnnConfig(channels=[2, 2, 2], width=2), PreactResNet18Config(width=2)]
)
def test_stages_of_the_own_networks_stand_by_name_as_they_run(model: ModelConfig) -> None:
    """So that studies of earlier versions, and those among them that are resumed, ask what they asked."""
    names = [each.name for each in networks.stages(networks.layers_of(model, (3, 32, 32), 10))]
    assert sorted(names, key=by_depth(())) == names


def test_one_result_that_records_the_order_tells_it_of_its_network(tmp_path: Path) -> None:
    """A study of an earlier version that was resumed."""
    found = made(tmp_path, DENSENET, ["features.pool0-siamese-a1-00000000-s1"])
    assert found.questions[0].layer == "features.relu0"


@pytest.mark.parametrize("recorded", ["features.relu0", {"features.relu0": 1}, [["a"]]])
def test_a_wrong_order_is_named_and_left_out(tmp_path: Path, recorded: Any) -> None:
    assert made(tmp_path, recorded).questions[0].layer == "features.denseblock1"
    problems = read_study(tmp_path).problems
    assert len(problems) == len(SETTINGS)
    assert problems[0].endswith("layers was left out, not a list of names")


def test_each_variant_of_a_network_has_its_own_first_layer(tmp_path: Path) -> None:
    """A setting that swaps two layers, as of a network that normalises before its convolutions."""
    orders = {0.05: ["input", "act", "zoom", "head"], 0.1: ["input", "zoom", "act", "more", "head"]}
    for lr, order in orders.items():
        for layer in ("none", "input", "act", "zoom"):
            mode, alpha = (None, None) if layer == "none" else ("siamese", 1.0)
            result = made_result(layer, mode, alpha, 0, variant=str(lr), lr=lr, full=False)
            write_cell(tmp_path, result | {"layers": order})
    questions = find(read_study(tmp_path)).questions
    assert {each.variant: each.layer for each in questions} == {
        **{"optimizer.lr=0.05": "act", "optimizer.lr=0.1": "zoom"}
    }


def test_layers_of_several_variants_are_merged() -> None:
    """What only one of them has stands behind what it executes before; what none has, by name."""
    rank = by_depth([["input", "b", "a", "head"], ["input", "b", "c", "head"], (), ["input", "b"]])
    names = ["z", "head", "fc", "c", "input+b", "a", "conv1", "input", "b", "none"]
    assert sorted(names, key=rank) == [
        *("none", "input", "b", "c", "a", "head", "conv1", "z", "fc", "input+b")
    ]
