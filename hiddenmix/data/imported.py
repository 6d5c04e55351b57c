"""`dataset=import`: training and test set from a function of the user's own, imported as it is named.

The function takes nothing and returns (train, test): each a torch `Dataset` of (image, label), or a pair
of arrays (images, labels).
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiddenmix.config import ConfigError, DatasetConfig, UserError, check_current, counted, show
from hiddenmix.data.image_files import Kinds, conversions
from hiddenmix.data.images import Images
from hiddenmix.data.labels import SAY_NAMES, Names, class_numbers, in_training_order
from hiddenmix.data.samples import EXPECTED, LABEL, kind, of_one_colour, own_error, read_split

_SPLITS = ("train", "test")


_Read = tuple[Images, Images, list[str], list[str]]


def read_imported(config: DatasetConfig) -> _Read:
    """Training set, test set, classes, and what to say of them. Raises `UserError`."""
    target = str(config.target)
    return _made(_function(target), target)


def _function(target: str) -> Callable[[], Any]:
    module, _, name = target.rpartition(".")
    if not all(part.isidentifier() for part in target.split(".")) or not module:
        raise ConfigError("dataset.target", target, "<module>.<function>, such as mydata.make")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as `python -m` has it, but an installed command does not
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise own_error(target, error) from error
        raise UserError(
            f"dataset.target={show(target)}: there is no module {show(error.name)}\n"
            f"  put {show(module.replace('.', '/'))}.py into this folder, or install it"
        ) from error
    except Exception as error:
        raise own_error(target, error) from error
    check_current("dataset.target", target, imported)
    function = getattr(imported, name, None)
    if not callable(function):
        known = [key for key, value in vars(imported).items() if _is_own(module, value)]
        raise UserError(
            f"dataset.target={show(target)}: {show(module)} has no function {show(name)}\n"
            f"  it has: {show(known)}"
        )
    return function  # type: ignore[no-any-return]


def _is_own(module: str, value: object) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module


@lru_cache(maxsize=1)
def _made(function: Callable[[], Any], target: str) -> _Read:
    """What `function` returns, called once a process."""
    try:
        made = function()
    except Exception as error:
        raise own_error(target, error) from error
    what = f"dataset.target={show(target)}"
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise UserError(f"{what} returned {kind(made)}\n  {EXPECTED}")
    kinds = Kinds()
    train, test = (
        read_split(f"{what}, {split}", each, kinds)
        for split, each in zip(_SPLITS, made, strict=True)
    )
    train_pixels, test_pixels = of_one_colour(train, test)
    if train_pixels.shape[1:] != test_pixels.shape[1:]:
        raise UserError(
            f"{what}: training images are {list(train_pixels.shape[1:])} and test images "
            f"{list(test_pixels.shape[1:])}\n"
            "  expected: images of one size and one number of channels"
        )
    names, test_names = (
        _as_they_are(_names(f"{what}, {split}", each), each, found.labels)
        for split, each, found in zip(_SPLITS, made, (train, test), strict=True)
    )
    labels = in_training_order(what, train.labels, test.labels, names, test_names)
    keys = ("the array of train labels", "the array of test labels")
    shown, remarks = _shown_names(made[0]), conversions(kinds)
    if shown and not names.sure:
        if train.labels.dtype.kind != "U":
            remarks.append(
                f"{what}: classes are called by their numbers, as a target_transform, or a data set "
                f"around another, may give others than {show(shown)} have; give names as labels"
            )
            shown = None
        elif not {*train.labels.tolist()} <= {*shown}:
            shown = None
    numbers, test_numbers, classes = class_numbers(what, train.labels, labels, shown, keys)
    pairs = [(train_pixels, numbers), (test_pixels, test_numbers)]
    for (images, found), split in zip(pairs, _SPLITS, strict=True):
        if len(images) != len(found):
            raise UserError(
                f"{what}, {split}: {counted(len(images), 'image')}, but "
                f"{counted(len(found), 'label')}\n  {EXPECTED}"
            )
    splits = [Images(torch.from_numpy(images), torch.from_numpy(found)) for images, found in pairs]
    return splits[0], splits[1], classes, remarks


def _shown_names(made: Any) -> list[str] | None:
    """What the classes are called in results: `classes` of a data set, or of the whole of a `Subset`."""
    names = getattr(made, "classes", getattr(getattr(made, "dataset", None), "classes", None))
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else None


def _names(what: str, made: Any) -> Names:
    """What the numbers of a data set's labels stand for, however deep the names lie.

    Raises `UserError` for a `ConcatDataset` of parts whose numbers stand for different classes.
    """
    sure = getattr(made, "target_transform", None) is None
    names, features = getattr(made, "classes", None), getattr(made, "features", None)
    if names is None and isinstance(features, Mapping):  # of Hugging Face
        labels = [features[key] for key in LABEL if key in features]
        names = getattr(labels[0], "names", None) if labels else None
    if isinstance(names, (list, tuple, np.ndarray)):
        return Names([str(name) for name in names], sure)
    if isinstance(made, torch.utils.data.ConcatDataset):
        parts = [_names(what, each) for each in made.datasets]
        other = next((each for each in parts if each.listed != parts[0].listed), None)
        if other is not None and parts[0].listed and other.listed:
            raise UserError(
                f"{what} joins data sets of different classes: {show(parts[0].listed)} and "
                f"{show(other.listed)}\n  {SAY_NAMES}"
            )
        whole = all(each.sure for each in parts)
        return Names(parts[0].listed if other is None else None, sure and whole)
    around = getattr(made, "dataset", None)
    if around is None:
        return Names(None, sure)
    inner = _names(what, around)
    # A data set of the user's own around another may give other numbers; a torch Subset does not.
    return Names(inner.listed, inner.sure and sure and isinstance(made, torch.utils.data.Subset))


def _as_they_are(names: Names, made: Any, labels: NDArray[Any]) -> Names:
    """`names`, sure where the labels are the numbers that the data set with the names has itself:
    whatever is around it has changed none."""
    try:
        own = np.array_equal(_own_numbers(made), labels)
    except Exception:  # it may lack them, and they may be anything
        own = False
    return replace(names, sure=names.sure or own)


def _own_numbers(made: Any) -> NDArray[Any]:
    """Those of the data set with the names, as torchvision's have them, in `targets`."""
    if hasattr(made, "classes"):
        return np.asarray(made.targets)
    own = _own_numbers(made.dataset)
    return own[made.indices] if isinstance(made, torch.utils.data.Subset) else own
