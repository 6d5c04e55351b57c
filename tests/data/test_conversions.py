"""Which kinds of files are read, what is said of those that lose something, and how they are resized."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data import image_cache
from hiddenmix.data.decoding import decode, shape_of_files
from hiddenmix.data.loading import read
from hiddenmix.data.resizing import Resize
from tests.support.bad_images import png
from tests.support.image_folders import Pixels, make_folder, pixels, read_one, scan
from tests.support.raw_images import raw_png, raw_tiff

ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("0.jfif", "JPEG"),
        ("0.JPE", "JPEG"),
        ("0.gif", "GIF"),
        ("0.jp2", "JPEG2000"),
        ("0.j2k", "JPEG2000"),
        ("0.avif", "AVIF"),
        ("0.dib", "DIB"),
        ("0.pcx", "PCX"),
        ("0.apng", "PNG"),
        ("0.gif", "JPEG"),
        ("0.jpg", "PNG"),
        ("0.tga", "TGA"),
        ("0.TGA", "PNG"),
        ("0.sgi", "SGI"),
        ("0.qoi", "QOI"),
    ],
)
def test_endings_that_pillow_reads_count_whatever_the_content(
    root: Path, name: str, kind: str
) -> None:
    content = encoded(Image.new("RGB", (10, 10), (200, 30, 60)), kind)
    decoded, kinds = read_one(root, name, content)
    assert np.abs(decoded.astype(int) - np.array([200, 30, 60])[:, None, None]).max() <= 8
    assert kinds == {}


# EXIF


def turned(image: Image.Image, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exact = {"WEBP": {"lossless": True}}.get(kind, {})
    return encoded(image, kind, exif=exif, **exact)


UPRIGHT = {
    1: lambda array: array,
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.rot90(array, 2).swapaxes(0, 1),
    8: lambda array: np.rot90(array, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_images_are_turned_upright(root: Path, kind: str, orientation: int) -> None:
    stored = pixels(3)
    content = turned(Image.fromarray(stored), orientation, kind)
    decoded, kinds = read_one(root, f"0.{kind.lower()}", content)
    np.testing.assert_array_equal(decoded.transpose(1, 2, 0), UPRIGHT[orientation](stored))
    assert kinds == ({} if orientation == 1 else {"turned upright (EXIF)": 1})


def test_the_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    """A camera held upright stores 4:3 pixels and an orientation: beside images of 3:4 it fits."""
    oblong = pixels(0)[:, :8]
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(oblong).save(tmp_path / split / name / "1.png")
            lying = Image.fromarray(np.rot90(oblong, 1))
            (tmp_path / split / name / "0.jpg").write_bytes(turned(lying, 6, "PNG"))
    found = scan(tmp_path)
    assert shape_of_files(found, None) == (3, 10, 8)
    images = decode(found, (3, 10, 8), None)
    np.testing.assert_array_equal(images, np.stack([oblong.transpose(2, 0, 1)] * 8))


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0Exif\0\0II*\0", b"nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"],
)
def test_damaged_metadata_leave_the_pixels_as_they_are(root: Path, exif: bytes) -> None:
    """Pillow 6123, 8348 and 8965: reading or rewriting such metadata raises many kinds of errors."""
    image = Image.new("RGB", (10, 10), (200, 30, 60))
    decoded, kinds = read_one(root, "0.jpg", encoded(image, "JPEG", exif=exif))
    assert np.abs(decoded.astype(int) - np.array([200, 30, 60])[:, None, None]).max() <= 8
    assert kinds == {}


def test_a_raster_of_suns_gives_its_colours(root: Path) -> None:
    """Pillow reads it and does not write it: a header of eight numbers, then blue, green, red."""
    numbers = (0x59A66A95, 10, 10, 24, 300, 1, 0, 0)
    header = b"".join(number.to_bytes(4, "big") for number in numbers)
    decoded, _ = read_one(root, "0.ras", header + pixels(3)[:, :, ::-1].tobytes())
    np.testing.assert_array_equal(decoded.transpose(1, 2, 0), pixels(3))


# what loses something


def test_transparency_of_16_bit_grey_is_laid_over_white(root: Path) -> None:
    values = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
    decoded, kinds = read_one(root, "0.png", raw_png(values, 0, 16, clear=(int(values[3, 4]),)))
    expected = np.rint(values / 257).astype(np.uint8)
    expected[3, 4] = 255
    np.testing.assert_array_equal(decoded, np.stack([expected] * 3))
    assert kinds == {"of 16 bits": 1, "with transparency (laid over white)": 1}


@pytest.mark.parametrize(("kind", "ending"), [("GIF", "gif"), ("PNG", "png"), ("TIFF", "tif")])
def test_of_several_frames_the_first_is_taken_and_they_are_counted(
    root: Path, kind: str, ending: str
) -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "blue", "lime")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    decoded, kinds = read_one(root, f"0.{ending}", content)
    assert decoded[:, 5, 5].tolist() == [255, 0, 0]
    assert kinds == {"of several frames (the first is taken)": 1}


def test_what_was_converted_is_said_also_from_the_cache(root: Path) -> None:
    few = np.full((10, 10), 4095, np.uint16)
    (root / "train" / "cat" / "0.png").write_bytes(png(Image.fromarray(few)))
    Image.new("CMYK", (10, 10)).save(root / "train" / "cat" / "1.jpg")
    clear = Image.fromarray(np.dstack([pixels(3), np.full((10, 10), 9, np.uint8)]))
    clear.save(root / "train" / "dog" / "0.png")
    config = DatasetConfig(name="image_folder", root=str(root))
    expected = (
        "converted: 1 of 16 bits, 1 in CMYK, 1 with transparency (laid over white)",
        "warning: the largest 16-bit value is 4,095 of 65,535, so that 17 of 256 grey levels are left; "
        "scale the images to 16 bits first",
    )
    assert read(config).remarks == expected
    assert read(config).remarks == expected  # from the cache
    (root / "train" / "dog" / "1.png").write_bytes(png(Image.fromarray(few * 15)))
    assert len(read(config).remarks) == 1


def test_a_colour_profile_is_not_applied(root: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded, kinds = read_one(
        root, "0.png", encoded(Image.fromarray(pixels(3)), "PNG", icc_profile=profile)
    )
    np.testing.assert_array_equal(decoded.transpose(1, 2, 0), pixels(3))
    assert kinds == {}


# files that cannot be read


@pytest.mark.parametrize("processes", [1, 2])
def test_all_broken_files_are_named_at_once(tmp_path: Path, processes: int) -> None:
    """In the scan, by the header and in the pixels; ten of them and how many more."""
    root = make_folder(tmp_path, images=40)
    whole = (root / "train" / "cat" / "39.png").read_bytes()
    broken = [f"train/cat/{index}.png" for index in (10, 11, 12, 13)]
    broken += [f"train/dog/{index}.png" for index in (20, 21, 22, 23)]
    broken += [f"test/dog/{index}.png" for index in (30, 31, 32, 33)]
    for name in broken:
        (root / name).write_bytes(whole[:-60])
    (root / broken[0]).write_bytes(b"")
    (root / broken[1]).write_bytes(b"words")
    found = scan(root)
    with pytest.raises(UserError) as caught:
        decode(found, shape_of_files(found, None), None, processes=processes)
    first, second = str(caught.value).split("\n")
    assert first.startswith(
        "12 of 160 image files cannot be read: train/cat/10.png, train/cat/11.png"
    )
    assert first.endswith("test/dog/31.png and 2 more")
    assert second == "  replace or remove them (the first is empty (0 bytes))"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\0\0\0\x18ftypheic" + b"\0" * 60, "is an HEIC image, which Pillow does not read"),
        (b"\n<!DOCTYPE html>\n<html>404</html>", "is a web page: its download failed"),
        (b'<?xml version="1.0"?><svg>', "is XML or SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull brings the file"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "is what a Mac keeps beside a file"),
        (b"\0" * 5000, "holds zeros alone: it was not written to its end"),
        (b"/annex/objects/MD5-s3--01.jpg\n", "git annex get brings the file"),
        (b"404: Not Found", "is not an image but text: 404: Not Found"),
        (b"PK\x03\x04" + b"\xaa" * 60, "is an archive: unpack it"),
        (b"\xff\x0a" + b"\xaa" * 60, "is a JPEG XL image, which Pillow does not read"),
        (
            raw_tiff(np.zeros((10, 10, 3), np.float32), 2),
            "is a TIFF of a kind that Pillow does not read",
        ),
    ],
)
def test_what_is_called_an_image_and_is_none_is_told(root: Path, content: bytes, says: str) -> None:
    """Pillow 4163, among others: "cannot identify image file" leaves users guessing."""
    (root / "train" / "cat" / "0.jpg").write_bytes(content)
    found = scan(root)
    with pytest.raises(UserError, match=says) as caught:
        decode(found, (3, 10, 10), None)
    assert len(str(caught.value).splitlines()) == 2


# sizes


def resized(image: Pixels, height: int, width: int, mode: str) -> Pixels:
    return np.asarray(Resize(height, width, mode).apply(Image.fromarray(image)))


def halves(height: int, width: int) -> Pixels:
    """Left half red, right half blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0], image[:, width // 2 :, 2] = 255, 255
    return image


def test_squash_keeps_all_and_changes_the_ratio() -> None:
    result = resized(halves(8, 32), 8, 8, "squash")
    assert (result[:, :3] == (255, 0, 0)).all()
    assert (result[:, 5:] == (0, 0, 255)).all()


def test_crop_keeps_the_ratio_and_the_middle() -> None:
    image = pixels(1, side=32)[:8]
    np.testing.assert_array_equal(resized(image, 8, 8, "crop"), image[:, 12:20])
    np.testing.assert_array_equal(resized(image, 8, 16, "crop"), image[:, 8:24])
    tall = image.transpose(1, 0, 2)
    np.testing.assert_array_equal(resized(tall, 8, 8, "crop"), tall[12:20])


def test_pad_keeps_the_ratio_and_all() -> None:
    image = pixels(1, side=32)[:8]
    for result in (resized(image, 32, 32, "pad"), resized(image.swapaxes(0, 1), 32, 32, "pad")):
        assert result.shape == (32, 32, 3)
    result = resized(image, 32, 32, "pad")
    np.testing.assert_array_equal(result[12:20], image)
    assert not result[:12].any()
    assert not result[20:].any()
    line = np.full((1, 4000), 255, np.uint8)
    assert (resized(line, 8, 8, "pad") > 0).sum() == 8  # at least one pixel of it is left


def test_oblong_sizes_are_heights_and_widths(tmp_path: Path) -> None:
    root = make_folder(tmp_path, side=40)
    seen = set()
    for mode in ("squash", "crop", "pad"):
        config = DatasetConfig(
            name="image_folder", root=str(root), resize=[16, 24], resize_mode=mode
        )
        whole = read(config)
        assert tuple(whole.train.images.shape) == (4, 3, 16, 24)
        seen.add(whole.digest)
        found = scan(root, resize=[16, 24], resize_mode=mode)
        expected = decode(found, (3, 16, 24), Resize(16, 24, mode), processes=2)
        np.testing.assert_array_equal(whole.train.images, expected[:4])
    assert len(seen) == 3
    names = {path.name for path in (root / ".hiddenmix").glob("*.safetensors")}
    assert names == {f"images-16x24{end}.safetensors" for end in ("", "-crop", "-pad")}
    square = DatasetConfig(name="image_folder", root=str(root), resize=[16, 16])
    assert read(square).digest == read(DatasetConfig(**{**vars(square), "resize": 16})).digest
    assert image_cache.shape(scan(root), Resize(16, 16)) == (3, 16, 16)
