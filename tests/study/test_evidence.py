"""A study knows its data and keeps its evidence: through the commands, on image folders and digits."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import hiddenmix
from hiddenmix import evaluate
from hiddenmix.report import read_study, write_report
from tests.support.commands import ALONE, SMALL, Command, cells, command, counted_steps
from tests.support.image_folders import make_folder, pixels

TINY = (
    "epochs=1",
    "repeats=1",
    "batch_size=4",
    "model.channels=[2,2,2]",
    "model.width=4",
    "workers=1",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return command(tmp_path, monkeypatch, capsys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", images=8)


def trained(run: Command, *more: str) -> int:
    """How many networks the command on the folder trains."""
    with pytest.MonkeyPatch.context() as patch:
        steps = counted_steps(patch)
        ended = run("dataset=image_folder", "layer=none", "baseline=false", *TINY, *more)
    assert ended.code == 0, ended.errors
    return len(steps) // 4


def result(cell: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cell / "result.json").read_text())
    return found


def test_a_moved_folder_is_the_same_data_and_a_changed_one_is_not(
    run: Command, photos: Path, tmp_path: Path
) -> None:
    """The table of what identity does."""
    assert trained(run, "dataset.root=photos") == 1
    assert trained(run, f"dataset.root={photos}") == 0  # an absolute path
    photos.rename(tmp_path / "renamed")
    assert trained(run, "dataset.root=./renamed/") == 0
    root = tmp_path / "renamed"
    assert trained(run, "dataset.root=renamed", "dataset.validation=0.25", "batch_size=3") == 1
    more = ("dataset.validation=0.25", "batch_size=3", "dataset.split_seed=1")
    assert trained(run, "dataset.root=renamed", *more) == 1  # another split
    changed = pixels(16).copy()
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(root / "test/cat/0.png")  # one byte of one test image
    assert trained(run, "dataset.root=renamed") == 1
    Image.fromarray(pixels(99)).save(root / "test/dog/new.png")  # one image more
    assert trained(run, "dataset.root=renamed") == 1
    for split in ("train", "test"):  # the classes in another order
        (root / split / "cat").rename(root / split / "zebra")
    assert trained(run, "dataset.root=renamed") == 1


def test_another_margin_than_the_studys_is_said(run: Command, photos: Path) -> None:
    settings = ("dataset=image_folder", "dataset.root=photos", "layer=input", *TINY)
    assert "warning: margin" not in run(*settings).output
    ended = run(*settings, "margin=2")
    assert "2 already there, 0 to train" in ended.output
    assert (
        "warning: margin=2 here, but 2 networks of this study have margin=0.5; verdicts take that of "
        "most, python -m hiddenmix.report --margin another\n"
    ) in ended.output


def test_two_versions_of_the_data_are_told_apart_and_never_compared(
    run: Command, photos: Path, tmp_path: Path
) -> None:
    settings = ("dataset=image_folder", "dataset.root=photos", *TINY)
    assert run(*settings, "layer=input", "repeats=2").code == 0
    for number in range(3):
        (photos / "test/cat" / f"{number}.png").unlink()
    ended = run(*settings, "layer=conv1", "repeats=2")
    assert ended.code == 0
    assert "warning: 4 networks of this study" in ended.output
    assert "were trained on another version of the data" in ended.output
    table = hiddenmix.results(tmp_path / "outputs/default")
    assert len(table) == 4 + 6
    assert table.groupby("digest").size().tolist() in ([4, 6], [6, 4])
    summary = pd.read_csv(tmp_path / "outputs/default/summary.csv")
    assert summary["title"].nunique() == 2
    conv = summary[summary["layer"] == "conv1"]
    assert (conv["gain_n"] == 2).all()
    assert (conv["test_size"] == 13).all()
    report = write_report(tmp_path / "outputs/default").read_text()
    assert "the data changed between networks of this study" in report
    for digest in table["digest"].unique():
        assert f"photos (data {digest[:8]})" in report
        assert all(f"`{cell}`" in report for cell in table.loc[table["digest"] == digest, "cell"])


def test_evaluate_refuses_other_data_by_name(
    run: Command, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    assert trained(run, "dataset.root=photos") == 1
    (photos / "test/cat/0.png").unlink()
    capsys.readouterr()
    assert evaluate.main(["outputs/default"]) == 2
    said = capsys.readouterr().out
    assert "refused: its data are other ones: their content is " in said
    assert "shift" not in result(cells(tmp_path)[0])


def test_evaluate_says_how_to_name_the_place_of_moved_data(
    run: Command, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    assert trained(run, "dataset.root=photos") == 1
    photos.rename(tmp_path / "renamed")
    capsys.readouterr()
    assert evaluate.main(["outputs/default"]) == 2
    said = capsys.readouterr().out
    assert "refused: its data are no longer at photos: add --dataset-root" in said
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["outputs/default", "dataset.root=renamed"])
    assert capsys.readouterr().err.endswith(
        "dataset.root=renamed is not allowed with evaluate\n  write --dataset-root renamed\n"
    )
    assert evaluate.main(["outputs/default", "--dataset-root", "renamed", "--images", "4"]) == 0


def test_leaks_are_said_at_the_start_in_results_and_at_the_reports_head(
    run: Command, photos: Path, tmp_path: Path
) -> None:
    (photos / "test/cat/0.png").write_bytes((photos / "train/cat/0.png").read_bytes())
    (photos / "test/dog/1.png").write_bytes((photos / "test/dog/0.png").read_bytes())
    (photos / "test/dog/2.png").write_bytes((photos / "train/cat/1.png").read_bytes())
    ended = run("dataset=image_folder", "dataset.root=photos", *TINY)
    text = (
        "of 16 test images 2 stand in the training set too, 1 repeats an earlier test image, "
        "1 has an equal image with another label"
    )
    assert f"data photos: 16 training and 16 test images of 2 classes; {text}\n" in ended.output
    counts = {"test_in_train": 2, "test_twice": 1, "two_labels": 1, "test": 3, "dropped": 0}
    assert result(cells(tmp_path)[0])["data"]["leaks"] == counts
    report = write_report(tmp_path / "outputs/default").read_text()
    assert f"**Warning**: photos: {text}" in report
    assert report.index("**Warning**") < report.index("**Undecided**")
    assert trained(run, "dataset.root=photos", "dataset.leaks=drop") == 1
    assert (
        "2 training images dropped"
        in run("dataset=image_folder", "dataset.root=photos", "dataset.leaks=drop", *TINY).output
    )


FULL = (*ALONE, "evaluation=full")


def predictions(cell: Path) -> dict[str, Any]:
    return load_file(cell / "predictions.safetensors")


def check_predictions(cell: Path) -> None:
    """Every accuracy of the result is that of the answers, to the bit."""
    found, kept = result(cell), predictions(cell)
    label = kept["label"]
    assert (kept["clean/class"] == label).mean() == found["test"]["accuracy"]
    chosen = kept.get("subset", np.arange(len(label)))
    for family in ("shift", "adversarial"):
        for name, values in found.get(family, {}).items():
            answers = kept[f"{family}/{name}/class"]
            assert (answers == label[chosen]).mean() == values["accuracy"]
    for name, values in found.get("outside", {}).items():
        answers, labels = kept[f"outside/{name}/class"], kept[f"outside/{name}/label"]
        assert (answers == labels).mean() == values["accuracy"]


def test_predictions_are_kept_and_give_every_accuracy_again(run: Command, tmp_path: Path) -> None:
    assert run(*FULL).code == 0
    [cell] = cells(tmp_path)
    kept = predictions(cell)
    assert {name: value.dtype for name, value in kept.items() if "/" not in name} == {
        "label": np.dtype("uint8")
    }
    assert kept["clean/class"].dtype == np.uint8
    assert kept["clean/probability"].dtype == np.float16
    assert len(kept) == 3 + 19 + 4
    check_predictions(cell)
    with safe_open(cell / "model.safetensors", framework="np") as file:
        about = json.loads(file.metadata()["hiddenmix"])
    found = result(cell)
    assert about["cell"] == cell.name
    assert about["data"] == found["data"]["digest"]
    assert about["classes"] == found["data"]["classes"]
    assert about["mean"] == found["data"]["mean"]
    assert found["environment"]["packages"].keys() >= {"numpy", "torchvision", "scikit-learn"}


@pytest.mark.parametrize("damage", ["gone", "flipped", "another"])
def test_lost_predictions_are_made_again_and_nothing_else_changes(
    run: Command, tmp_path: Path, damage: str
) -> None:
    assert run(*FULL).code == 0
    [cell] = cells(tmp_path)
    path = cell / "predictions.safetensors"
    before, content = result(cell), path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_bytes((cell / "model.safetensors").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        steps = counted_steps(patch)
        ended = run(*ALONE)
    assert steps == []
    assert "its predictions made again" in ended.output
    assert result(cell) == before
    assert path.read_bytes() == content
    assert "made again" not in run(*ALONE).output


def test_a_cap_below_the_number_of_classes_is_refused_before_training(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = "=5 is not allowed\n  allowed: 10 or more, at least one image of each class\n"
    ended = run(*ALONE, "evaluation=full", "evaluation_images=5")
    assert (ended.code, ended.errors) == (2, f"evaluation_images{refused}")
    assert not (tmp_path / "outputs").exists()
    # The clean test takes all images.
    ended = run(*ALONE, "evaluation_images=5", "epochs=1")
    assert ended.code == 0, ended.errors
    assert ended.output.count("evaluation_images does nothing with evaluation=clean") == 1
    assert evaluate.main(["outputs/default", "--images", "5"]) == 2
    assert capsys.readouterr().err == f"--images{refused}"
    # That of the configuration, and no --images.
    assert evaluate.main(["outputs/default"]) == 2
    said = capsys.readouterr().out
    assert "refused: evaluation_images=5 is not allowed" in said


def test_a_cap_takes_the_same_stratified_images_for_all_networks(
    run: Command, tmp_path: Path
) -> None:
    assert run(*SMALL, "evaluation=full", "evaluation_images=50").code == 0
    subsets = [predictions(cell)["subset"] for cell in cells(tmp_path)]
    assert all((each == subsets[0]).all() for each in subsets)
    labels = predictions(cells(tmp_path)[0])["label"][subsets[0]]
    assert np.bincount(labels).tolist() == [5] * 10
    for cell in cells(tmp_path):
        check_predictions(cell)
        assert result(cell)["evaluated"]["images"] == 50
    report = write_report(tmp_path / "outputs/default").read_text()
    assert "were measured on a fixed stratified 50 of the images (evaluation_images)" in report
    # Asked for all images, they are measured anew, on all of them.
    assert "evaluated in full" in run(*SMALL, "evaluation=full").output
    for cell in cells(tmp_path):
        assert "subset" not in predictions(cell)
        check_predictions(cell)


def test_outside_sets_are_measured_and_refused_before_training(
    run: Command, tmp_path: Path, capsys: Any
) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=np.arange(30) % 10)
    assert run(*FULL, "dataset.outside={far: set.npz}").code == 0
    [cell] = cells(tmp_path)
    assert result(cell)["outside"].keys() == {"far"}
    check_predictions(cell)
    refused = run(*ALONE, "dataset.outside={far: set.npz}")
    assert refused.code == 2
    assert "evaluation=clean is not allowed\n  allowed: full with dataset.outside" in refused.errors
    np.savez(tmp_path / "other.npz", x_test=images[:, :7, :7], y_test=np.arange(30) % 10)
    refused = run(*FULL, "study=new", "dataset.outside={far: other.npz}")
    assert refused.code == 2
    assert "dataset.outside.far=other.npz" in refused.errors
    assert not (tmp_path / "outputs/new").exists()
    # Finished networks can be asked for another set, without training.
    assert evaluate.main(["outputs/default", "--outside", "near=set.npz"]) == 0
    assert result(cell)["outside"].keys() == {"near"}
    check_predictions(cell)


def test_cells_csv_and_results_hold_every_number_by_seed(run: Command, tmp_path: Path) -> None:
    more = ("repeats=2", "evaluation=full", "dataset.validation=0.2", "optimizer.lr=0.01")
    settings = [each for each in SMALL if "repeats" not in each]
    assert run(*settings, *more).code == 0
    study = tmp_path / "outputs/default"
    frame = hiddenmix.results(str(study))
    pd.testing.assert_frame_equal(frame, hiddenmix.results(study))
    stored = pd.read_csv(study / "cells.csv")
    assert list(stored["cell"]) == [cell.name for cell in cells(tmp_path)] == list(frame["cell"])
    for (_, row), cell in zip(stored.iterrows(), cells(tmp_path), strict=True):
        found = result(cell)
        for column, value in {
            "accuracy": found["test"]["accuracy"],
            "balanced_accuracy": found["test"]["balanced_accuracy"],
            "validation_accuracy": found["validation"]["accuracy"],
            "shift/rotation_20": found["shift"]["rotation_20"]["accuracy"],
            "adversarial/fgsm_8": found["adversarial"]["fgsm_8"]["accuracy"],
        }.items():
            assert row[column] == pytest.approx(value, abs=5e-7)  # six digits
        right, count = found["test"]["class_right"][3], found["test"]["class_count"][3]
        assert row["class/3"] == pytest.approx(right / count)
    assert set(frame.columns) >= {"seed", "layer", "mode", "alpha", "nll", "ece", "config/layer"}


def test_a_study_is_packed_and_read_elsewhere(run: Command, tmp_path: Path) -> None:
    """Without weights, checkpoints and TensorBoard's files, under the same name."""
    settings = [each for each in SMALL if "repeats" not in each]
    assert run(*settings, "repeats=2", "evaluation=full").code == 0
    study, copy = tmp_path / "outputs/default", tmp_path / "elsewhere/default"
    left = shutil.ignore_patterns(
        "model.safetensors", "checkpoint*", "events*", "report", "*.csv", "hydra", "locks"
    )
    shutil.copytree(study, copy, ignore=left)
    write_report(study)
    write_report(copy)
    for path in [*(study / "report").iterdir(), study / "summary.csv", study / "cells.csv"]:
        assert (copy / path.relative_to(study)).read_bytes() == path.read_bytes(), path.name


def test_the_users_own_command_is_recorded_where_a_launchers_worker_runs(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra import compose, initialize_config_dir

    from hiddenmix import train
    from hiddenmix.config import config_folder, from_hydra, register

    assert run(*ALONE, "study=own").code == 0
    monkeypatch.setattr("sys.argv", ["a launcher's worker", "%j"])
    register()
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        config = from_hydra(compose("config", overrides=[*ALONE, "study=worker"]))
    assert train._run([config]) == 0
    recorded = json.loads((tmp_path / "outputs/worker/study.json").read_text())["commands"]
    assert [entry["command"] for entry in recorded] == [
        "python -m hiddenmix.train "
        + " ".join(f"'{x}'" if "[" in x else x for x in ALONE)
        + " study=own"
    ]


def test_a_changed_outside_set_is_measured_anew_and_never_averaged_with_the_former(
    run: Command, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiddenmix.report.write_report", lambda folder: folder)
    generator = np.random.default_rng(0)

    def save(shift: int) -> None:
        images = generator.integers(0, 256, (30, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "far.npz", x_test=images, y_test=(np.arange(30) + shift) % 10)

    def digests() -> list[str]:
        return [result(cell)["evaluated"]["outside"]["far"] for cell in cells(tmp_path)]

    asked = ("evaluation=full", "evaluation_images=10", "dataset.outside={far: far.npz}")
    save(0)
    assert run(*ALONE, *asked, "layer=input").code == 0
    assert "evaluated in full" not in run(*ALONE, *asked, "layer=input").output
    before = digests()
    save(1)
    # Another setting, on the new files: of the two, neither is compared with the other.
    assert run(*ALONE, *asked, "layer=conv1").code == 0
    assert len(set(digests())) == 2
    [problem] = read_study(tmp_path / "outputs/default").problems
    assert problem.startswith("outside set far: left out of 1 cells, such as")
    # The same command again, and evaluate, measure the former anew.
    again = run(*ALONE, *asked, "layer=input")
    assert ", evaluated in full" in again.output
    assert len(set(digests())) == 1
    assert before[0] not in digests()
    for cell in cells(tmp_path):
        check_predictions(cell)
    save(2)
    capsys.readouterr()
    assert evaluate.main(["outputs/default"]) == 0
    assert (
        capsys.readouterr().out.count(": evaluated; replaced by other images: outside far\n") == 2
    )
    assert len(set(digests())) == 1
    (tmp_path / "far.npz").unlink()
    assert evaluate.main(["outputs/default"]) == 0
    said = capsys.readouterr().out
    assert said.count("already evaluated; whether its outside sets have changed is not known") == 2
    # Attacks of a former version are made anew, and they alone; the same command trains nothing for them.
    kept = [(result(cell), predictions(cell)) for cell in cells(tmp_path)]
    for cell, (found, _) in zip(cells(tmp_path), kept, strict=True):
        former = {name: value for name, value in found["evaluated"].items() if name != "attack"}
        attacked = {"fgsm_8": {"accuracy": 1.0, "nll": 9.0}}
        changed = found | {"evaluated": former, "adversarial": attacked}
        (cell / "result.json").write_text(json.dumps(changed))
    assert "evaluated in full" not in run(*ALONE, *asked[:2], "layer=input").output
    assert evaluate.main(["outputs/default"]) == 0
    said = capsys.readouterr().out
    assert (
        said.count(": attacked anew, as by a former version before; whether its outside sets") == 2
    )
    for cell, (found, arrays) in zip(cells(tmp_path), kept, strict=True):
        assert result(cell) == found
        check_predictions(cell)
        assert all((predictions(cell)[name] == values).all() for name, values in arrays.items())


def test_outside_results_stay_where_nothing_else_is_asked(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later command that names no outside sets once took them out of the result without a word."""
    monkeypatch.setattr("hiddenmix.report.write_report", lambda folder: folder)
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "far.npz", x_test=images, y_test=np.arange(30) % 10)
    full = (*FULL, "evaluation_images=10")
    asked = (*full, "dataset.outside={far: far.npz}")
    assert run(*asked).code == 0
    [cell] = cells(tmp_path)
    before = result(cell)
    assert "evaluated in full" not in run(*full).output
    (cell / "predictions.safetensors").unlink()
    assert "its predictions made again" in run(*ALONE).output
    assert result(cell)["outside"] == before["outside"]
    assert result(cell)["evaluated"] == before["evaluated"]
    assert "outside/far/class" not in predictions(cell)
    assert "evaluated in full" in run(*asked).output  # their answers are made again too
    assert result(cell) == before
    check_predictions(cell)
    # Beside shifts on other images they would not fit, and it is said.
    ended = run(*FULL, "evaluation_images=20")
    assert "evaluated in full; no longer in its result: outside far\n" in ended.output
    assert "outside" not in result(cell)
    # The network's own configuration knows the set, and so does evaluate.
    assert evaluate.main(["outputs/default"]) == 0
    assert result(cell) == before
