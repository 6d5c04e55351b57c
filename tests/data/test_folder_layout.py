"""Folders as people have them: names of their own, no test set, classes that differ."""

import shutil
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hiddenmix.config import ConfigError, DatasetConfig, UserError
from hiddenmix.data import image_cache
from hiddenmix.data.folder_layout import typed
from hiddenmix.data.image_folder import scan as scan_folder
from hiddenmix.data.loading import read
from tests.support.image_folders import Pixels, make_folder, pixels, scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images", images=5)


def advice(root: Path | str, **options: Any) -> str:
    """The second line of the refusal: what to type."""
    with pytest.raises(UserError) as caught:
        scan(root, **options)
    first, second = str(caught.value).split("\n")
    assert "dataset." in first
    return second.strip()


def renamed(root: Path, train: str, test: str) -> Path:
    for old, new in (("train", train), ("test", test)):
        if old != new:
            (root / new).parent.mkdir(exist_ok=True)
            (root / old).rename(root / new)
    return root


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("train", "val", "add dataset.test=val"),
        ("training", "test", "add dataset.train=training"),
        ("training_set", "test_set", "add dataset.train=training_set and dataset.test=test_set"),
        ("Train", "Test", "add dataset.train=Train and dataset.test=Test"),
        ("seg_train", "seg_test", "add dataset.train=seg_train and dataset.test=seg_test"),
        ("train", "validation", "add dataset.test=validation"),
        ("my train", "it's test", None),
    ],
)
def test_other_names_are_named_with_the_options_that_take_them(
    root: Path, train: str, test: str, says: str | None
) -> None:
    usual = scan(root).names
    renamed(root, train, test)
    if says is not None:
        assert advice(root) == says
    else:
        assert advice(root).startswith("add \"dataset.train='my train'\" and ")
    found = scan(root, train=train, test=test)
    assert found.train_size == 10
    names = [
        name.replace(f"{train}/", "train/").replace(f"{test}/", "test/") for name in found.names
    ]
    assert names == usual


def test_a_folder_too_deep_too_high_or_misspelt_is_told(root: Path) -> None:
    assert advice(root.parent) == f"set dataset.root={root}"
    above = root.parent / "above" / "and" / "more"
    above.mkdir(parents=True)
    shutil.copytree(root, above / "images")
    assert advice(root.parent / "above") == f"set dataset.root={above}/images"
    assert advice(root / "train") == f"set dataset.root={root}"
    assert advice(root.parent / "imagse") == f"set dataset.root={root}"
    packed = root.parent / "packed"
    packed.mkdir()
    (packed / "photos.zip").write_bytes(b"")
    assert advice(packed) == "unpack [photos.zip] there"
    (root.parent / "set.npz").write_bytes(b"")
    assert advice(root.parent / "set.npz") == "add dataset=arrays"
    (root.parent / "set.zip").write_bytes(b"")
    assert advice(root.parent / "set.zip").startswith("unpack it")


def test_what_is_there_instead_of_classes_is_told(root: Path, flat: Path) -> None:
    """torchvision 613, and contests' test images without labels."""
    said = advice(flat / "cat" / "deep")
    assert said.startswith(
        "put them into a folder for each class, and add dataset.test_fraction=0.2"
    )
    for path in (root / "test" / "cat").iterdir():
        path.rename(root / "test" / path.name)
    for name in ("cat", "dog"):
        shutil.rmtree(root / "test" / name)
    with pytest.raises(UserError, match=r"^test/ holds 5 images without classes\n") as caught:
        scan(root)
    assert "add dataset.train=train dataset.test_fraction=0.2" in str(caught.value)
    assert scan(root, train="train", test_fraction=0.2).train_size == 8


def test_a_split_within_the_split_is_told(root: Path) -> None:
    for split in ("train", "test"):
        (root / "whole").mkdir()
        (root / split).rename(root / "whole" / split)
        (root / "whole").rename(root / split)
    with pytest.raises(
        UserError, match=r"holds one class folder, train/, which holds folders\n"
    ) as caught:
        scan(root)
    assert "add dataset.train=train/train dataset.test=test/test" in str(caught.value)
    assert scan(root, train="train/train", test="test/test").train_size == 10


def test_misspelt_folders_and_no_root_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice(root, train="Train") == "set dataset.train=train"
    assert advice(root, test="tset") == "set dataset.test=test"
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match=r"^dataset\.root is not set, and there is no data/ here\n"):
        scan_folder(DatasetConfig(name="image_folder"))


def test_of_several_sets_one_is_named_and_no_nonsense(root: Path) -> None:
    """No folder whose name holds both train and test is a training set."""
    (root / "test").rename(root / "val_instead_of_test")
    (root.parent / "training_set_and_test_set").mkdir()
    (root.parent / "val").mkdir()
    assert advice(root.parent) == f"set dataset.root={root}, or another of the 3 folders there"


def test_a_value_is_shown_as_a_shell_takes_it() -> None:
    assert typed("dataset.test", "my_data/val-2") == "dataset.test=my_data/val-2"
    assert typed("dataset.test", "photos (1)") == "\"dataset.test='photos (1)'\""
    assert typed("dataset.test", "it's") == "\"dataset.test='it\\'s'\""


def test_one_folder_for_both_is_refused(root: Path) -> None:
    assert "dataset.test_fraction=0.2" in advice(root, test="train")


# a test set held out


@pytest.fixture
def flat(root: Path) -> Path:
    """20 cats and 10 dogs, of which one is in a folder of its own."""
    place = root.parent / "flat"
    seed = 0
    for name, count in (("cat", 20), ("dog", 10)):
        (place / name / "deep").mkdir(parents=True)
        for index in range(count):
            path = place / name / ("deep" if index == 0 else "") / f"{index}.png"
            Image.fromarray(pixels(seed)).save(path)
            seed += 1
    return place


def test_classes_alone_are_divided_by_their_files_names(flat: Path) -> None:
    assert advice(flat) == "add dataset.test_fraction=0.2 to hold out a fifth of each class"
    found = scan(flat, test_fraction=0.2)
    train, test = found.names[: found.train_size], found.names[found.train_size :]
    assert Counter(name.split("/")[0] for name in test) == {"cat": 4, "dog": 2}
    assert Counter(name.split("/")[0] for name in train) == {"cat": 16, "dog": 8}
    # the published division: another one would make results incomparable
    assert test == [
        *("cat/1.png", "cat/12.png", "cat/15.png", "cat/8.png"),
        *("dog/5.png", "dog/9.png"),
    ]


def test_the_division_is_that_of_a_moved_folder_and_of_every_seed(flat: Path) -> None:
    def read_test(place: Path, **options: Any) -> Pixels:
        config = DatasetConfig(name="image_folder", root=str(place), test_fraction=0.3)
        whole = read(DatasetConfig(**{**vars(config), **options}))
        assert whole.remarks[0].startswith(
            "dataset.test_fraction=0.3: the test images are held out"
        )
        found: Pixels = whole.test.images.numpy()
        return found

    first = read_test(flat)
    assert len(first) == 9
    np.testing.assert_array_equal(read_test(flat, split_seed=7), first)
    moved = flat.rename(flat.parent / "elsewhere")
    np.testing.assert_array_equal(read_test(moved), first)
    (moved / "cat" / "new.png").write_bytes((moved / "cat" / "1.png").read_bytes())
    assert len(set(map(bytes, read_test(moved))) & set(map(bytes, first))) >= 8


def test_pixels_and_labels_follow_the_division(flat: Path) -> None:
    whole = read(DatasetConfig(name="image_folder", root=str(flat), test_fraction=0.2))
    found = scan(flat, test_fraction=0.2)
    for index, (image, label) in enumerate(zip(whole.test.images, whole.test.labels, strict=True)):
        path = flat / found.names[found.train_size + index]
        np.testing.assert_array_equal(image, np.asarray(Image.open(path)).transpose(2, 0, 1))
        assert ["cat", "dog"][label] == path.relative_to(flat).parts[0]


def test_a_train_folder_alone_is_divided(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"^dataset\.test_fraction is not needed: .*\n.*dataset\.train=train"
    ):
        scan(root, test_fraction=0.2)
    both = scan(root, train="train", test_fraction=0.2)
    shutil.rmtree(root / "test")
    assert advice(root) == "add dataset.test_fraction=0.2 to hold out a fifth of each class"
    alone = scan(root, test_fraction=0.2)
    assert alone.names == both.names
    assert (alone.train_size, len(alone.names)) == (8, 10)


def test_a_class_called_train_is_a_class(flat: Path) -> None:
    (flat / "dog").rename(flat / "train")
    shutil.rmtree(flat / "train" / "deep")
    assert scan(flat, test_fraction=0.2).classes == ["cat", "train"]


def test_impossible_divisions_are_refused(flat: Path) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.test_fraction=0\.01 is not allowed"):
        scan(flat, test_fraction=0.01)
    (flat / "one").mkdir()
    (flat / "one" / "0.png").write_bytes((flat / "cat" / "1.png").read_bytes())
    with pytest.raises(UserError, match=r"^class folder one holds 1 image"):
        scan(flat, test_fraction=0.2)


def test_each_choice_of_folders_has_a_cache_of_its_own(root: Path) -> None:
    (root / "val").mkdir()
    shutil.copytree(root / "test" / "cat", root / "val" / "cat")
    for options in ({}, {"test": "val"}, {"train": "train", "test_fraction": 0.2}):
        image_cache.load(scan(root, **options), None)
    assert len(list((root / ".hiddenmix").glob("*.safetensors"))) == 3
    decoded: list[str] = []
    for options in ({}, {"test": "val"}, {"train": "train", "test_fraction": 0.2}):
        image_cache.load(scan(root, **options), None, lambda what, *_: decoded.append(what))
    assert decoded == []


# classes


def test_a_class_that_the_test_set_lacks_moves_no_label(root: Path) -> None:
    """ultralytics 13936: labels by position, once a class is missing, are those of other classes."""
    shutil.copytree(root / "train" / "dog", root / "train" / "bird")
    shutil.rmtree(root / "test" / "cat")
    (root / "test" / "bird").mkdir()
    found = scan(root)
    assert found.classes == ["bird", "cat", "dog"]
    assert set(found.labels[found.train_size :].tolist()) == {2}
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert whole.remarks[0] == "warning: 2 classes without a test image: [bird,cat]"


def test_composed_and_decomposed_letters_are_one_class(root: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "été"), unicodedata.normalize("NFD", "été")
    (root / "train" / "cat").rename(root / "train" / composed)
    (root / "test" / "cat").rename(root / "test" / decomposed)
    found = scan(root)
    assert found.classes == ["dog", composed]
    assert found.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    assert found.names[-1].startswith(f"test/{decomposed}")


@pytest.mark.parametrize("other", ["Cat", "CAT ", " cat"])
def test_letter_case_and_spaces_make_no_other_class(root: Path, other: str) -> None:
    """NVIDIA DIGITS 1017: Pedestrian in one place and pedestrian in the other."""
    labels = scan(root).labels.tolist()
    (root / "test" / "cat").rename(root / "test" / other)
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert scan(root).labels.tolist() == labels
    assert whole.classes == ["cat", "dog"]
    assert whole.remarks == (f"class folder {other} of the test set is taken for cat",)


def test_names_that_differ_in_case_alone_are_classes_and_said(root: Path) -> None:
    shutil.copytree(root / "train" / "cat", root / "train" / "Cat")
    (root / "test" / "cat").rename(root / "test" / "Cat")
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert whole.classes == ["Cat", "cat", "dog"]
    assert sorted(set(whole.test.labels.tolist())) == [0, 2]  # the same name counts
    assert "warning: class folders whose names differ in letter case" in whole.remarks[1]
    (root / "test" / "Cat").rename(root / "test" / "CAT")  # of two that it might be, neither
    with pytest.raises(UserError, match=r"only in test/: \[CAT\]"):
        scan(root)


def test_all_empty_class_folders_are_named_at_once(root: Path) -> None:
    """torchvision 4925 and 8297."""
    for number in range(12):
        (root / "train" / f"empty{number:02}").mkdir()
    with pytest.raises(UserError) as caught:
        scan(root)
    first, second = str(caught.value).split("\n")
    assert first.startswith("12 class folders hold no image: train/empty00, train/empty01, ")
    assert first.endswith("train/empty09, ...")
    assert second.startswith("  add one, or move the folder away")


def test_a_folder_beside_both_splits_is_said_not_to_be_used(root: Path) -> None:
    shutil.copytree(root / "test", root / "val")
    (root / "notes").mkdir()  # holds no classes
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert "not used: [val/]" in whole.remarks
