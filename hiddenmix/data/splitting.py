"""Fixed stratified splits of the training images."""

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import ConfigError, DatasetConfig
from hiddenmix.data.images import Images
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


def stratified(
    labels: NDArray[np.int64], size: int, keys: NDArray[np.float64], leave: int = 0
) -> NDArray[np.bool_]:
    """Mask [N] of a subset of `size` that has each class in its proportion, rounded.

    `keys` [N] are uniform draws: of each class, the images with the smallest keys are taken. Every
    class gives at least one image and keeps `leave`, if it has them. (scikit-learn's splitter
    refuses subsets that leave fewer images than classes, or classes of one image.)
    """
    counts = np.bincount(labels)
    high = np.maximum(counts - leave, 0)
    ideal = counts * (size / len(labels))
    quotas = np.clip(np.floor(ideal).astype(np.int64), np.minimum(1, high), high)
    while (missing := size - int(quotas.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = quotas < high if missing > 0 else quotas > np.minimum(1, high)
        assert room.any(), "callers check that the size is possible"
        # the class that is furthest from its proportion, among those that can change
        quotas[np.argmax(np.where(room, step * (ideal - quotas), -np.inf))] += step
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        chosen[members[np.argsort(keys[members], kind="stable")[:quota]]] = True
    return chosen
