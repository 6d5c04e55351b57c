"""Folders of images: which files count, their classes and their fingerprint. Opens no file.

A folder holds `train/<class>/*` and `test/<class>/*`, or folders of other names, or classes alone of
which a part is held out; files lie anywhere below their class.
"""

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import ConfigError, DatasetConfig, UserError, counted, show
from hiddenmix.data.folder_layout import (
    LAYOUT,
    Layout,
    find,
    folders,
    is_folder,
    no_class_folders,
    too_few_classes,
)
from hiddenmix.data.image_files import EXTENSIONS, UnreadableError, unreadable
from hiddenmix.data.leftovers import is_leftover, kind, skipped_text
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

    renamed: dict[str, str] = field(default_factory=dict)
    """Class folders of the test set that are called otherwise, by the training set's name."""


File = tuple[str, int, int, int, int]
"""An image file: path below root, class, size, mtime and ctime in ns."""


def scan(config: DatasetConfig) -> Scan:
    """List the images of an image folder without opening them. Raises `UserError` for a wrong layout."""
    root = os.path.expanduser(config.root or "data")  # noqa: PTH111 - as text, for every name below it
    if config.root is None and not Path(root).is_dir():
        raise UserError(f"dataset.root is not set, and there is no data/ here\n  set it; {LAYOUT}")
    layout = find(root, config.train, config.test, config.test_fraction is not None)
    found = Scan(root, [], [], np.empty(0, np.int64), 0, "")
    classes = folders(_place(root, layout.train))
    if len(classes) < 2:
        raise too_few_classes(root, layout, classes)
    renamed: dict[str, str] = {}
    if layout.test is None:
        train, test = _held_out(_list(found, layout.train, classes), classes, layout, config)
    else:
        others = _like(root, classes, layout)
        renamed = {
            name: other
            for name, other in zip(classes, others, strict=True)
            if other and _composed(name) != _composed(other)
        }
        train = _list(found, layout.train, classes)
        test = _list(found, layout.test, others, optional=True)
        if not test:
            raise UserError(f"{show(layout.test)}/ holds no image\n  {LAYOUT}")
    return Scan(
        root,
        [folder if folder.isprintable() else show(folder) for folder in classes],
        [name for name, *_ in (*train, *test)],
        np.array([label for _, label, *_ in (*train, *test)], np.int64),
        len(train),
        fingerprint([*train, *test], f"{len(train)}" if layout.test is None else ""),
        found.skipped,
        found.broken,
        _variant(config),
        renamed,
    )


def fingerprint(listed: Sequence[File], note: str) -> str:
    """What tells one state of the files of a folder from another one, without opening them: 32
    hexadecimal digits. `note`: what else decides which pixels they become."""
    digest = hashlib.blake2b(digest_size=16)
    # Where unpacking gave all files one time, it tells no versions of them apart; when they were put
    # there does, but differs in a copy, which could use the cache that came with it.
    alike = len({time for *_, time, _ in listed}) == 1
    for name, label, size, time, put in listed:
        # os.fsencode: names need not be valid UTF-8; NUL is in none of them
        digest.update(os.fsencode(f"{label}\0{name}\0{size}\0{time}\0{put if alike else ''}\0"))
    digest.update(note.encode())
    return digest.hexdigest()


def _variant(config: DatasetConfig) -> str:
    keys = (config.train, config.test, config.test_fraction)
    if keys == (None, None, None):
        return ""
    return hashlib.blake2b(repr(keys).encode(), digest_size=4).hexdigest()


def _place(root: str, split: str) -> str:
    return f"{root}{os.sep}{split}" if split else root


def _like(root: str, classes: list[str], layout: Layout) -> list[str]:
    """The class folders of the test set in the order of the training set's `classes`, empty texts for
    those that it lacks.

    Raises `UserError` where the test set has classes that the training set lacks, or none.
    """
    assert layout.test is not None
    others = folders(_place(root, layout.test))
    same = counterparts(classes, others)
    strange = sorted({*others} - {*same})
    if not others:
        raise no_class_folders(root, layout)
    if not strange:
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


def counterparts(classes: Sequence[str], names: Sequence[str]) -> list[str]:
    """For each of `classes` that of `names` which is called the same; an empty text where none is.

    Letters with accents may be composed in one and not in the other (Macs decompose them); what is
    called alike but for letter case and spaces is the same where that leaves no choice.
    """
    named = {_composed(name): name for name in names}
    same = [named.get(_composed(name), "") for name in classes]
    left = sorted({*names} - {*same})
    loose = Counter(loosely(name) for name in (*classes, *left))
    for index, name in enumerate(classes):
        if not same[index] and loose[loosely(name)] == 2:
            same[index] = next((each for each in left if loosely(each) == loosely(name)), "")
    return same


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def loosely(name: str) -> str:
    """A class folder's name without what a Mac, Windows or a person overlooks."""
    return _composed(name).casefold().strip()


def _list(found: Scan, split: str, classes: list[str], *, optional: bool = False) -> list[File]:
    """The files of a split, by class folder and name; `found` gets what is skipped or broken.

    Raises `UserError` for a class without images, unless these are `optional`.
    """
    _count_others(_place(found.root, split), found)
    listed: list[File] = []
    empty: list[tuple[str, str]] = []
    for label, folder in enumerate(classes):
        if not folder:
            continue
        start = f"{split}{os.sep}{folder}" if split else folder
        skipped = Counter[str]()
        mine = sorted(files(found.root, start, skipped, found.broken))
        if not mine:
            empty.append((start, f": {skipped_text(skipped)}" if skipped else ""))
        found.skipped.update(skipped)
        listed += [(name, label, size, time, put) for name, size, time, put in mine]
    if empty and not optional:
        names = [show(name) for name, _ in empty[:10]] + ["..."] * (len(empty) > 10)
        said = f"class folder {names[0]} holds no image{empty[0][1]}"
        if len(empty) > 1:
            said = f"{len(empty):,} class folders hold no image: {', '.join(names)}"
        raise UserError(
            f"{said}\n"
            f"  add one, or move the folder away; images end with {', '.join(EXTENSIONS[:8])}, ..."
        )
    return listed


def _count_others(place: str, found: Scan) -> None:
    """Count what lies beside the class folders."""
    with os.scandir(place) as entries:
        for entry in entries:
            if is_folder(entry):
                if is_leftover(entry.name, folder=True) and entry.name != ".hiddenmix":
                    found.skipped[kind(entry.name, folder=True)] += 1
            else:
                said = kind(entry.name, folder=False)
                if is_dangling(entry):
                    if said == "without an ending":
                        raise UserError(
                            f"{show(f'{Path(place).name}/{entry.name}')} is a link that leads nowhere\n"
                            "  bring back the folder that it leads to, or remove the link"
                        )
                    said = "link that leads nowhere"
                elif said[0] == ".":
                    said += " beside the class folders"
                found.skipped[said] += 1


def _held_out(
    listed: list[File], classes: list[str], layout: Layout, config: DatasetConfig
) -> tuple[list[File], list[File]]:
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
) -> Iterator[tuple[str, int, int, int]]:
    """(path below root, size, mtime and ctime in ns) of every image below `start`.

    `skipped` gets how many files are no images, `broken` which images cannot be read. Links to folders
    are followed, as torchvision does, but for those that lead back up, to the other classes; each folder
    is entered once.
    """
    pending, entered = [start], set[tuple[int, int]]()
    here = os.path.realpath(f"{root}{os.sep}{start}")
    while pending:
        name = pending.pop()
        try:
            status = os.stat(f"{root}{os.sep}{name}")  # noqa: PTH116
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(f"{root}{os.sep}{name}") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
                names = {entry.name for entry in listed}
        except OSError as error:
            raise unreadable(name, error) from error
        for entry in listed:
            child, folder = f"{name}{os.sep}{entry.name}", is_folder(entry)
            if is_leftover(entry.name, folder=folder):
                skipped[kind(entry.name, folder=folder)] += 1
            elif folder and entry.is_symlink() and _leads_up(entry.path, here):
                skipped["link to a folder above"] += 1
            elif folder and entry.name.endswith("_json") and f"{entry.name[:-5]}.json" in names:
                skipped["folder of labelme"] += 1  # the image again, and its mask
            elif folder:
                pending.append(child)
            elif entry.name.lower().endswith(EXTENSIONS):
                try:
                    yield _file(child, entry)
                except UnreadableError as error:
                    broken.append((child, error.why))
                    yield child, 0, 0, 0
            elif is_dangling(entry):
                skipped["link that leads nowhere"] += 1
            else:
                skipped[kind(entry.name, folder=False)] += 1


def is_dangling(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to what is not there."""
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - as text


def _leads_up(link: str, here: str) -> bool:
    """Whether a link leads to the folder `here` or to one that holds it."""
    target = os.path.realpath(link)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)


def _file(name: str, entry: os.DirEntry[str]) -> tuple[str, int, int, int]:
    if is_dangling(entry):
        annexed = ".git/annex/" in os.readlink(entry.path)  # noqa: PTH115
        hint = ": git annex get brings the file" if annexed else ""
        raise UnreadableError(name, f"is a link that leads nowhere{hint}")
    try:
        status = entry.stat()
    except OSError as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UnreadableError(name, "is not a regular file")
    if status.st_size == 0:
        raise UnreadableError(name, "is empty (0 bytes)")
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns
