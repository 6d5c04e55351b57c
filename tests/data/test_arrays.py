"""`dataset=arrays`: every layout gives the same bytes, what cannot be told apart is refused."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.arrays import shape_of_array
from hiddenmix.data.loading import describe, load, read

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (12, 10, 9), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (12, 3, 10, 9), dtype=np.uint8)
LABELS = np.arange(12) % 3


def write(folder: Path, images: Any, labels: Any = LABELS, **more: Any) -> DatasetConfig:
    path = folder / "set.npz"
    arrays = {"x_train": images, "y_train": labels, "x_test": images[:6], "y_test": labels[:6]}
    np.savez_compressed(path, **{**arrays, **more})
    return DatasetConfig(name="arrays", root=str(path))


def refusal(config: DatasetConfig) -> str:
    with pytest.raises(UserError) as caught:
        describe(config)
    with pytest.raises(UserError):
        read(config)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
        (np.asfortranarray(COLOUR), COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR.astype(">u2"), COLOUR),
    ],
    ids=["NHW", "N1HW", "NHW1", "NCHW", "NHWC", "Fortran", "int64", "big-endian"],
)
def test_layouts(tmp_path: Path, images: Any, expected: Any) -> None:
    config = write(tmp_path, images)
    described, data = describe(config), load(config)
    assert described.shape == expected.shape[1:] == tuple(data.train.images.shape[1:])
    assert (described.classes, described.train_size) == (3, 12)
    np.testing.assert_array_equal(data.train.images, expected)
    np.testing.assert_array_equal(data.test.images, expected[:6])
    assert data.train.images.is_contiguous()
    assert data.train.labels.tolist() == LABELS.tolist()
    assert data.classes == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS[:, None], ["0", "1", "2"]),
        (LABELS.astype(np.uint8), ["0", "1", "2"]),
        (LABELS + 1, ["1", "2", "3"]),
        (np.array(["dog", "cat", "ant"])[LABELS], ["ant", "cat", "dog"]),
    ],
    ids=["[N, 1]", "uint8", "from 1", "names"],
)
def test_labels(tmp_path: Path, labels: Any, classes: list[str]) -> None:
    data = load(write(tmp_path, GREY, labels))
    assert data.classes == classes
    assert [classes[label] for label in data.train.labels] == [str(each) for each in labels.ravel()]
    assert [classes[label] for label in data.test.labels] == [
        str(each) for each in labels.ravel()[:6]
    ]


def test_other_names_of_the_arrays(tmp_path: Path) -> None:
    expected = read(write(tmp_path, COLOUR)).digest
    path = tmp_path / "medmnist.npz"
    np.savez(
        path,
        train_images=COLOUR,
        train_labels=LABELS[:, None],
        val_images=COLOUR,
        test_images=COLOUR[:6],
        test_labels=LABELS[:6, None],
    )
    assert read(DatasetConfig(name="arrays", root=str(path))).digest == expected


def test_the_digest_is_that_of_the_pixels_not_of_the_file(tmp_path: Path) -> None:
    one = read(write(tmp_path, COLOUR))
    assert read(write(tmp_path, COLOUR.transpose(0, 2, 3, 1))).digest == one.digest
    assert read(write(tmp_path, COLOUR ^ 1)).digest != one.digest


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (
            COLOUR / 255,
            LABELS,
            r"x_train is float64\n  expected: .*\(x \* 255\)\.round\(\)\.astype",
        ),
        (GREY.reshape(12, -1), LABELS, r"x_train is \[12, 90\]"),
        (GENERATOR.integers(0, 255, (12, 12, 20, 20), np.uint8), LABELS, "fewer channels"),
        (COLOUR[..., :5], LABELS, "fewer channels"),
        (COLOUR, LABELS[:7], "x_train has 12 images, but 7 labels"),
        (COLOUR, np.eye(3)[LABELS], r"y_train is float64 \[12, 3\]\n.*argmax"),
        (COLOUR, LABELS * 0, "y_train has one class"),
        (COLOUR, LABELS.astype(float), r"y_train is float64 \[12\]"),
    ],
    ids=["floats", "rows", "channels", "side", "counts", "one-hot", "one class", "float labels"],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, images: Any, labels: Any, says: str) -> None:
    import re

    assert re.search(says, refusal(write(tmp_path, images, labels)))


def test_values_beyond_bytes_are_refused(tmp_path: Path) -> None:
    config = write(tmp_path, COLOUR.astype(np.uint16) * 4)
    with pytest.raises(UserError, match="whole numbers from 0 to 255"):
        read(config)


def test_splits_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert "images of one size" in refusal(write(tmp_path, COLOUR, x_test=GREY[:6]))
    assert "y_test has classes that y_train lacks: [7]" in refusal(
        write(tmp_path, COLOUR, y_test=np.array([0, 1, 2, 0, 1, 7]))
    )
    path = tmp_path / "half.npz"
    np.savez(path, x_train=COLOUR, y_train=LABELS)
    assert "holds no x_test, only [x_train,y_train]" in refusal(
        DatasetConfig(name="arrays", root=str(path))
    )


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    config = write(tmp_path, COLOUR)
    path = Path(str(config.root))
    whole = path.read_bytes()
    alone = BytesIO()
    np.save(alone, GREY)
    for content, says in (
        (whole[:-100], "is cut short: copy or download it again\n  expected: a whole .npz file"),
        (b"", "is empty (0 bytes)"),
        (b"<!DOCTYPE html><html>404", "is a web page: its download failed"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull brings the file"),
        (gzip.compress(whole), "is an archive: unpack it"),
        (alone.getvalue(), "is a single array (.npy)"),
        (b"\x80\x04\x95", "is no .npz file"),
    ):
        path.write_bytes(content)
        assert says in refusal(config)
    assert "add dataset=image_folder" in refusal(DatasetConfig(name="arrays", root=str(tmp_path)))
    np.savez(path, x_train=np.array([{}] * 12), y_train=LABELS, x_test=GREY, y_test=LABELS)
    assert "x_train is object" in refusal(config)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((5, 8, 8), (1, 8, 8)),
        ((5, 7, 8, 9), (7, 8, 9)),
        ((5, 8, 9, 4), (4, 8, 9)),
        ((5, 3, 8, 3), None),
        ((5, 8, 3, 8), None),
        ((5, 8, 8, 8), None),
        ((0, 8, 8), None),
        ((5, 7, 7), None),
        ((5,), None),
    ],
)
def test_channels_are_the_axis_that_is_no_side(
    size: tuple[int, ...], shape: tuple[int, ...] | None
) -> None:
    if shape is None:
        with pytest.raises(UserError, match=r"^x is \["):
            shape_of_array("x", size)
    else:
        assert shape_of_array("x", size) == shape
