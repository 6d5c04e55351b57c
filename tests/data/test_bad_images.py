"""What is refused in a folder of images: each refusal names the file and stays within two lines."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiddenmix.config.errors import UserError
from hiddenmix.data import image_files
from hiddenmix.data.decoding import decode
from tests.support.bad_images import POSTSCRIPT, huge_png, png, text_bomb
from tests.support.image_folders import load, make_folder, pixels, scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def refusal(root: Path, resize: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(root, resize)
    text = str(caught.value)
    assert text.isascii()
    assert text.isprintable() or text.replace("\n", "", 1).isprintable()
    return text


@pytest.mark.parametrize("name", ["new\nline", os.fsdecode(b"bytes-\xff\xfe"), "long" * 60])
def test_odd_names_are_escaped_and_shortened(root: Path, name: str) -> None:
    (root / "train" / "cat" / f"{name}.png").write_bytes(b"damaged")
    text = refusal(root)
    assert "train/cat/" in text
    assert "is not an image" in text
    assert len(text) < 200


def test_link_to_itself_is_named(root: Path) -> None:
    (root / "train" / "dog" / "self.png").symlink_to("self.png")
    assert "train/dog/self.png is a link that leads nowhere" in refusal(root)


def damage(root: Path, content: bytes) -> None:
    (root / "train" / "dog" / "1.png").write_bytes(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"these are words", "is not an image"),
        (POSTSCRIPT, "is not an image"),
        (png(Image.fromarray(pixels(9)))[:-60], "cannot be read"),
        (png(Image.fromarray(pixels(9)))[:20], "cannot be read"),
        (huge_png(10_000), "too large"),  # Pillow alone would only warn
        (huge_png(20_000), "too large"),
        (png(Image.fromarray(pixels(9, side=11))), "11x11 pixels, others 10x10"),
        (png(Image.fromarray(pixels(9, side=1))), "1x1 pixels, others 10x10"),
        (text_bomb(), "cannot be read"),
    ],
    ids=[
        "empty",
        "text",
        "PostScript",
        "truncated",
        "cut header",
        "100 megapixels",
        "400 megapixels",
        "another size",
        "one pixel",
        "text bomb",
    ],
)
def test_bad_file_is_named(root: Path, content: bytes, says: str) -> None:
    damage(root, content)
    text = refusal(root)
    assert "train/dog/1.png" in text
    assert says in text
    if "others" in says:
        assert "dataset.resize=" in text


def test_float_and_32_bit_pixels_are_refused(root: Path) -> None:
    for values, says in (
        (np.ones((10, 10), np.float32), "floats"),
        (np.full((10, 10), 70_000, np.int32), "16 bits"),
        (np.full((10, 10), -1, np.int32), "16 bits"),
    ):
        Image.fromarray(values).save(root / "train" / "dog" / "odd.tif")
        assert "odd.tif" in refusal(root)
        assert says in refusal(root)


def test_small_images_are_refused_unless_resized(tmp_path: Path) -> None:
    root = make_folder(tmp_path, side=7)
    assert "7x7" in refusal(root)
    assert "8x8" in refusal(root)
    assert load(root, resize=8).shape == (8, 3, 8, 8)


def test_wrong_layouts_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "train" / "bird").mkdir()
    assert "class folder train/bird holds no image" in refusal(root)
    (root / "test" / "bird").mkdir()
    assert "class folder train/bird holds no image" in refusal(root)
    (root / "train" / "bird").rmdir()
    assert "only in test/: [bird]" in refusal(root)
    assert "train/" in refusal(tmp_path / "nowhere")
    (root / "test").rename(root / "tests")
    assert "no folder test/" in refusal(root)
    (root / "test").symlink_to("test")
    assert "no folder test/" in refusal(root)
    one = make_folder(tmp_path / "one")
    for split in ("train", "test"):
        for path in (one / split / "dog").iterdir():
            path.unlink()
        (one / split / "dog").rmdir()
    assert "two or more classes" in refusal(one)


def test_a_pipe_is_refused_not_opened(root: Path) -> None:
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    assert "pipe.png is not a regular file" in refusal(root)


def test_unreadable_file_and_folder_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits do not stop root, so the refusal by the system is played."""
    opened = Image.open

    def refuse_file(path: str, formats: tuple[str, ...]) -> Image.Image:
        if str(path).endswith("train/dog/1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, formats=formats)

    monkeypatch.setattr(Image, "open", refuse_file)
    assert refusal(root).startswith("train/dog/1.png cannot be read: Permission denied")
    listed = os.scandir

    def refuse_folder(path: str) -> object:
        if path.endswith("cat"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse_folder)
    assert refusal(root).startswith("train/cat cannot be read: Permission denied")


def test_file_that_vanishes_is_named(root: Path) -> None:
    found = scan(str(root))
    (root / "test" / "cat" / "0.png").unlink()
    with pytest.raises(UserError, match=r"test/cat/0\.png cannot be read: No such file"):
        decode(found, (3, 10, 10), None)


def test_a_jpeg_larger_than_allowed_is_read_where_it_is_resized(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """detectron2 1221: cameras of 100 million pixels; of a JPEG an eighth suffices."""
    left_red = np.zeros((40, 160, 3), np.uint8)
    left_red[:, :80, 0], left_red[:, 80:, 2] = 255, 255
    Image.fromarray(left_red).save(root / "train" / "cat" / "0.jpg", quality=95)
    (root / "train" / "cat" / "0.png").unlink()
    whole = load(root, resize=10)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 40 * 160 - 1)
    assert "is too large to decode" in refusal(root)
    assert np.abs(load(root, resize=10).astype(int) - whole).max() <= 2
    Image.fromarray(left_red).save(root / "train" / "cat" / "0.png")
    with pytest.raises(UserError, match=r"0\.png is too large to decode"):
        load(root, resize=10)
