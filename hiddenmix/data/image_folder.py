"""Folders of images: which files count, their classes and their fingerprint. Opens no file.

A folder holds `train/<class>/*` and `test/<class>/*`, or folders of other names, or classes alone of
which a part is held out; files lie anywhere below their class.
"""

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import ConfigError, DatasetConfig, UserError, counted, show
from hiddenmix.data.folder_layout import LAYOUT, Layout, find, folders, is_folder
from hiddenmix.data.image_files import EXTENSIONS, LARGEST, Kinds, UnreadableError, unreadable
from hiddenmix.data.leftovers import is_leftover
from hiddenmix.data.stratification import stratified


@dataclass(frozen=True)
class Scan:
    """The files of a folder: training images first, each split sorted by class and name."""

    root: str
    classes: list[str]
    names: list[str]  # paths below root
    labels: NDArray[np.int64]
    train_size: int
    fingerprint: str
    skipped: Counter[str] = field(default_factory=Counter)
    """How many files are no images, by their ending or kind."""

    broken: list[tuple[str, str]] = field(default_factory=list)
    """(name, why) of those of `names` that cannot be read, as seen without opening them."""

    variant: str = ""
    """For file names: what else than the root chose these files, if anything did."""


_File = tuple[str, int, int, int]  # path below root, class, size, mtime in ns


def scan(config: DatasetConfig) -> Scan:
    """List the images of an image folder without opening them. Raises `UserError` for a wrong layout."""
    root = os.path.expanduser(config.root or "data")  # noqa: PTH111 - as text, for every name below it
    layout = find(root, config.train, config.test, config.test_fraction is not None)
    found = Scan(root, [], [], np.empty(0, np.int64), 0, "")
    classes = folders(_place(root, layout.train))
    if len(classes) < 2:
        at = _place(root, layout.train)
        raise UserError(
            f"dataset.root: {show(at)} has {counted(len(classes), 'class')}\n  {LAYOUT}"
        )
    if layout.test is None:
        train, test = _held_out(_list(found, layout.train, classes), classes, layout, config)
    else:
        others = _like(classes, folders(_place(root, layout.test)), layout)
        train = _list(found, layout.train, classes)
        test = _list(found, layout.test, others, optional=True)
        if not test:
            raise UserError(f"{show(layout.test)}/ holds no image\n  {LAYOUT}")
    digest = hashlib.blake2b(digest_size=16)
    for name, label, size, time in (*train, *test):
        # os.fsencode: names need not be valid UTF-8; NUL is in none of them
        digest.update(os.fsencode(f"{label}\0{name}\0{size}\0{time}\0"))
    digest.update(f"{len(train)}".encode() if layout.test is None else b"")
    return Scan(
        root,
        [folder if folder.isprintable() else show(folder) for folder in classes],
        [name for name, *_ in (*train, *test)],
        np.array([label for _, label, *_ in (*train, *test)], np.int64),
        len(train),
        digest.hexdigest(),
        found.skipped,
        found.broken,
        _variant(config),
    )


def _variant(config: DatasetConfig) -> str:
    keys = (config.train, config.test, config.test_fraction)
    if keys == (None, None, None):
        return ""
    return hashlib.blake2b(repr(keys).encode(), digest_size=4).hexdigest()


def _place(root: str, split: str) -> str:
    return f"{root}{os.sep}{split}" if split else root


def _like(classes: list[str], others: list[str], layout: Layout) -> list[str]:
    """The class folders of the test set in the order of the training set's `classes`, empty texts for
    those that it lacks.

    Letters with accents may be composed in one and not in the other: Macs decompose them. Raises
    `UserError` where the test set has classes that the training set lacks, or none.
    """
    named = {unicodedata.normalize("NFC", name): name for name in others}
    same = [named.get(unicodedata.normalize("NFC", name), "") for name in classes]
    strange = sorted({*others} - {*same})
    if others and not strange:
        return same
    lacking = [name for name, found in zip(classes, same, strict=True) if not found]
    parts = [
        f"only in {show(split)}/: {show(names)}"
        for split, names in ((layout.train, lacking), (layout.test, strange))
        if names
    ]
    raise UserError(
        f"{show(layout.train)}/ and {show(layout.test)}/ differ in classes, {'; '.join(parts)}\n"
        f"  {LAYOUT}"
    )


def _list(found: Scan, split: str, classes: list[str], *, optional: bool = False) -> list[_File]:
    """The files of a split, by class folder and name; `found` gets what is skipped or broken.

    Raises `UserError` for a class without images, unless these are `optional`.
    """
    _count_others(_place(found.root, split), found)
    listed: list[_File] = []
    for label, folder in enumerate(classes):
        if not folder:
            continue
        start = f"{split}{os.sep}{folder}" if split else folder
        skipped = Counter[str]()
        mine = sorted(files(found.root, start, skipped, found.broken))
        if not mine and not optional:
            said = f": {skipped_text(skipped)}" if skipped else ""
            raise UserError(
                f"class folder {show(start)} holds no image{said}\n"
                f"  add one, or move the folder away; images end with {', '.join(EXTENSIONS[:8])}, ..."
            )
        found.skipped.update(skipped)
        listed += [(name, label, size, time) for name, size, time in mine]
    return listed


def _count_others(place: str, found: Scan) -> None:
    """Count what lies beside the class folders."""
    with os.scandir(place) as entries:
        for entry in entries:
            if is_folder(entry):
                if is_leftover(entry.name, folder=True) and entry.name != ".hiddenmix":
                    found.skipped[_kind(entry.name, folder=True)] += 1
            else:
                kind = _kind(entry.name, folder=False)
                found.skipped[f"{kind} beside the class folders" if kind[0] == "." else kind] += 1


def _held_out(
    listed: list[_File], classes: list[str], layout: Layout, config: DatasetConfig
) -> tuple[list[_File], list[_File]]:
    """Divide the files into training and test, the same share of each class.

    Each file's name decides, by its digest: the same files in another place are divided alike, and a
    file more moves hardly another one. No seed changes it.
    """
    fraction = config.test_fraction or 0.0
    labels = np.array([label for _, label, *_ in listed], np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < 2:
        name = classes[int(counts.argmin())]
        raise UserError(
            f"class folder {show(name)} holds {counted(counts.min(), 'image')}, one each are needed "
            "for training and test\n  add some, or move the folder away"
        )
    size = round(fraction * len(listed))
    if not len(classes) <= size <= len(listed) - len(classes):
        raise ConfigError(
            "dataset.test_fraction",
            fraction,
            f"a fraction of the {len(listed):,} images that leaves at least one of each of "
            f"{len(classes)} classes on both sides",
        )
    start = len(layout.train) + 1 if layout.train else 0
    keys = np.array([_key(name[start:]) for name, *_ in listed])
    test = stratified(labels, size, keys, leave=1)
    pairs = list(zip(listed, test, strict=True))
    return [each for each, held in pairs if not held], [each for each, held in pairs if held]


def _key(name: str) -> float:
    """A number in [0, 1) for a path below the class folders."""
    name = unicodedata.normalize("NFC", name.replace(os.sep, "/"))
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def files(
    root: str, start: str, skipped: Counter[str], broken: list[tuple[str, str]]
) -> Iterator[tuple[str, int, int]]:
    """(path below root, size, mtime in ns) of every image below `start`.

    `skipped` gets how many files are no images, `broken` which images cannot be read. Links to folders
    are followed, as torchvision does, but each folder is entered once, so a link that leads back up
    ends there.
    """
    pending, entered = [start], set[tuple[int, int]]()
    while pending:
        name = pending.pop()
        try:
            status = os.stat(f"{root}{os.sep}{name}")  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}{os.sep}{name}") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise unreadable(name, error) from error
        for entry in listed:
            child, folder = f"{name}{os.sep}{entry.name}", is_folder(entry)
            if is_leftover(entry.name, folder=folder):
                skipped[_kind(entry.name, folder=folder)] += 1
            elif folder:
                pending.append(child)
            elif entry.name.lower().endswith(EXTENSIONS):
                try:
                    yield _file(child, entry)
                except UnreadableError as error:
                    broken.append((child, error.why))
                    yield child, 0, 0
            else:
                skipped[_kind(entry.name, folder=False)] += 1


def _kind(name: str, *, folder: bool) -> str:
    """What a file or folder that is skipped is counted under."""
    if name.startswith("."):
        return "hidden"
    if is_leftover(name, folder=folder):
        return f"{show(name)}/" if folder else show(name)
    return show(Path(name).suffix.lower()) or "without an ending"


def skipped_text(skipped: Counter[str]) -> str:
    """`4 files skipped (3 .txt, 1 hidden)`: the five most frequent kinds, and how many more."""
    if not skipped:
        return ""
    count = skipped.total()
    most = sorted(skipped.items(), key=lambda each: (-each[1], each[0]))
    parts = [f"{count:,} {kind}" for kind, count in most[:5]]
    rest = sum(count for _, count in most[5:])
    parts += [f"{rest:,} others"] if rest else []
    return f"{counted(count, 'file')} skipped ({', '.join(parts)})"


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
    largest = kinds[LARGEST]
    counts = {kind: count for kind, count in kinds.items() if kind != LARGEST}
    if counts:
        said.append("converted: " + ", ".join(f"{n:,} {kind}" for kind, n in counts.items()))
    if counts.get("of 16 bits") and largest * 255 // 65535 < 128:
        said.append(
            f"warning: the largest 16-bit value is {largest:,} of 65,535, so that "
            f"{largest * 255 // 65535 + 1} of 256 grey levels are left; scale the images to 16 bits first"
        )
    return said


def _file(name: str, entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        status = entry.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UnreadableError(name, "is not a regular file")
    if status.st_size == 0:
        raise UnreadableError(name, "is empty (0 bytes)")
    return name, status.st_size, status.st_mtime_ns
