"""Keys that mean nothing beside what else is chosen: refused where a user typed them, with what to add.

Not for stored configurations, which a former version may have written.
"""

from collections.abc import Callable, Sequence

from hiddenmix.config.errors import ConfigError
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
    "download": (_DOWNLOADED, f"only with dataset={'|'.join(_DOWNLOADED)}; leave it away"),
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
    """Raise `ConfigError` for a key that was set and means nothing in any of a command's `configs`.

    In a sweep over data sets a key may be for some of them alone.
    """
    for key, default, means, text in _rules():
        group, name = key.split(".")
        values = [getattr(getattr(config, group), name) for config in configs]
        is_set = [value for value in values if value != default]
        if is_set and not any(means(config) for config in configs):
            raise ConfigError(key, is_set[0], text)
    most = [each.max_repeats for each in configs if each.max_repeats != Config().max_repeats]
    if most and not any(each.repeats == "auto" for each in configs):
        raise ConfigError("max_repeats", most[0], "only with repeats=auto; add that")
    for config in configs:
        dataset = config.dataset
        if dataset.name == _ARRAYS and dataset.root is None:
            raise ConfigError("dataset.root", None, "an .npz file, with dataset=arrays")
        if dataset.name == _IMPORT and dataset.target is None:
            raise ConfigError("dataset.target", None, "<module>.<function>, with dataset=import")
        if dataset.test is not None and dataset.test_fraction is not None:
            raise ConfigError(
                "dataset.test_fraction",
                dataset.test_fraction,
                "null where dataset.test names a folder",
            )
