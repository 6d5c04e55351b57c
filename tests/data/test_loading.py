"""Digits and image folders as they are trained on: content, splits, mean and std, refusals."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from hiddenmix.config.errors import ConfigError, UserError
from hiddenmix.config.schema import DatasetConfig
from hiddenmix.data.images import Data, Images
from hiddenmix.data.loading import describe, load
from hiddenmix.data.stratification import stratified
from tests.support.image_folders import make_folder


@pytest.fixture(autouse=True)
def no_user_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


# digits


def test_digits_are_scikit_learns_scaled_and_split_once() -> None:
    data = load(DatasetConfig())
    assert data.train.images.shape == (1437, 1, 8, 8)
    assert data.test.images.shape == (360, 1, 8, 8)
    assert data.classes == [str(digit) for digit in range(10)]
    source = load_digits()
    scaled = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(source.images, source.target, strict=True)
    }
    seen = set()
    for split in (data.train, data.test):
        for image, label in zip(split.images, split.labels, strict=True):
            assert scaled[image.numpy().tobytes()] == label
            seen.add(image.numpy().tobytes())
    assert len(seen) == len(scaled)  # all images, none in both splits
    shares = np.bincount(data.test.labels) / 360
    whole = np.bincount(source.target) / 1797
    assert np.abs(shares - whole).max() < 1 / 360
    # the published split: another one would make results incomparable
    digest = hashlib.sha256(data.test.images.numpy().tobytes()).hexdigest()
    assert digest == "ac6ada28192bd51afee49bd7498331d97a9233e21e762b219700b723b191dbf1"


def test_digits_split_ignores_every_seed() -> None:
    one, other = (load(DatasetConfig(split_seed=seed)) for seed in (0, 1))
    assert torch.equal(one.train.images, other.train.images)


def test_mean_and_std_are_those_of_the_training_images_in_use() -> None:
    for config in (DatasetConfig(), DatasetConfig(train_size=50, validation=0.2)):
        data = load(config)
        unit = data.train.images.double() / 255
        torch.testing.assert_close(data.mean, unit.mean((0, 2, 3)).float())
        torch.testing.assert_close(data.std, unit.std((0, 2, 3), correction=0).float())
        assert data.mean.dtype == data.std.dtype == torch.float32


def test_std_of_constant_images_is_not_zero(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images")
    for path in root.rglob("*.png"):
        Image.new("RGB", (10, 10), (0, 128, 255)).save(path)
    data = load(DatasetConfig(name="image_folder", root=str(root)))
    torch.testing.assert_close(data.mean, torch.tensor([0, 128 / 255, 1]))
    torch.testing.assert_close(data.std, torch.full((3,), 1 / 255))


def test_moving_moves_everything() -> None:
    moved = load(DatasetConfig(validation=0.1)).to("meta")
    assert isinstance(moved, Data)
    assert moved.validation is not None
    tensors = [moved.mean, moved.std]
    for split in (moved.train, moved.test, moved.validation):
        assert isinstance(split, Images)
        tensors += [split.images, split.labels]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


# splits


def rows(split: Images | None) -> set[bytes]:
    assert split is not None
    return {image.numpy().tobytes() for image in split.images}


def test_validation_and_train_size_are_stratified_disjoint_and_fixed() -> None:
    whole = load(DatasetConfig())
    config = DatasetConfig(validation=0.1, train_size=300)
    data = load(config)
    assert describe(config).train_size == len(data.train.labels) == 300
    assert data.validation is not None
    assert len(data.validation.labels) == 144
    assert not rows(data.train) & rows(data.validation)
    assert rows(data.train) | rows(data.validation) < rows(whole.train)
    assert torch.equal(data.test.images, whole.test.images)
    proportions = np.bincount(whole.train.labels) / 1437
    for split, size in ((data.train, 300), (data.validation, 144)):
        assert np.abs(np.bincount(split.labels) - size * proportions).max() <= 1
    again = load(config)
    assert torch.equal(again.train.images, data.train.images)
    other = load(DatasetConfig(validation=0.1, train_size=300, split_seed=1))
    assert rows(other.train) != rows(data.train)
    assert rows(other.validation) != rows(data.validation)
    smaller = load(DatasetConfig(validation=0.1, train_size=100))
    assert rows(smaller.validation) == rows(data.validation)
    assert rows(smaller.train) < rows(data.train)


@pytest.mark.parametrize("size", [10, 1436, 1437])
def test_extreme_train_sizes(size: int) -> None:
    data = load(DatasetConfig(train_size=size))
    assert len(data.train.labels) == size
    assert set(data.train.labels.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (DatasetConfig(train_size=1438), "dataset.train_size=1438"),
        (DatasetConfig(train_size=9), "dataset.train_size=9"),
        (DatasetConfig(train_size=1400, validation=0.1), "dataset.train_size=1400"),
        (DatasetConfig(validation=0.001), "dataset.validation=0.001"),
        (DatasetConfig(name="cifar100", validation=0.9, train_size=5001), "dataset.train_size"),
    ],
)
def test_impossible_splits_are_refused_before_loading(config: DatasetConfig, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        describe(config)
    assert str(caught.value).startswith(key)
    assert len(str(caught.value).splitlines()) == 2
    if config.name == "digits":
        with pytest.raises(ConfigError):
            load(config)


def test_stratified_takes_the_smallest_keys_of_each_class() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    keys = np.array([0.4, 0.1, 0.3, 0.2, 0.9, 0.8])
    assert stratified(labels, 3, keys).nonzero()[0].tolist() == [1, 3, 5]


def test_stratified_keeps_rare_classes_on_both_sides() -> None:
    labels = np.repeat([0, 1, 2], [97, 2, 1])
    keys = np.random.default_rng(0).random(100)
    held = stratified(labels, 10, keys, leave=1)
    assert np.bincount(labels[held], minlength=3).tolist() == [9, 1, 0]
    subset = stratified(labels, 10, keys)
    assert np.bincount(labels[subset]).tolist() == [8, 1, 1]


def test_stratified_sizes_are_exact() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        classes = int(generator.integers(2, 12))
        labels = generator.permutation(
            np.concatenate([np.arange(classes), generator.integers(0, classes, 60)])
        )
        size = int(generator.integers(classes, len(labels) + 1))
        chosen = stratified(labels, size, generator.random(len(labels)))
        counts = np.bincount(labels[chosen], minlength=classes)
        assert counts.sum() == size
        assert counts.min() >= 1


# image folders


def test_image_folder_is_described_as_it_is_loaded(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=5)
    for resize in (None, 16):
        config = DatasetConfig(name="image_folder", root=str(root), resize=resize, validation=0.2)
        described, data = describe(config), load(config)
        assert tuple(data.train.images.shape) == (described.train_size, *described.shape)
        assert data.classes == ["cat", "dog"]
        assert data.validation is not None
        assert data.validation.labels.tolist() == [0, 1]
        assert data.test.labels.tolist() == [0] * 5 + [1] * 5
        assert data.test.images.is_contiguous()


def test_describing_writes_nothing(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images")
    before = sorted(tmp_path.rglob("*"))
    describe(DatasetConfig(name="image_folder", root=str(root)))
    describe(DatasetConfig(name="cifar10", root=str(tmp_path / "absent")))
    assert sorted(tmp_path.rglob("*")) == before


def test_image_folder_larger_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "images")
    monkeypatch.setattr(os, "sysconf", lambda _: 40)  # 40 pages of 40 bytes; the images need 2,400
    with pytest.raises(UserError, match=r"dataset\.resize="):
        describe(DatasetConfig(name="image_folder", root=str(root)))
