"""The shifts of the evaluation: test images deformed in ways that no training image was.

The deformations are pure batched functions: pixels [B, C, H, W] in [0, 1] and the samples' own
parameters in, pixels of the same shape out, on whatever device the pixels are. The drawing stands
apart, in `draw`: what a sample gets depends on the kind of shift and on its position in the test
set alone, so that every network sees the same deformed images, whatever the batch size, the device
and the other shifts that are evaluated. The strengths of one kind share their draws (`rotation_40`
turns each image twice as far as `rotation_20`), so that no luck of the draw bends a curve of
accuracy against strength.

Strengths in pixels are shares of the shorter side, and scale with it: 4 pixels of 8 hide half of an
image, 4 of 32 hardly any, so that equal pixels ask other questions of other data.

Rotation, shear and zoom are those of Verma et al., Manifold Mixup (ICML 2019), table 4.
"""

import math
import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hiddenmix.randomness import stream

_STRENGTHS: dict[str, tuple[float, ...]] = {
    "rotation": (20, 40),  # degrees, at most
    "shear": (28.6, 57.3),  # degrees, at most
    "zoom": (0.6, 0.8, 1.2, 1.4),  # side of the visible window, in image sides
    "translation": (0.125, 0.25),  # shares of the shorter side, in whole pixels
    "noise": (0.05, 0.1, 0.2),  # standard deviation, in units of the pixel range [0, 1]
    "blur": (0.04, 0.08, 0.12),  # standard deviation, as a share of the shorter side
    "contrast": (0.4, 0.7, 1.5),  # factor
}

SHIFTS: dict[str, tuple[str, float]] = {
    f"{kind}_{strength:g}": (kind, strength)
    for kind, strengths in _STRENGTHS.items()
    for strength in strengths
}
"""Every shift by name, such as `rotation_20`: its kind and its strength."""

CHUNK = 128
"""Samples that one address of the evaluation stream serves, at most. It decides the draws."""

_CHUNK_VALUES = 2**21  # noise values of one address, at most: bounds the memory for large images
_DIRECTIONS = torch.tensor([(0, 1), (1, 0), (0, -1), (-1, 0)])  # right, down, left, up


def affine(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Each output pixel p, measured in pixels from the image's centre, shows the input at M p.

    `matrix` [B, 2, 2] or [1, 2, 2] acts on (x, y), x to the right and y down. Bilinear; what lies
    outside the image is 0. Pixels, not sides, are the unit: a rotation distorts no oblong image.
    """
    count, _, height, width = pixels.shape
    sides = torch.tensor([width, height], dtype=matrix.dtype, device=matrix.device)
    theta = matrix * sides / sides[:, None]  # affine_grid counts in half sides of the image
    theta = F.pad(theta, (0, 1)).to(pixels.device, pixels.dtype)
    grid = F.affine_grid(theta, [len(theta), 1, height, width], align_corners=False)
    return F.grid_sample(
        pixels,
        grid.expand(count, -1, -1, -1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )


def _matrix(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    return torch.stack([xx, xy, yx, yy], dim=-1).view(-1, 2, 2)


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre by `degrees` [B], counter-clockwise like `torch.rot90`."""
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    return affine(pixels, _matrix(cos, -sin, sin, cos))


def shear(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Lean each image's columns by `degrees` [B], its rows kept horizontal: x becomes x + tan(s) y.

    The paper gives the angles alone; this is the textbook's shear of that angle.
    """
    slope = torch.deg2rad(degrees).tan()
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return affine(pixels, _matrix(one, -slope, zero, one))


def zoom(pixels: Tensor, window: float) -> Tensor:
    """Show a window of `window` image sides about the centre.

    Below 1 it zooms in; above 1 out, with zeros around. The paper's "Zoom In (60% rescale)" is 0.6,
    its "Zoom Out (140% rescale)" is 1.4.
    """
    return affine(pixels, window * torch.eye(2, dtype=torch.float64)[None])


def translate(pixels: Tensor, offsets: Tensor) -> Tensor:
    """Move each image by whole pixels, `offsets` [B, 2] int64 = (right, down); zeros come in."""
    count, channels, height, width = pixels.shape
    offsets = offsets.to(pixels.device)
    columns = torch.arange(width, device=pixels.device) - offsets[:, :1]
    rows = torch.arange(height, device=pixels.device) - offsets[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = source.view(count, 1, -1).expand(-1, channels, -1)
    moved = pixels.flatten(2).gather(2, index).view(pixels.shape)
    return moved * inside[:, None]


def add(pixels: Tensor, noise: Tensor) -> Tensor:
    """Add `noise` [B, C, H, W] to the pixels, clamped to [0, 1]."""
    return (pixels + noise).clamp_(0, 1)


def blur(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of standard deviation `sigma` pixels, cut off at 3 sigma, mirrored at the edge.

    A blur along an axis is a product with a banded matrix, which for small images is faster than a
    convolution of each channel.
    """
    down = _blur_matrix(pixels.shape[2], sigma).to(pixels.device, pixels.dtype)
    across = _blur_matrix(pixels.shape[3], sigma).to(pixels.device, pixels.dtype)
    return down @ (pixels @ across.mT)


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """[size, size]: row i holds the weights of the pixels that make up the blurred pixel i."""
    radius = min(int(3 * sigma + 0.5), size - 1)  # a mirror image is no longer than the image
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel = kernel / kernel.sum()
    impulses = F.pad(torch.eye(size, dtype=torch.float64), (radius, radius), "reflect")
    return (impulses.unfold(1, len(kernel), 1) @ kernel).mT


def contrast(pixels: Tensor, factor: float) -> Tensor:
    """Scale each image's deviations from its mean, over pixels and channels; clamped to [0, 1]."""
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, pixels, factor).clamp_(0, 1)


def _whole_pixels(pixels: Tensor, share: float) -> int:
    """`share` of the shorter side, rounded (halves up), at least 1."""
    return max(1, int(share * min(pixels.shape[2:]) + 0.5))


_FUNCTIONS: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "rotation": lambda pixels, strength, draws: rotate(pixels, strength * draws),
    "shear": lambda pixels, strength, draws: shear(pixels, strength * draws),
    "zoom": lambda pixels, strength, _: zoom(pixels, strength),
    "translation": lambda pixels, share, draws: translate(
        pixels, _whole_pixels(pixels, share) * draws
    ),
    "noise": lambda pixels, strength, draws: add(pixels, strength * draws),
    "blur": lambda pixels, share, _: blur(pixels, share * min(pixels.shape[2:])),
    "contrast": lambda pixels, strength, _: contrast(pixels, strength),
}


def deform(pixels: Tensor, name: str, draws: Tensor) -> Tensor:
    """Apply the shift `name` of `SHIFTS` to pixels [B, C, H, W] in [0, 1].

    `draws` is what `draw` gave for the shift's kind and these samples. Raises `KeyError` for an
    unknown shift.
    """
    kind, strength = SHIFTS[name]
    return _FUNCTIONS[kind](pixels, strength, draws)


def draw(kind: str, start: int, stop: int, shape: tuple[int, int, int]) -> Tensor:
    """The draws of the samples `start` to `stop` - 1 of a test set of images of `shape` (C, H, W).

    On the CPU, with B = `stop` - `start`. Rotation and shear: float64 [B], uniform in [-1, 1).
    Translation: int64 [B, 2], one of the four directions, so that each image moves by exactly the
    strength. Noise: float32 [B, C, H, W], standard normal. The other kinds draw nothing: [B, 0].

    Drawn in chunks of a fixed number of samples, each with its own address in the evaluation
    stream, so that neither a whole set of noise nor all that comes before `start` is ever drawn.
    """
    if kind in ("zoom", "blur", "contrast"):
        return torch.empty(stop - start, 0)
    size = CHUNK
    if kind == "noise":
        size = max(1, min(CHUNK, _CHUNK_VALUES // math.prod(shape)))
    parts = []
    for chunk in range(start // size, -(-stop // size)):
        first = chunk * size
        # a shorter draw is the beginning of a longer one: the last chunk need not be drawn whole
        values = _chunk(kind, chunk, min(stop - first, size), shape)
        parts.append(values[max(start - first, 0) :])
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _chunk(kind: str, chunk: int, count: int, shape: tuple[int, int, int]) -> Tensor:
    generator = stream(0, "evaluation", zlib.crc32(kind.encode()), chunk)
    if kind == "noise":
        return torch.from_numpy(generator.standard_normal((count, *shape), dtype=np.float32))
    uniform = torch.from_numpy(generator.random(count))
    if kind == "translation":
        return _DIRECTIONS[(uniform * len(_DIRECTIONS)).long()]
    return 2 * uniform - 1
