"""Subsets with the same share of each class. NumPy alone: decoding processes load no torch."""

import numpy as np
from numpy.typing import NDArray


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
