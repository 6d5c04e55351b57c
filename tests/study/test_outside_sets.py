"""Outside sets that are no new images, or others than before: said as they are measured, and reported."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hiddenmix import evaluate
from hiddenmix.report import write_report
from hiddenmix.study.store import Cell
from tests.support.commands import Command, cells, command
from tests.support.image_folders import make_folder

BRIEF = (
    *("dataset=image_folder", "dataset.root=photos", "layer=none", "baseline=false", "epochs=1"),
    *("repeats=2", "batch_size=4", "model.channels=[2,2,2]", "model.width=4", "workers=1"),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    photos = make_folder(tmp_path / "photos", images=8)
    make_folder(tmp_path / "others", images=20)
    shutil.rmtree(tmp_path / "others/test/dog")
    shutil.copy(photos / "train/cat/3.png", tmp_path / "others/test/cat/known.png")
    return command(tmp_path, monkeypatch, capsys)


REPEATED = (
    "warning: outside set far (others/test): 1 of 21 images stands in the training set, so that "
    "accuracies on it say little of new images"
)
LACKING = "warning: outside set far (others/test) holds no image of 1 class: [dog]"


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((cell / "result.json").read_text()) for cell in cells(folder)]


def evaluated(folder: Path) -> list[dict[str, Any]]:
    return [result["evaluated"] for result in results(folder)]


def test_train_and_report_say_what_an_outside_set_is(run: Command, tmp_path: Path) -> None:
    ended = run(*BRIEF, "evaluation=full", "+dataset.outside.0=others/test")  # a name as any other
    assert ended.code == 0, ended.errors
    for line in (REPEATED, LACKING):
        assert ended.output.count(line.replace("set far", "set 0")) == 1
    assert [each["outside_in_training"] for each in evaluated(tmp_path)] == [{"0": 1}] * 2
    assert [[*each["outside"]] for each in results(tmp_path)] == [["0"]] * 2
    text = write_report(tmp_path / "outputs/default").read_text()
    assert "**Warning**: photos: 1 image of the outside set 0 stands in the training set." in text


def test_evaluate_says_it_once_and_names_what_was_replaced(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BRIEF).code == 0
    assert evaluate.main(["outputs/default", "--outside", "far=others/test"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(REPEATED) == said.count(LACKING) == 1
    # What is asked for is not measured, however well the former set of the name was.
    assert evaluate.main(["outputs/default", "--outside", "far=others/tset"]) == 2
    assert "refused: dataset.outside.far=others/tset: does not exist" in capsys.readouterr().out
    # Other images under the name, none of which were trained on.
    (tmp_path / "others/test/cat/known.png").unlink()
    assert evaluate.main(["outputs/default", "--outside", "far=others/test"]) == 0
    said = capsys.readouterr().out
    assert said.count("evaluated; replaced by other images: outside far") == 2
    assert "stands in the training set" not in said
    assert not any("outside_in_training" in each for each in evaluated(tmp_path))


def test_what_is_wrong_for_all_networks_is_said_once(
    run: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*BRIEF).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "locked", lambda *_, **__: nullcontext(False))
        assert evaluate.main(["outputs/default"]) == 1
    assert capsys.readouterr().out.count("not measured: another process holds it") == 2
    assert evaluate.main(["outputs/default", "--outside", "far=nowhere"]) == 2
    said = capsys.readouterr().out
    assert said.count("dataset.outside.far=nowhere: does not exist") == 1
    assert "1 more network: refused for the same reason" in said
