"""More or fewer than 8 bits a channel: the right value of each pixel, and what is said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.loading import read
from tests.support.image_folders import make_folder, read_one
from tests.support.raw_images import raw_png, raw_tiff

RAMP = np.linspace(0, 65535, 100).astype(np.uint16).reshape(10, 10)
COLOUR = np.dstack([RAMP, RAMP[::-1], RAMP.T])
CONVERTED = {"of 16 bits": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


def high_bytes(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """What Pillow takes of 16 bits in colour: within 1 of value * 255 / 65535."""
    return (values >> 8).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "content"), [("0.png", raw_png(COLOUR, 2, 16)), ("0.tif", raw_tiff(COLOUR, 2))]
)
def test_16_bits_in_colour_are_scaled_and_said(root: Path, name: str, content: bytes) -> None:
    """Pillow 7723: a PNG of 48 bits a pixel is opened as 24 without a word."""
    decoded, kinds = read_one(root, name, content)
    np.testing.assert_array_equal(decoded.transpose(1, 2, 0), high_bytes(COLOUR))
    assert kinds == CONVERTED


@pytest.mark.parametrize("write", [lambda v: raw_png(v, 2, 16), lambda v: raw_tiff(v, 2)])
def test_12_bits_of_colour_in_16_are_warned_of(root: Path, write: Callable[..., bytes]) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(write(COLOUR // 16))
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert whole.train.images.max() == 15  # nearly black
    assert whole.remarks[0] == "converted: 8 of 16 bits"
    assert whole.remarks[1].startswith(
        "warning: the largest 16-bit value is 3,855 of 65,535, so that 16 of"
    )


def test_alpha_of_16_bits_is_laid_over_white(root: Path) -> None:
    values = np.dstack([COLOUR, np.full((10, 10), 51 * 257, np.uint16)])
    decoded, kinds = read_one(root, "0.png", raw_png(values, 6, 16))
    expected = 255 - (255 - high_bytes(COLOUR).astype(float)) * 51 / 255
    assert np.abs(decoded.transpose(1, 2, 0) - expected).max() <= 0.5
    assert kinds == {**CONVERTED, "with transparency (laid over white)": 1}


def test_a_transparent_colour_of_16_bits_is_found_again(root: Path) -> None:
    """Pillow 421 and its kind: the file's value has 16 bits, the pixels by then have 8."""
    clear = tuple(int(value) for value in COLOUR[3, 4])
    decoded, _ = read_one(root, "0.png", raw_png(COLOUR, 2, 16, clear))
    expected = high_bytes(COLOUR)
    expected[3, 4] = 255
    np.testing.assert_array_equal(decoded.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_is_found_again(root: Path, depth: int) -> None:
    """Pillow 9281: of 1 to 4 bits, the file's value and the pixel's differ by a factor."""
    top = 2**depth - 1
    values = np.rint(RAMP / 65535 * top).astype(np.uint8)
    decoded, _ = read_one(root, "0.png", raw_png(values, 0, depth, clear=(1,)))
    expected = np.where(values == 1, 255, np.rint(values * 255.0 / top))
    np.testing.assert_array_equal(decoded[0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_0_is_white_it_becomes_white(root: Path, dtype: type) -> None:
    """Pillow heeds it up to 8 bits, image-js tiff 14 not at all: X-rays and scans came out inverted."""
    top = np.iinfo(dtype).max
    values: NDArray[Any] = np.rint(RAMP / 65535 * top).astype(dtype)
    decoded, _ = read_one(root, "0.tif", raw_tiff(top - values, 0))
    np.testing.assert_array_equal(decoded[0], np.rint(values / top * 255))


def test_what_has_no_place_in_8_bits_is_refused_by_its_reason(root: Path) -> None:
    signed = (RAMP.astype(np.int32) - 5).astype(np.int16)
    cases: list[tuple[NDArray[Any], str]] = [
        (signed, "its pixels are negative"),
        (RAMP.astype(np.int32) * 2, "its pixels have more than 16 bits"),
        (RAMP.astype(np.float32), "its pixels are 32-bit floats"),
    ]
    for values, says in cases:
        with pytest.raises(UserError, match=says):
            read_one(root, "0.tif", raw_tiff(values, 1))
