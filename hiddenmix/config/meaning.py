"""Keys that mean nothing beside what else is chosen: refused where a user typed them, with what to add.

Not for stored configurations, which a former version may have written.
"""

from collections.abc import Callable, Iterator, Sequence

from hiddenmix.config.errors import ConfigError, refuse
from hiddenmix.config.schema import Config, DatasetConfig, OptimizerConfig

_FOLDER, _ARRAYS, _IMPORT = "image_folder", "arrays", "import"
_DOWNLOADED = ("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn")

# key: the data sets that it means something for, and what to type
_DATASET: dict[str, tuple[tuple[str, ...], str]] = {
    "root": (
        (_FOLDER, _ARRAYS, *_DOWNLOADED),
        "with other data; add dataset=image_folder for a folder of images, dataset=arrays for an .npz",
    ),
    "train": ((_FOLDER,), "only with dataset=image_folder; add that"),
    "test": ((_FOLDER,), "only with dataset=image_folder; add that"),
    "test_fraction": ((_FOLDER,), "only with dataset=image_folder; add that"),
    "resize": ((_FOLDER,), "only with dataset=image_folder; add that"),
    "resize_mode": ((_FOLDER,), "only with dataset=image_folder and dataset.resize; add these"),
    "target": ((_IMPORT,), "only with dataset=import; add that"),
    "download": (_DOWNLOADED, f"only with dataset={'|'.join(_DOWNLOADED)}; leave it out"),
}
_OPTIMIZER = {"warmup": "one_cycle", "milestones": "step", "gamma": "step"}  # key: schedule
_Rule = tuple[
    str, object, Callable[[Config], bool], str
]  # key, default, has a meaning, what to type


def _rules() -> list[_Rule]:
    def of_dataset(names: tuple[str, ...]) -> Callable[[Config], bool]:
        return lambda config: config.dataset.name in names

    def of_schedule(name: str) -> Callable[[Config], bool]:
        return lambda config: config.optimizer.schedule == name

    dataset, optimizer = DatasetConfig(), OptimizerConfig()
    return [
        *(
            (f"dataset.{key}", getattr(dataset, key), of_dataset(names), text)
            for key, (names, text) in _DATASET.items()
        ),
        (
            "dataset.resize_mode",
            dataset.resize_mode,
            lambda config: config.dataset.resize is not None,
            "only with dataset.resize=<side>; add that",
        ),
        *(
            (
                f"optimizer.{key}",
                getattr(optimizer, key),
                of_schedule(name),
                f"only with optimizer.schedule={name}; add that",
            )
            for key, name in _OPTIMIZER.items()
        ),
    ]


def check_meaning(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` for a key that was set and means nothing in any of a command's `configs`, or
    `WrongValuesError` for several.

    In a sweep over data sets a key may be for some of them alone.
    """
    refuse([*_meaningless(configs), *_lacking(configs)])


def _meaningless(configs: Sequence[Config]) -> Iterator[ConfigError]:
    for key, default, means, text in _rules():
        group, name = key.split(".")
        values = [getattr(getattr(config, group), name) for config in configs]
        is_set = [value for value in values if value != default]
        if is_set and not any(means(config) for config in configs):
            yield ConfigError(key, is_set[0], text)
    most = [each.max_repeats for each in configs if each.max_repeats != Config().max_repeats]
    if most and not any(each.repeats == "auto" for each in configs):
        yield ConfigError("max_repeats", most[0], "only with repeats=auto; add that")


def _lacking(configs: Sequence[Config]) -> Iterator[ConfigError]:
    for config in configs:
        dataset = config.dataset
        if dataset.name == _ARRAYS and dataset.root is None:
            yield ConfigError("dataset.root", None, "an .npz file, with dataset=arrays")
        if dataset.name == _IMPORT and dataset.target is None:
            yield ConfigError("dataset.target", None, "<module>.<function>, with dataset=import")
        if dataset.test is not None and dataset.test_fraction is not None:
            rule = "null where dataset.test names a folder"
            yield ConfigError("dataset.test_fraction", dataset.test_fraction, rule)


def idle_keys(configs: Sequence[Config]) -> list[str]:
    """A line for each key that changes nothing, and yet makes other networks of the same ones."""
    idle = {
        config.dataset.split_seed: None
        for config in configs
        if config.dataset.split_seed != DatasetConfig().split_seed
        and config.dataset.validation == 0
        and config.dataset.train_size is None
    }
    return [
        f"dataset.split_seed={each} chooses nothing without dataset.validation or dataset.train_size: "
        "the training is the same, yet its networks are not those without the key"
        for each in idle
    ]
