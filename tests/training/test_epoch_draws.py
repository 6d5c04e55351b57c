"""The draws of an epoch: each kind from a stream of its own, by seed, epoch and row."""

import dataclasses

import pytest
import torch
from torch import Tensor

from hiddenmix.config.schema import DatasetConfig
from hiddenmix.training.epoch_draws import EpochDraws, draw_epoch
from tests.support.small_training import CPU, assert_same, small


def named_tensors(draws: EpochDraws) -> dict[str, Tensor]:
    """All that is drawn by number, row by row."""
    found = {f"order {row}": order for row, order in enumerate(draws.order)}
    for row, crops in enumerate(draws.augmentation):
        assert crops is not None
        found |= {f"flip {row}": crops.flip, f"top {row}": crops.top, f"left {row}": crops.left}
    assert draws.weights is not None
    assert draws.centres is not None
    found |= {"weights": draws.weights, "centres": draws.centres}
    if draws.partners is not None:
        found |= {f"partners {row}": draws.partners[row] for row in (1, 2)}
    return found


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize("partners", ["permutation", "independent"])
def test_nothing_is_drawn_twice_in_other_epochs_seeds_or_rows(partners: str, lam: str) -> None:
    config = small(
        dataset=DatasetConfig(augment="flip_crop"),
        operation="cutmix",
        mode="triplet",
        layer=["input", "conv1", "conv2"],
        lam=lam,
        partners=partners,
        batch_size=2,
    )
    draws = draw_epoch(config, 3, 50, CPU)
    drawn = named_tensors(draws)
    for other in (
        draw_epoch(config, 4, 50, CPU),
        draw_epoch(dataclasses.replace(config, seed=1), 3, 50, CPU),
    ):
        for name, value in named_tensors(other).items():
            assert not torch.equal(value, drawn[name]), name
        assert other.layer != draws.layer
    rows = (1, 2) if partners == "permutation" else (0, 1, 2)
    kinds = ["partners"] if partners == "permutation" else ["order", "flip", "top", "left"]
    for kind in kinds:
        each = {tuple(drawn[f"{kind} {row}"].tolist()) for row in rows}
        assert len(each) == len(rows), kind
    again = named_tensors(draw_epoch(config, 3, 50, CPU))
    assert_same(again, drawn)
