"""Each deformation against a recomputation sample by sample that shares no code with it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from hiddenmix.evaluation import deformations
from hiddenmix.evaluation.deformations import (
    SHIFTS,
    add,
    affine,
    blur,
    contrast,
    deform,
    draw,
    rotate,
    shear,
    translate,
    zoom,
)

SHAPES = [(5, 1, 8, 8), (3, 3, 32, 32), (2, 3, 9, 14), (1, 1, 17, 8)]


def _pixels(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _warp(image: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]) -> Tensor:
    """An image [C, H, W] as SciPy samples it at x, y [H, W], in pixels from its centre."""
    centre = (np.array(image.shape[1:]) - 1) / 2
    coordinates = np.stack([y + centre[0], x + centre[1]])
    channels = [
        ndimage.map_coordinates(channel, coordinates, order=1, mode="grid-constant", cval=0)
        for channel in image
    ]
    return torch.from_numpy(np.stack(channels))


def _grid(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x - (width - 1) / 2, y - (height - 1) / 2


@pytest.mark.parametrize("shape", SHAPES)
def test_rotation_turns_each_sample_by_its_own_angle(shape: tuple[int, ...]) -> None:
    pixels, degrees = _pixels(shape), torch.linspace(-40, 33, shape[0], dtype=torch.float64)
    x, y = _grid(*shape[2:])
    rotated = rotate(pixels, degrees)
    for image, angle, result in zip(pixels, degrees.tolist(), rotated, strict=True):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # counter-clockwise on the screen, where y points down
        expected = _warp(image.numpy(), cos * x - sin * y, sin * x + cos * y)
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("side", [8, 9, 32])
def test_rotation_by_right_angles_equals_rot90(turns: int, side: int) -> None:
    pixels = _pixels((3, 3, side, side))
    rotated = rotate(pixels, torch.full((3,), 90.0 * turns, dtype=torch.float64))
    torch.testing.assert_close(rotated, torch.rot90(pixels, turns, (2, 3)), atol=1e-5, rtol=0)


def test_rotation_does_not_distort_an_oblong_image() -> None:
    pixels = torch.zeros(1, 1, 9, 21)
    pixels[..., 4, 7:14] = 1  # a bar of 7 pixels along the row through the centre
    expected = torch.zeros(1, 1, 9, 21)
    expected[..., 1:8, 10] = 1  # stands upright, as long as before
    rotated = rotate(pixels, torch.tensor([90.0], dtype=torch.float64))
    torch.testing.assert_close(rotated, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_shear_leans_the_columns_by_the_angle(shape: tuple[int, ...]) -> None:
    pixels, degrees = _pixels(shape), torch.linspace(-57.3, 28.6, shape[0], dtype=torch.float64)
    x, y = _grid(*shape[2:])
    for image, angle, result in zip(pixels, degrees.tolist(), shear(pixels, degrees), strict=True):
        expected = _warp(image.numpy(), x - math.tan(math.radians(angle)) * y, y)
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_shear_by_45_degrees_moves_each_row_by_its_height() -> None:
    pixels = _pixels((1, 1, 3, 5))
    expected = torch.zeros(1, 1, 3, 5)
    expected[..., 0, :4] = pixels[..., 0, 1:]  # the row above the centre to the left
    expected[..., 1, :] = pixels[..., 1, :]
    expected[..., 2, 1:] = pixels[..., 2, :4]
    sheared = shear(pixels, torch.tensor([45.0], dtype=torch.float64))
    torch.testing.assert_close(sheared, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [0.6, 0.8, 1.2, 1.4])
def test_zoom_shows_a_window_of_that_many_sides(shape: tuple[int, ...], window: float) -> None:
    pixels = _pixels(shape)
    x, y = _grid(*shape[2:])
    for image, result in zip(pixels, zoom(pixels, window), strict=True):
        expected = _warp(image.numpy(), window * x, window * y)
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_zoom_below_1_enlarges_and_above_1_shrinks() -> None:
    pixels = torch.zeros(1, 1, 32, 32)
    pixels[..., 12:20, 12:20] = 1
    assert zoom(pixels, 0.6).sum() > 2 * pixels.sum()
    assert zoom(pixels, 1.4).sum() < 0.6 * pixels.sum()
    assert (zoom(torch.ones(1, 1, 32, 32), 1.4)[..., :4, :] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("strength", [0, 2, 4, 30])
def test_translation_equals_a_roll_with_zeros(shape: tuple[int, ...], strength: int) -> None:
    pixels = _pixels(shape) + 0.1
    directions = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, -1)]
    offsets = strength * torch.tensor([directions[i % 5] for i in range(shape[0])])
    _, _, height, width = shape
    for image, (right, down), result in zip(
        pixels, offsets.tolist(), translate(pixels, offsets), strict=True
    ):
        expected = image.roll((down, right), (1, 2))
        for row in range(height):
            for column in range(width):
                if not (0 <= row - down < height and 0 <= column - right < width):
                    expected[:, row, column] = 0
        assert torch.equal(result, expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_equals_scipys_mirrored_gaussian(shape: tuple[int, ...], sigma: float) -> None:
    pixels = _pixels(shape)
    for image, result in zip(pixels, blur(pixels, sigma), strict=True):
        for channel, blurred in zip(image, result, strict=True):
            expected = ndimage.gaussian_filter(channel.numpy(), sigma, mode="mirror", truncate=3)
            torch.testing.assert_close(blurred, torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_blur_works_on_an_image_smaller_than_its_kernel() -> None:
    flat = torch.full((1, 1, 1, 3), 0.25)
    torch.testing.assert_close(blur(flat, 2.0), flat)


@pytest.mark.parametrize("factor", [0.4, 0.7, 1.5])
def test_contrast_scales_around_each_images_own_mean(factor: float) -> None:
    pixels = _pixels((4, 3, 8, 9)) * torch.tensor([0.2, 0.5, 0.9, 1.0]).view(-1, 1, 1, 1)
    for image, result in zip(pixels, contrast(pixels, factor), strict=True):
        mean = image.numpy().mean()
        expected = np.clip(mean + factor * (image.numpy() - mean), 0, 1)
        torch.testing.assert_close(result, torch.from_numpy(expected), atol=1e-6, rtol=0)


def test_noise_is_added_and_clamped() -> None:
    pixels = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    noise = torch.tensor([-0.1, 0.2, 0.3]).view(1, 1, 1, 3)
    assert add(pixels, noise).flatten().tolist() == pytest.approx([0.0, 0.7, 1.0])


@pytest.mark.parametrize("shape", SHAPES)
def test_strength_zero_is_the_identity(shape: tuple[int, ...]) -> None:
    pixels = _pixels(shape)
    zeros = torch.zeros(shape[0], dtype=torch.float64)
    for result in (
        rotate(pixels, zeros),
        shear(pixels, zeros),
        zoom(pixels, 1.0),
        translate(pixels, torch.zeros(shape[0], 2, dtype=torch.int64)),
        add(pixels, torch.zeros(shape)),
        blur(pixels, 1e-3),
        contrast(pixels, 1.0),
        affine(pixels, torch.eye(2, dtype=torch.float64)[None]),
    ):
        torch.testing.assert_close(result, pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shift_changes_the_image_and_nothing_else(name: str, shape: tuple[int, ...]) -> None:
    pixels = _pixels(shape)
    before = pixels.clone()
    count, channels, height, width = shape
    draws = draw(SHIFTS[name][0], 0, count, (channels, height, width))
    moved = deform(pixels, name, draws)
    assert moved.shape == pixels.shape
    assert moved.dtype == torch.float32
    assert moved.min() >= -1e-6
    assert moved.max() <= 1 + 1e-6
    assert torch.equal(pixels, before)
    assert (moved - pixels).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    for sample in range(count):  # a batch of one gives what the sample gets in a larger batch
        one = slice(sample, sample + 1)
        alone = deform(pixels[one], name, draws[one])
        torch.testing.assert_close(alone, moved[one], atol=1e-6, rtol=0)


def test_the_shifts_are_those_of_the_design() -> None:
    assert list(SHIFTS) == [
        "rotation_20",
        "rotation_40",
        "shear_28.6",
        "shear_57.3",
        "zoom_0.6",
        "zoom_0.8",
        "zoom_1.2",
        "zoom_1.4",
        "translation_0.125",
        "translation_0.25",
        "noise_0.05",
        "noise_0.1",
        "noise_0.2",
        "blur_0.04",
        "blur_0.08",
        "blur_0.12",
        "contrast_0.4",
        "contrast_0.7",
        "contrast_1.5",
    ]


def test_the_page_lists_every_shift() -> None:
    page = (Path(__file__).parents[2] / "docs/reference.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([\d., ]+) \|", page.partition("| family |")[2], re.MULTILINE)
    listed = [
        f"{kind}_{strength}" for kind, strengths in rows for strength in strengths.split(", ")
    ]
    assert listed == list(SHIFTS)
    assert f"The shifts, {len(SHIFTS)} in seven families" in page
    assert len(rows) == 7


def test_an_unknown_shift_is_refused() -> None:
    with pytest.raises(KeyError, match="rotation_21"):
        deform(_pixels((1, 1, 8, 8)), "rotation_21", torch.empty(1, 0))


@pytest.mark.parametrize("kind", ["rotation", "shear", "translation", "noise", "zoom"])
@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 224, 224)])
def test_a_draw_depends_on_the_samples_position_alone(
    kind: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 300
    if kind == "noise" and shape[1] > 100:  # large images: few to an address, few drawn here
        monkeypatch.setattr(deformations, "_CHUNK_VALUES", 7 * math.prod(shape))
        count = 16
    whole = draw(kind, 0, count, shape)
    assert len(whole) == count
    for size in (1, 5, count // 2 + 1):
        for start in {0, 6, 7, count - size}:
            part = draw(kind, start, start + size, shape)
            assert torch.equal(part, whole[start : start + size])


def test_draws_have_their_distributions_and_leave_global_generators_alone() -> None:
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index]
    angles = draw("rotation", 0, 4000, (1, 8, 8))
    offsets = draw("translation", 0, 4000, (1, 8, 8))
    noise = draw("noise", 0, 400, (1, 8, 8))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # type: ignore[index]
    assert -1 <= angles.min() < -0.99
    assert 0.99 < angles.max() < 1
    assert abs(angles.mean()) < 0.04
    assert sorted(set(map(tuple, offsets.tolist()))) == [(-1, 0), (0, -1), (0, 1), (1, 0)]
    assert abs((offsets[:, 0] != 0).double().mean() - 0.5) < 0.04
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
    assert not torch.equal(angles, draw("shear", 0, 4000, (1, 8, 8)))


def test_the_draws_are_the_same_in_every_version() -> None:
    """With other draws, new cells could no longer be compared with a study's finished ones."""
    angles = draw("rotation", 127, 130, (1, 8, 8)).tolist()
    assert angles == pytest.approx([-0.73609097, 0.36292689, -0.84778841])
    offsets = draw("translation", 0, 4, (1, 8, 8)).tolist()
    assert offsets == [[0, -1], [0, 1], [0, -1], [0, -1]]
    noise = draw("noise", 128, 129, (1, 1, 3)).flatten().tolist()
    assert noise == pytest.approx([0.44245371, -0.97520196, -0.44706997])


@pytest.mark.parametrize(("side", "pixels"), [(8, (1, 2)), (28, (4, 7)), (32, (4, 8))])
def test_pixels_are_shares_of_the_shorter_side(side: int, pixels: tuple[int, int]) -> None:
    """4 pixels of 8 are another question than 4 of 32."""
    images = torch.rand(3, 1, side, side + 3)
    right = torch.tensor([[1, 0]] * 3)
    for share, distance in zip((0.125, 0.25), pixels, strict=True):
        moved = deform(images, f"translation_{share}", right)
        assert torch.equal(moved[..., distance:], images[..., :-distance])
        assert not moved[..., :distance].any()
    none = torch.empty(3, 0)
    torch.testing.assert_close(deform(images, "blur_0.08", none), blur(images, 0.08 * side))
