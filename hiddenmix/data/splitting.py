"""Fixed stratified splits of the training images."""

import numpy as np

from hiddenmix.config import ConfigError, DatasetConfig
from hiddenmix.data.images import Images
from hiddenmix.data.stratification import stratified
from hiddenmix.randomness import stream


def split_sizes(config: DatasetConfig, available: int, classes: int) -> tuple[int, int]:
    """How many images are held out and trained on, of `available`. Raises `ConfigError`."""
    held = round(config.validation * available)
    left = available - held
    if config.validation > 0 and (held < classes or left < classes):
        raise ConfigError(
            "dataset.validation",
            config.validation,
            f"0, or a fraction of the {available:,} training images that leaves at least one for "
            f"each of {classes} classes on both sides",
        )
    size = left if config.train_size is None else config.train_size
    if config.train_size is not None and not classes <= size <= left:
        raise ConfigError(
            "dataset.train_size",
            size,
            f"null, or from {classes:,} (one a class) to {left:,} (all but the held-out ones)",
        )
    if config.resample and size == left:
        raise ConfigError(
            "dataset.train_size",
            size,
            f"below {left:,} with dataset.resample=true: each seed's subset of all images is the same",
        )
    return held, size


def split(
    config: DatasetConfig, train: Images, classes: int, seed: int = 0
) -> tuple[Images, Images | None]:
    """Apply `validation`, then `train_size`; with `resample` the latter differs from seed to seed."""
    held, size = split_sizes(config, len(train.labels), classes)
    validation = None
    if held:
        keys = stream(config.split_seed, "split", 0).random(len(train.labels))
        chosen = stratified(train.labels.numpy(), held, keys, leave=1)
        validation = train.take(np.flatnonzero(chosen))
        train = train.take(np.flatnonzero(~chosen))
    if size < len(train.labels):
        position = (2, seed) if config.resample else (1,)
        keys = stream(config.split_seed, "split", *position).random(len(train.labels))
        train = train.take(np.flatnonzero(stratified(train.labels.numpy(), size, keys)))
    return train, validation
