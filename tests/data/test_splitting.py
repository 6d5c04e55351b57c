"""Stratified splits at their edges."""

from dataclasses import replace

import pytest
import torch

from hiddenmix.config import ConfigError, DatasetConfig
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


@pytest.mark.parametrize("validation", [0.0, 0.25])
def test_a_subset_of_all_images_is_no_sample_of_the_seeds_own(validation: float) -> None:
    labels = torch.arange(40) % 2
    images = torch.arange(40, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    left = 40 - round(40 * validation)
    config = DatasetConfig(train_size=left, validation=validation, resample=True)
    with pytest.raises(
        ConfigError, match=rf"dataset.train_size={left} .*\n  allowed: below {left} "
    ):
        split(config, Images(images, labels), 2)
    assert len(split(replace(config, resample=False), Images(images, labels), 2)[0].labels) == left
    fewer = replace(config, train_size=left - 2)
    found = [split(fewer, Images(images, labels), 2, seed)[0].images for seed in range(4)]
    assert len({tuple(each.flatten().tolist()) for each in found}) > 1
