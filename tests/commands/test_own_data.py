"""A user's own data on the command line: what is said of them, and what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from hiddenmix import evaluate
from hiddenmix.config import DatasetConfig
from hiddenmix.data.loading import read
from hiddenmix.report import results
from tests.docs.pages import ROOT, blocks, commands
from tests.support.commands import Command, cells, command
from tests.support.image_folders import make_folder, pixels

TINY = (
    *("epochs=1", "repeats=1", "batch_size=4", "model.channels=[4,4,4]", "model.width=8"),
    "workers=1",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def test_a_flat_folder_is_counted_divided_and_recorded(run: Command, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=10) / "train"
    (root / "cat" / "0.txt").write_text("a note")
    options = ("dataset=image_folder", "baseline=false", *TINY)
    ended = run(*options, "dataset.root=images/train", "dataset.test_fraction=0.2")
    assert ended.code == 0, ended.errors
    assert (
        "data train: 16 training and 4 test images of 2 classes; no test image stands twice; "
        "skipped 1 .txt\n"
    ) in ended.output
    assert "data train: dataset.test_fraction=0.2: the test images are held out" in ended.output
    stored = json.loads((cells(tmp_path)[0] / "result.json").read_text())
    assert stored["config"]["dataset"]["test_fraction"] == 0.2
    again = run(*options, "dataset.root=images/train", "dataset.test_fraction=0.2")
    assert "1 already there" in again.output
    other = run(*options, "dataset.root=images/train", "dataset.test_fraction=0.3")
    assert "0 already there" in other.output


def test_the_same_images_under_other_names_are_the_same_cells(run: Command, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=4)
    options = ("dataset=image_folder", "baseline=false", "dataset.root=images", *TINY)
    assert run(*options).code == 0
    (root / "test").rename(root / "val")
    refused = run(*options)
    assert (refused.code, refused.errors.splitlines()[1]) == (2, "  add dataset.test=val")
    assert "1 already there" in run(*options, "dataset.test=val").output


def test_a_missing_class_goes_through_to_the_report(run: Command, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=4)
    for path in (root / "test" / "cat").iterdir():
        path.unlink()
    ended = run("dataset=image_folder", "dataset.root=images", "evaluation=full", *TINY)
    assert ended.code == 0, ended.output + ended.errors
    assert "warning: 1 class without a test image: [cat]" in ended.output
    [row] = results(tmp_path / "outputs" / "default").query("layer == 'none'").to_dict("records")
    assert (row["class/cat"], row["test_size"]) == (None, 4)
    assert row["balanced_accuracy"] == row["class/dog"] == row["accuracy"]


def test_the_example_of_labels_in_a_table_trains_as_the_same_images_in_folders(
    run: Command, tmp_path: Path
) -> None:
    """The code of docs/data.md, word for word."""
    (text,) = [each.text for each in blocks(ROOT / "docs/data.md") if "listed.py" in each.text]
    (tmp_path / "listed.py").write_text(text)
    root = make_folder(tmp_path / "images", images=4)
    files = sorted(root.glob("t*/*/*.png"))
    lines = [f"{file},{file.parent.name},{file.parent.parent.name}" for file in files]
    (tmp_path / "photos.csv").write_text("\n".join(["file,label,split", *lines]))
    ended = run("dataset=import", "dataset.target=listed.make", "baseline=false", *TINY)
    assert ended.code == 0, ended.errors
    stored = json.loads((cells(tmp_path)[0] / "result.json").read_text())
    folder = read(DatasetConfig(name="image_folder", root=str(root), resize=64))
    assert stored["data"]["digest"] == folder.digest


def test_the_page_leads_from_a_folder_to_new_images(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The commands and the code of docs/data.md; a test image is answered as in the study."""
    page = ROOT / "docs/data.md"
    root = make_folder(tmp_path / "my_photos", images=4)
    [train, *_] = [each[3:] for each in commands(page) if each[2] == "hiddenmix.train"]
    ended = run(*train, *TINY, "dataset.resize=16")
    assert ended.code == 0, ended.errors
    (text,) = [each.text for each in blocks(page) if "# classify.py" in each.text]
    files = sorted(map(str, root.glob("test/*/*.png")))
    monkeypatch.setattr(sys, "argv", ["classify.py", *files])
    capsys.readouterr()
    exec(text, {})  # noqa: S102
    said = [
        line.rpartition(": ")[2].partition(",")[0] for line in capsys.readouterr().out.splitlines()
    ]
    [cell] = [each for each in cells(tmp_path, "photos") if "-conv1-" in each.name]
    answers = load_file(cell / "predictions.safetensors")["clean/class"]
    assert said == [("cat", "dog")[answer] for answer in answers]


def test_arrays_and_an_imported_function_are_the_same_data(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    images = np.stack([pixels(seed) for seed in range(20)])
    labels = np.arange(20) % 2
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    (tmp_path / "data_of_this_test.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    found = np.load('set.npz')\n"
        "    return tuple((found['x_' + name], found['y_' + name]) for name in ('train', 'test'))\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    digests = set()
    options = ("baseline=false", "dataset.leaks=keep", *TINY)
    for study, title, more in (
        ("arrays", "set", ("dataset=arrays", "dataset.root=set.npz")),
        (
            "imported",
            "data_of_this_test",
            ("dataset=import", "dataset.target=data_of_this_test.make"),
        ),
    ):
        ended = run(f"study={study}", *more, *options)
        assert ended.code == 0, ended.output + ended.errors
        assert f"data {title}: 20 training and 20 test images of 2 classes; " in ended.output
        [cell] = cells(tmp_path, study)
        digests.add(json.loads((cell / "result.json").read_text())["data"]["digest"])
    assert len(digests) == 1
    monkeypatch.setattr(
        "hiddenmix.report.write_report", lambda folder: folder
    )  # its figures take long
    # a study may come from others: their code is run only where it is named
    del sys.modules["data_of_this_test"]
    capsys.readouterr()
    assert evaluate.main(["outputs/imported"]) == 2
    assert "only where it is named: --target data_of_this_test.make" in capsys.readouterr().out
    assert "data_of_this_test" not in sys.modules
    assert evaluate.main(["outputs/imported", "--target", "data_of_this_test.make"]) == 0
