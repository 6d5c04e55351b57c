"""Augmentation and normalisation against sample-by-sample recomputation; draws and their law."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from hiddenmix.data.batches import PADDING, AugmentationDraws, augment, draw_augmentation, normalise
from hiddenmix.randomness import stream


def draws(seed: int, count: int) -> AugmentationDraws:
    drawn = draw_augmentation("flip_crop", stream(seed, "augment", 0), count)
    assert drawn is not None
    return drawn


def images(count: int, channels: int = 3, height: int = 12, width: int = 9) -> Tensor:
    # no black pixel, so that padding can be told from the image
    return torch.from_numpy(
        stream(1, "test").integers(1, 256, (count, channels, height, width), dtype=np.uint8)
    )


def augment_one(image: Tensor, flip: bool, top: int, left: int) -> Tensor:
    """[C, H, W]; crop from the padded image, then mirror, pixel by pixel."""
    channels, height, width = image.shape
    result = torch.zeros_like(image)
    for channel in range(channels):
        for y in range(height):
            for x in range(width):
                row, column = y + top - PADDING, x + left - PADDING
                if 0 <= row < height and 0 <= column < width:
                    result[channel, y, width - 1 - x if flip else x] = image[channel, row, column]
    return result


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_equals_recomputation_sample_by_sample(channels: int) -> None:
    batch, drawn = images(20, channels), draws(0, 20)
    assert drawn.flip.any()
    assert not drawn.flip.all()
    expected = torch.stack(
        [
            augment_one(batch[i], bool(drawn.flip[i]), int(drawn.top[i]), int(drawn.left[i]))
            for i in range(20)
        ]
    )
    kept = batch.clone()
    result = augment(batch, drawn)
    assert result.dtype == torch.uint8
    assert torch.equal(result, expected)
    assert torch.equal(batch, kept)


def test_centred_unmirrored_crop_changes_nothing() -> None:
    middle = torch.full((5,), PADDING)
    batch = images(5)
    none = torch.zeros(5, dtype=torch.bool)
    assert torch.equal(augment(batch, AugmentationDraws(none, middle, middle)), batch)
    assert torch.equal(augment(batch, AugmentationDraws(~none, middle, middle)), batch.flip(3))


def test_draws_belong_to_positions_not_to_batches() -> None:
    batch, drawn = images(20), draws(3, 20)
    whole = augment(batch, drawn)
    parts = [augment(batch[at : at + 7], drawn[at : at + 7]) for at in range(0, 20, 7)]
    assert torch.equal(torch.cat(parts), whole)


def test_layout_in_memory_does_not_matter() -> None:
    batch, drawn = images(6), draws(4, 6)
    last = batch.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment(last, drawn), augment(batch, drawn))


def test_draws_follow_their_law() -> None:
    drawn = draws(0, 9_000)
    assert stats.binomtest(int(drawn.flip.sum()), 9_000, 0.5).pvalue > 1e-3
    for corner in (drawn.top, drawn.left):
        counts = np.bincount(corner.numpy())
        assert len(counts) == 2 * PADDING + 1
        assert stats.chisquare(counts).pvalue > 1e-3
    together = np.stack([drawn.flip.numpy(), drawn.top.numpy(), drawn.left.numpy()])
    assert np.abs(np.corrcoef(together) - np.eye(3)).max() < 0.05


def test_same_stream_same_draws() -> None:
    one, again, other = draws(5, 50), draws(5, 50), draws(6, 50)
    assert torch.equal(one.flip, again.flip)
    assert torch.equal(one.top, again.top)
    assert torch.equal(one.left, again.left)
    assert not torch.equal(one.top, other.top)


def test_no_augmentation_draws_nothing_and_unknown_one_is_refused() -> None:
    generator = stream(0, "augment", 0)
    before = generator.bit_generator.state
    assert draw_augmentation("none", generator, 10) is None
    assert generator.bit_generator.state == before
    with pytest.raises(ValueError, match="flip_crop"):
        draw_augmentation("flip", generator, 10)


MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.1])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_equals_the_formula(memory_format: torch.memory_format) -> None:
    batch = images(4)
    unit = batch.double() / 255
    expected = (unit - MEAN.double()[None, :, None, None]) / STD.double()[None, :, None, None]
    for given in (batch, unit.float()):
        result = normalise(given, MEAN, STD, memory_format)
        assert result.dtype == torch.float32
        assert result.is_contiguous(memory_format=memory_format)
        torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6)


def test_normalise_is_differentiable_and_leaves_its_input() -> None:
    unit = (images(2).float() / 255).requires_grad_()
    kept = unit.detach().clone()
    normalise(unit, MEAN, STD).sum().backward()  # type: ignore[no-untyped-call]
    assert unit.grad is not None
    torch.testing.assert_close(unit.grad, (1 / STD)[None, :, None, None].expand(2, 3, 12, 9))
    assert torch.equal(unit.detach(), kept)
