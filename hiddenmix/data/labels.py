"""Labels of both splits as class numbers: what they are called decides, not where a name stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiddenmix.config import UserError, show

SAY_NAMES = (
    "expected: names of classes as labels, or the same `classes` on both, which name the numbers"
)


@dataclass(frozen=True)
class Names:
    """What the numbers of a split's labels stand for."""

    listed: list[str] | None
    """The names of the classes 0, 1, ..., where they are known."""

    sure: bool
    """False where a `target_transform`, or a data set around the one with names, may make others."""


def label_array(what: str, labels: Any) -> NDArray[Any]:
    """The labels of one split as an array; objects, as pandas has texts, as what they are.

    Raises `UserError` for what is no array, and for numbers among texts.
    """
    try:
        found = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    except Exception as error:  # NumPy raises many kinds
        raise UserError(
            f"{what} cannot be one array of labels, say because their lengths differ\n"
            "  expected: [N], whole numbers or names of classes"
        ) from error
    each = found.tolist() if found.dtype == object else labels
    if found.ndim == 1 and (found.dtype == object or isinstance(labels, (list, tuple))):
        texts = sum(isinstance(label, str) for label in each)
        numbers = sum(isinstance(label, Integral) for label in each)
        if texts and texts < len(found):
            other = next(label for label in each if not isinstance(label, str))
            raise UserError(
                f"{what} has texts and {show(other)} for labels\n"
                "  expected: whole numbers alone, or names of classes alone"
            )
        if found.dtype == object and len(found) in (texts, numbers):
            return np.array(each)
    return found


def in_training_order(
    what: str, train: NDArray[Any], test: NDArray[Any], names: Names, test_names: Names
) -> NDArray[Any]:
    """Test labels as the training set has them: the same number, or the same text, for a class.

    torchvision's ImageFolder counts the classes of its own folders, so that a number stands for another
    class where the test set lacks one. What cannot be told by a name is left as it is. Raises
    `UserError` for a name that the training set lacks, and where it is not sure what a number stands for.
    """
    texts = train.dtype.kind == "U"
    unknown = UserError(
        f"{what}: the classes of train are {show(names.listed)}, of test {show(test_names.listed)}, "
        f"and it is not known which its numbers stand for\n  {SAY_NAMES}"
    )
    if test.dtype.kind == "U" and not texts and names.listed is not None:
        if not names.sure:
            raise unknown
        return _places(f"{what}, test", test, names.listed)
    if test.dtype.kind not in "iu" or not test.size or test_names.listed is None:
        return test
    if not texts and names.listed in (None, test_names.listed):
        return test
    if not (test_names.sure and (texts or names.sure)):
        raise unknown
    _check_range(f"{what}, test", test, test_names.listed)
    called = np.array(test_names.listed)[test]
    return called if texts else _places(f"{what}, test", called, names.listed or ())


def class_numbers(
    what: str,
    train: NDArray[Any],
    test: NDArray[Any],
    names: list[str] | None = None,
    keys: tuple[str, str] = ("y_train", "y_test"),
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Labels as int64 from 0, and the classes: whole numbers, or texts.

    `names` are those of the classes 0, 1, ...; without them each label names its class. `keys` are what
    the two are called in errors. Raises `UserError`.
    """
    found = []
    for key, labels in zip(keys, (train, test), strict=True):
        flat = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if flat.ndim != 1 or flat.dtype.kind not in "iuU" or not len(flat):
            hint = ": y.argmax(1) makes them of one-hot rows" if labels.ndim == 2 else ""
            raise UserError(
                f"{what}: {key} is {show(labels.dtype)} {list(labels.shape)}\n"
                f"  expected: [N], whole numbers or names of classes{hint}"
            )
        found.append(flat)
    if names is not None:
        of_train, of_test = (
            _numbers(f"{what}: {key}", labels, names)
            for key, labels in zip(keys, found, strict=True)
        )
        used = {number: names[number] for number in np.unique(of_train).tolist()}
        _check_classes(what, keys, used, {n: names[n] for n in np.unique(of_test).tolist()})
        return of_train, of_test, names
    values, places = np.unique(found[0], return_inverse=True)
    used = {value: value for value in values.tolist()}
    _check_classes(what, keys, used, {value: value for value in np.unique(found[1]).tolist()})
    tested = np.searchsorted(values, found[1])
    return places.astype(np.int64), tested.astype(np.int64), [str(value) for value in values]


def _check_classes(
    what: str, keys: tuple[str, str], trained: Mapping[Any, Any], tested: Mapping[Any, Any]
) -> None:
    """Raise `UserError` for one class, and for test images of a class that has no training image.

    Both give what each label that occurs is called.
    """
    if len(trained) < 2:
        raise UserError(f"{what}: {keys[0]} has one class\n  expected: two or more")
    strange = [name for label, name in tested.items() if label not in trained]
    if strange:
        raise UserError(
            f"{what}: {keys[1]} has classes that {keys[0]} lacks: {show(strange)}\n"
            f"  expected: {show(list(trained.values()))}"
        )


def known_numbers(what: str, labels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """Labels of an outside set as numbers of the data set's `classes`; where these are called by other
    numbers, labels are the names. Raises `UserError`."""
    numbers = all(name.removeprefix("-").isdecimal() for name in classes)
    if numbers and list(classes) != [*map(str, range(len(classes)))]:
        places = {name: index for index, name in enumerate(classes)}
        found = [places.get(str(label), -1) for label in labels.tolist()]
        if min(found) >= 0:
            return np.array(found, np.int64)
        strange = sorted({*map(str, labels.tolist())} - {*classes})
        raise UserError(
            f"{what} has labels that are no classes of the data set: {show(strange)}\n"
            f"  expected: {show(list(classes))}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise UserError(
            f"{what} has labels from {labels.min()} to {labels.max()}\n"
            f"  expected: the data set's class numbers, from 0 to {len(classes) - 1}"
        )
    return np.array(labels, np.int64)


def _numbers(what: str, labels: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    if labels.dtype.kind == "U":
        return _places(what, labels, names)
    _check_range(what, labels, names)
    return labels.astype(np.int64)


def _places(what: str, called: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """The numbers of the classes that are `called` so among `names`."""
    used, inverse = np.unique(called, return_inverse=True)
    listed = list(names)
    absent = [name for name in used.tolist() if name not in listed]
    twice = [name for name in used.tolist() if listed.count(name) > 1]
    if absent or twice:
        raise UserError(
            f"{what} has classes that {'are none' if absent else 'are two'} of the training set's: "
            f"{show(absent or twice)}\n  expected: {show(listed)}, each name once"
        )
    return np.array([listed.index(name) for name in used.tolist()], np.int64)[
        inverse.reshape(called.shape)
    ]


def _check_range(what: str, labels: NDArray[Any], names: Sequence[str]) -> None:
    if labels.min() < 0 or labels.max() >= len(names):
        raise UserError(
            f"{what} has labels from {labels.min()} to {labels.max()}\n"
            f"  expected: 0 to {len(names) - 1}, a class each, or names of {show(list(names))}"
        )
