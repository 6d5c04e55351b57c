"""What a person should know of an outside set: images that were trained on, classes that it lacks."""

from collections.abc import Sequence
from dataclasses import replace

from hiddenmix.config import counted, show
from hiddenmix.data.content import digests
from hiddenmix.data.image_files import conversions
from hiddenmix.data.images import Images
from hiddenmix.data.outside import OutsideSet


def compared(found: OutsideSet, train: Images) -> OutsideSet:
    """`found` with the number of its images that stand in the training set, pixel for pixel.

    Reads the set. Corruptions at several severities change every image, and are not compared.
    """
    if found.conditions != ("",):
        return found
    trained = set(digests(train))
    count = sum(each in trained for each in digests(found.images("")))
    return replace(found, in_training=count)


def outside_remarks(found: OutsideSet, classes: Sequence[str]) -> list[str]:
    """A line each. Raises `UserError` as `OutsideSet.images` does."""
    labels = found.images(found.conditions[0]).labels
    there = {*labels.tolist()}
    lacking = [name for label, name in enumerate(classes) if label not in there]
    name = f"outside set {found.name} ({show(found.path)})"
    about, said = f"warning: {name}", []
    if found.in_training:
        verb = "stands" if found.in_training == 1 else "stand"
        said.append(
            f"{about}: {found.in_training:,} of {counted(len(labels), 'image')} {verb} in the training "
            "set, so that accuracies on it say little of new images"
        )
    if lacking:
        said.append(f"{about} holds no image of {counted(len(lacking), 'class')}: {show(lacking)}")
    for line in conversions(found.kinds):
        _, warning, text = line.rpartition("warning: ")
        said.append(f"{warning}{name}: {text}")
    return said
