"""Stratified splits at their edges."""

import pytest
import torch

from hiddenmix.config import DatasetConfig
from hiddenmix.data import Images
from hiddenmix.data.splitting import split


@pytest.mark.parametrize("rare", [1, 2])
@pytest.mark.parametrize("validation", [0.3, 0.9])
def test_the_hold_out_leaves_every_class_an_image_to_train_on(rare: int, validation: float) -> None:
    labels = torch.tensor([0] * 40 + [1] * rare + [2] * 40)
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    train, held = split(DatasetConfig(validation=validation), Images(images, labels), 3)
    assert held is not None
    assert set(train.labels.tolist()) == {0, 1, 2}
    assert len(held.labels) == round(validation * len(labels))
    assert sorted([*train.images.flatten().tolist(), *held.images.flatten().tolist()]) == list(
        range(len(labels))
    )
