"""Image folders: what is accepted and how it is converted, what is refused, decoding processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiddenmix.config.errors import UserError
from hiddenmix.data import image_folder
from hiddenmix.data.decoding import decode
from tests.support.commands import HANG
from tests.support.image_folders import Pixels, load, make_folder, pixels, scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def test_images_and_labels_are_those_of_the_files(root: Path) -> None:
    found = scan(str(root))
    assert found.classes == ["cat", "dog"]
    assert found.labels.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert found.train_size == 4
    expected = np.stack([pixels(seed).transpose(2, 0, 1) for seed in range(8)])
    np.testing.assert_array_equal(load(root), expected)


def test_nested_files_count_and_other_or_hidden_ones_do_not(root: Path) -> None:
    nested = root / "train" / "cat" / "more" / "still more"
    nested.mkdir(parents=True)
    Image.fromarray(pixels(50)).save(nested / "LAST.PNG")
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / "cat" / ".hidden.png").write_text("not an image")
    (root / "train" / "stray.png").write_text("not an image")
    for name in (".git", "cat/.hidden"):
        (root / "train" / name).mkdir()
        (root / "train" / name / "file.png").write_text("not an image")
    found = scan(str(root))
    assert [Path(name).name for name in found.names[:3]] == ["0.png", "1.png", "LAST.PNG"]
    assert len(found.names) == 9
    np.testing.assert_array_equal(load(root)[2], pixels(50).transpose(2, 0, 1))


def test_links_are_followed_and_loops_end(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.fromarray(pixels(51)).save(elsewhere / "linked.png")
    (root / "train" / "cat" / "elsewhere").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(root / "train" / "cat")
    (root / "train" / "cat" / "self").symlink_to("self")
    (root / "train" / "cat" / "here").symlink_to(".")
    assert len(scan(str(root)).names) == 9


@pytest.mark.parametrize("name", ["new\nline", "umlaut-ü", os.fsdecode(b"bytes-\xff\xfe")])
def test_odd_names_work(root: Path, name: str) -> None:
    try:
        for split in ("train", "test"):
            (root / split / "dog").rename(root / split / name)
        (root / "train" / name / "0.png").rename(root / "train" / name / f"{name}.png")
    except OSError:  # pragma: no cover
        pytest.skip("this file system does not take such names")
    found = scan(str(root))
    assert all(each.isprintable() for each in found.classes)
    assert load(root).shape == (8, 3, 10, 10)
    # the same through a decoding process, which gets the names as JSON
    np.testing.assert_array_equal(decode(found, (3, 10, 10), None, processes=2), load(root))


# conversions


def test_all_grey_gives_one_channel_and_any_colour_three(tmp_path: Path) -> None:
    root = make_folder(tmp_path, channels=1)
    grey = np.stack([pixels(seed, 1)[None] for seed in range(8)])
    np.testing.assert_array_equal(load(root), grey)
    colour = Image.fromarray(pixels(60))
    colour.save(root / "test" / "dog" / "1.png")
    images = load(root)
    np.testing.assert_array_equal(images[:7], grey[:7].repeat(3, 1))
    np.testing.assert_array_equal(images[7], pixels(60).transpose(2, 0, 1))


def convert_one(tmp_path: Path, image: Image.Image, name: str = "one.png") -> Pixels:
    """`image` as it is decoded among others of its kind."""
    for split in ("train", "test"):
        for folder in ("a", "b"):
            (tmp_path / split / folder).mkdir(parents=True)
            image.save(tmp_path / split / folder / name)
    first: Pixels = load(tmp_path)[0]
    return first


def test_16_bit_grey_is_scaled_not_cut(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    expected = np.rint(values / 257).astype(np.uint8)
    for name in ("one.png", "one.tif", "one.pgm"):
        decoded = convert_one(tmp_path / name, Image.fromarray(values), name)
        np.testing.assert_array_equal(decoded, expected[None])


def test_bits_become_black_and_white(tmp_path: Path) -> None:
    bits = pixels(1, 1) > 127
    decoded = convert_one(tmp_path, Image.fromarray(bits))
    np.testing.assert_array_equal(decoded, bits[None] * 255)


def test_palette_gives_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(2)).quantize(16)
    decoded = convert_one(tmp_path, image)
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_cmyk_gives_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (10, 10), (255, 0, 0, 0))
    decoded = convert_one(tmp_path, image, "one.jpg")
    assert decoded[0].max() <= 2  # cyan ink takes the red away
    assert decoded[1:].min() >= 253


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_transparency_is_laid_over_white(tmp_path: Path, alpha: int) -> None:
    colour = pixels(3)
    image = Image.fromarray(np.dstack([colour, np.full((10, 10), alpha, np.uint8)]))
    decoded = convert_one(tmp_path / "rgba", image)
    expected = colour * (alpha / 255) + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(decoded.transpose(1, 2, 0), expected, atol=1.01)
    grey = pixels(4, 1)
    image = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (10, 10), alpha)])
    decoded = convert_one(tmp_path / "la", image)
    expected = grey * (alpha / 255) + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(decoded, expected[None], atol=1.01)


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    image.info["transparency"] = b"\x00\xff"
    decoded = convert_one(tmp_path, image)
    assert decoded[:, 0, 0].tolist() == [255, 255, 255]
    assert decoded[:, 1, 1].tolist() == [0, 255, 0]


def test_resize_averages_over_source_pixels(tmp_path: Path) -> None:
    root = make_folder(tmp_path, side=64)
    Image.fromarray(pixels(5, side=90)[:40]).save(root / "train" / "cat" / "0.png")
    images = load(root, resize=8)
    assert images.shape == (8, 3, 8, 8)
    for index, side in ((1, 64), (7, 64)):
        source = pixels(index, side=side).transpose(2, 0, 1)
        blocks = source.reshape(3, 8, 8, 8, 8).mean((2, 4))
        # antialiased: close to block means; single pixels would be off by 70 grey levels
        assert np.abs(images[index] - blocks).mean() < 8


# decoding processes


def test_processes_give_what_one_gives_and_report(tmp_path: Path) -> None:
    root = make_folder(tmp_path, images=40)
    found = scan(str(root))
    calls: list[tuple[str, int, int]] = []
    images = decode(found, (3, 10, 10), None, lambda *call: calls.append(call), processes=3)
    np.testing.assert_array_equal(images, decode(found, (3, 10, 10), None, processes=1))
    assert [done for _, done, _ in calls] == [64, 128, 160]
    assert {total for _, _, total in calls} == {160}


def test_error_in_a_process_names_the_first_bad_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path, images=40)
    for name in ("test/dog/9.png", "test/cat/39.png"):
        (root / name).write_bytes(b"damaged")
    with pytest.raises(
        UserError,
        match=r"^2 of 160 image files cannot be read: test/cat/39\.png, test/dog/9\.png\n",
    ):
        decode(scan(str(root)), (3, 10, 10), None, processes=3)


def test_a_process_that_dies_is_an_error_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path, images=40)
    started = subprocess.Popen

    def doomed(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return started([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", doomed)
    with pytest.raises(UserError, match=r"code -9"):
        decode(scan(str(root)), (3, 10, 10), None, processes=2)


def test_no_process_can_start_so_this_one_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path, images=40)

    def refuse(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert decode(scan(str(root)), (3, 10, 10), None, processes=2).shape == (160, 3, 10, 10)


def test_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=40)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from hiddenmix.data import decoding, image_folder\n"
        "from hiddenmix.config import DatasetConfig\n"
        f"found = image_folder.scan(DatasetConfig(name='image_folder', root={str(root)!r}))\n"
        "images = decoding.decode(found, (3, 10, 10), None, processes=2)\n"
        "print(len(images), 'torch' in sys.modules)\n"
    )
    package = Path(image_folder.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
    )
    assert done.stdout == "160 False\n"
    assert done.stderr == ""
