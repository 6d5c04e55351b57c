"""What is said of a folder of images once it is read."""

import os
import re
from collections import Counter

from hiddenmix.config import DatasetConfig, counted, show
from hiddenmix.data.folder_layout import folders
from hiddenmix.data.image_files import Kinds, conversions
from hiddenmix.data.image_folder import Scan, loosely
from hiddenmix.data.leftovers import NOT_HERE

_MASK = re.compile(r"[_-](mask|seg|segmentation|label|gt)(_?\d+)?$", re.IGNORECASE)


def remarks(found: Scan, kinds: Kinds, config: DatasetConfig) -> list[str]:
    """What to say of a folder as it was read: what was held out, what converted."""
    said: list[str] = []
    if config.test_fraction is not None:
        said.append(
            f"dataset.test_fraction={show(config.test_fraction)}: the test images are held out of the "
            "folder, the same share of each class, chosen by their files' names"
        )
    there = {*found.labels[found.train_size :].tolist()}
    lacking = [name for label, name in enumerate(found.classes) if label not in there]
    if lacking:
        said.append(
            f"warning: {counted(len(lacking), 'class')} without a test image: {show(lacking)}"
        )
    return [
        *said,
        *_unused(found, config),
        *_alike(found),
        *_absent(found),
        *_masks(found),
        *conversions(kinds),
    ]


def _unused(found: Scan, config: DatasetConfig) -> list[str]:
    """Folders beside the two splits that hold the same classes, such as val/."""
    if config.test_fraction is not None:
        return []
    used = {name.partition(os.sep)[0] for name in found.names}
    classes = {*found.classes}
    others = [
        f"{name}/"
        for name in folders(found.root)
        if name not in used and classes & {*folders(f"{found.root}{os.sep}{name}")}
    ]
    return [f"not used: {show(others)}"] if others else []


def _alike(found: Scan) -> list[str]:
    """Class names that a Mac or Windows would take for one."""
    said = [
        f"class folder {show(other)} of the test set is taken for {show(name)}"
        for name, other in found.renamed.items()
    ]
    times = Counter(loosely(name) for name in found.classes)
    alike = [name for name in found.classes if times[loosely(name)] > 1]
    if alike:
        said.append(
            f"warning: class folders whose names differ in letter case or spaces alone are classes of "
            f"their own: {show(alike)}"
        )
    return said


def _absent(found: Scan) -> list[str]:
    count = sum(found.skipped[ending] for ending in NOT_HERE)
    if not count:
        return []
    endings = ", ".join(ending for ending in NOT_HERE if found.skipped[ending])
    return [f"warning: {counted(count, 'file')} not on this machine, or not wholly ({endings})"]


def _masks(found: Scan) -> list[str]:
    """Segmentation masks beside their images, which would be trained on as images of the class."""
    stems = [os.path.splitext(name)[0] for name in found.names]  # noqa: PTH122 - as text
    whole = {*stems}
    bases = [_MASK.sub("", stem) for stem in stems]
    alone = [base == stem or base not in whole for base, stem in zip(bases, stems, strict=True)]
    masks = [name for name, other in zip(found.names, alone, strict=True) if not other]
    if not masks:
        return []
    return [
        f"warning: {counted(len(masks), 'file')} named as masks of others, and taken as images: "
        f"{show(masks[0])}, ...; move them away if they are masks"
    ]
