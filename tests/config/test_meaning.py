"""Keys that mean nothing for what is chosen: refused, unless another job of the sweep needs them."""

import dataclasses

import pytest

from hiddenmix.config import (
    Config,
    ConfigError,
    DatasetConfig,
    SgdConfig,
    WrongValuesError,
    check_meaning,
    from_plain,
    idle_keys,
)


def config(name: str = "digits", **dataset: object) -> Config:
    return Config(dataset=DatasetConfig(name=name, **dataset))  # type: ignore[arg-type]


def test_the_photos_of_the_user_are_not_left_for_digits() -> None:
    with pytest.raises(ConfigError) as caught:
        check_meaning([config(root="my_photos")])
    assert str(caught.value) == (
        "dataset.root=my_photos is not allowed\n  allowed: with other data; add dataset=image_folder "
        "for a folder of images, dataset=arrays for an .npz"
    )


@pytest.mark.parametrize(
    "dataset",
    [
        DatasetConfig(root="data"),
        DatasetConfig(download=False),
        DatasetConfig(name="arrays", root="a.npz", download=False),
        DatasetConfig(name="arrays", root="a.npz", resize=32),
        DatasetConfig(name="cifar10", test="val"),
        DatasetConfig(name="import", target="a.b", root="c"),
        DatasetConfig(name="image_folder", resize_mode="crop"),
        DatasetConfig(name="image_folder", target="a.b"),
        DatasetConfig(name="arrays"),
        DatasetConfig(name="import"),
        DatasetConfig(name="image_folder", test="val", test_fraction=0.2),
    ],
    ids=repr,
)
def test_refused(dataset: DatasetConfig) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.\w+="):
        check_meaning([Config(dataset=dataset)])


@pytest.mark.parametrize(
    "dataset",
    [
        DatasetConfig(),
        DatasetConfig(name="cifar10", root="data", download=False),
        DatasetConfig(name="image_folder"),
        DatasetConfig(
            name="image_folder", root="a", train="b", test="c", resize=8, resize_mode="pad"
        ),
        DatasetConfig(name="arrays", root="a.npz"),
        DatasetConfig(name="import", target="a.b"),
    ],
    ids=repr,
)
def test_allowed(dataset: DatasetConfig) -> None:
    check_meaning([Config(dataset=dataset)])


def test_a_split_that_splits_nothing_is_said_and_not_refused() -> None:
    [said] = idle_keys([config(split_seed=5), config(split_seed=5, validation=0.1), config()])
    assert said.startswith("dataset.split_seed=5 chooses nothing without dataset.validation")
    assert idle_keys([config(split_seed=5, train_size=100), config()]) == []


def test_all_keys_without_a_meaning_are_told() -> None:
    with pytest.raises(WrongValuesError) as refused:
        check_meaning([config(root="a", resize=32)])
    keys = [each.key for each in refused.value.errors]
    assert keys == ["dataset.root", "dataset.resize"]


def test_in_a_sweep_one_job_that_needs_a_key_is_enough() -> None:
    check_meaning([config(root="sets"), config("mnist", root="sets")])
    steps = [
        Config(optimizer=SgdConfig(schedule=schedule, gamma=0.5)) for schedule in ("step", "cosine")
    ]
    check_meaning(steps)
    with pytest.raises(ConfigError, match=r"^optimizer\.gamma=0\.5 .*\n.*optimizer\.schedule=step"):
        check_meaning(steps[1:])


def test_what_a_former_version_stored_is_read() -> None:
    """It had `data` as the root of every data set."""
    stored = dataclasses.asdict(config(root="data", download=False))
    for key in ("train", "test", "test_fraction", "target", "resize_mode"):
        del stored["dataset"][key]
    assert from_plain(stored).dataset == DatasetConfig(root="data", download=False)
