"""Where in a folder the training and the test images lie, and what to type where that is not clear."""

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from hiddenmix.config import UserError, counted, show
from hiddenmix.data.image_files import EXTENSIONS, unreadable
from hiddenmix.data.leftovers import is_leftover

LAYOUT = "expected: train/<class>/* and test/<class>/* with two or more classes"
_FIFTH = "dataset.test_fraction=0.2 to hold out a fifth of each class"
_TEST = ("test", "val", "dev", "eval", "holdout")  # what names of test folders hold, best first


@dataclass(frozen=True)
class Layout:
    """Which folders below the root hold the classes."""

    train: str
    """Empty where the root itself holds the classes."""

    test: str | None
    """None where a part of the images is held out."""


def find(root: str, train: str | None, test: str | None, held_out: bool) -> Layout:
    """The layout of `root`, by the folders' names that the user gave, if any.

    `held_out`: the test images are a part of the training images. Raises `UserError`, which says what is
    there and which option takes it.
    """
    if not Path(root).is_dir():
        raise _no_folder(root)
    if held_out:
        return _one_folder(root, train)
    first, second = train or "train", test or "test"
    lacking = [name for name in (first, second) if not _is_folder(root, name)]
    if not lacking:
        if os.path.samefile(f"{root}{os.sep}{first}", f"{root}{os.sep}{second}"):  # noqa: PTH121
            raise UserError(
                f"dataset.test={show(second)} is the folder of the training images\n"
                f"  set another one, or {_FIFTH}"
            )
        return Layout(first, second)
    there = folders(root)
    said = f"holds {show([f'{name}/' for name in there])}" if there else "holds no folders"
    if not there and (count := _count_images(root)):
        raise UserError(
            f"dataset.root={show(root)} has no folder {show(lacking[0])}/, it holds "
            f"{counted(count, 'image')} and no folders\n"
            f"  put them into a folder for each class, and add {_FIFTH}"
        )
    if not there and (archives := _archives(root)):
        raise UserError(
            f"dataset.root={show(root)} has no folder {show(lacking[0])}/\n"
            f"  unpack {show(archives)} there"
        )
    raise UserError(
        f"dataset.root={show(root)} has no folder {show(lacking[0])}/, it {said}\n"
        f"  {_advice(root, there, train, test)}"
    )


def _one_folder(root: str, train: str | None) -> Layout:
    if train is not None:
        if not _is_folder(root, train):
            there = [f"{name}/" for name in folders(root)]
            raise UserError(
                f"dataset.train={show(train)} is no folder of dataset.root={show(root)}\n"
                f"  it holds: {show(there)}"
            )
        return Layout(train, None)
    if _is_folder(root, "train") and folders(f"{root}{os.sep}train"):
        test = _test_folder(folders(root))
        if test is not None:
            raise UserError(
                f"dataset.test_fraction is not needed: dataset.root={show(root)} has train/ and "
                f"{show(test)}/\n  leave it out{_unless('test', test)}, or add dataset.train=train to "
                "divide that folder"
            )
        return Layout("train", None)
    return Layout("", None)


def too_few_classes(root: str, layout: Layout, classes: list[str]) -> UserError:
    """The error for less than two class folders: what is there instead, and what to type."""
    place = f"{root}{os.sep}{layout.train}" if layout.train else root
    if classes:
        said = f"one class folder, {show(classes[0])}/"
        deeper = {"train": f"{layout.train}/{classes[0]}".lstrip("/")}
        if layout.test is not None:
            inner = folders(f"{root}{os.sep}{layout.test}")
            deeper["test"] = f"{layout.test}/{inner[0]}" if len(inner) == 1 else layout.test
        if len(folders(f"{place}{os.sep}{classes[0]}")) > 1:
            keys = " ".join(typed(f"dataset.{key}", name) for key, name in deeper.items())
            return UserError(f"{show(place)}/ holds {said}, which holds folders\n  add {keys}")
    else:
        count = _count_images(place)
        said = f"{counted(count, 'image')} and no class folders" if count else "no class folders"
    return UserError(f"{show(place)}/ holds {said}\n  {LAYOUT}")


def no_class_folders(root: str, layout: Layout) -> UserError:
    """The error for a test folder whose images are in no class folders, as contests have them."""
    count = _count_images(f"{root}{os.sep}{layout.test}")
    said = f"{counted(count, 'image')} without classes" if count else "no class folders"
    train = typed("dataset.train", layout.train)
    return UserError(f"{show(layout.test)}/ holds {said}\n  add {train} {_FIFTH}")


def folders(place: str) -> list[str]:
    """The names of a folder's folders, sorted, without hidden ones and leftovers. Raises `UserError`."""
    try:
        with os.scandir(place) as entries:
            return sorted(
                entry.name
                for entry in entries
                if is_folder(entry) and not is_leftover(entry.name, folder=True)
            )
    except OSError as error:
        raise unreadable(Path(place).name, error) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_folder(root: str, name: str) -> bool:
    return os.path.isdir(f"{root}{os.sep}{name}")  # noqa: PTH112 - False for a link to itself


def _no_folder(root: str) -> UserError:
    path = Path(root)
    if path.suffix.lower() == ".npz" and path.exists():
        return UserError(f"dataset.root={show(root)} is no folder of images\n  add dataset=arrays")
    if path.exists():
        return UserError(f"dataset.root={show(root)} is a file\n  unpack it; {LAYOUT}")
    names = folders(str(path.parent)) if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, 1)
    advice = f"set {typed('dataset.root', str(path.parent / near[0]))}" if near else LAYOUT
    return UserError(f"dataset.root={show(root)} does not exist\n  {advice}")


def _test_folder(names: list[str]) -> str | None:
    """The likeliest test folder among `names`."""
    for mark in _TEST:
        for name in names:
            if mark in name.casefold() and "train" not in name.casefold():
                return name
    return None


def _train_folder(names: list[str]) -> str | None:
    """The likeliest folder of training images among `names`."""
    named = [name for name in names if "train" in name.casefold()]
    return next((name for name in named if not any(m in name.casefold() for m in _TEST)), None)


def _meant(given: str | None, usual: str, there: list[str], guess: str | None) -> str | None:
    """Which of the folders that are there was meant by the name that was given, or by none."""
    wanted = given or usual
    if wanted in there:
        return wanted
    alike = [name for name in there if name.casefold() == wanted.casefold()]
    near = alike or (get_close_matches(wanted, there, 1, 0.5) if given else [])
    return near[0] if near else guess


def _advice(root: str, there: list[str], train: str | None, test: str | None) -> str:
    """What to type for a root without both folders, which holds the folders `there`."""
    first = _meant(train, "train", there, _train_folder(there))
    second = _meant(test, "test", [name for name in there if name != first], _test_folder(there))
    if first is not None and second is not None:
        wanted = (("train", first, train), ("test", second, test))
        keys = [
            f" {typed(f'dataset.{key}', name)}" for key, name, by in wanted if name != (by or key)
        ]
        return f"{'set' if train or test else 'add'}{' and'.join(keys)}"
    if first is not None:
        return f"add{_unless('train', first)} {_FIFTH}"
    deeper, at = root, there
    for _ in range(4):
        if _train_folder(at) is not None and deeper != root:
            return f"set {typed('dataset.root', deeper)}"
        if len(at) != 1:
            break
        deeper = str(Path(deeper) / at[0])
        at = folders(deeper)
    whole = [name for name in at if _train_folder(_within(f"{deeper}{os.sep}{name}"))]
    if whole:
        more = f", or another of the {len(at):,} folders there" if len(at) > 1 else ""
        return f"set {typed('dataset.root', str(Path(deeper) / whole[0]))}{more}"
    above = Path(root).absolute().parent
    if _train_folder([Path(root).absolute().name]) and _test_folder(folders(str(above))):
        return f"set {typed('dataset.root', str(Path(root).parent))}"
    if len(at) > 1 and all(_holds_image(f"{deeper}{os.sep}{name}") for name in at):
        start = f"set {typed('dataset.root', deeper)} and" if deeper != root else "add"
        return f"{start} {_FIFTH}"
    return LAYOUT


def _within(place: str) -> list[str]:
    """The folders in a folder, none where it may not be read."""
    try:
        return folders(place)
    except UserError:
        return []


def _unless(key: str, name: str) -> str:
    """What to type for a folder, nothing where it is the default one."""
    return "" if name == key else f" {typed(f'dataset.{key}', name)}"


def typed(key: str, value: str) -> str:
    """`key=value` as a shell and Hydra take it."""
    if re.fullmatch(r"[\w./-]+", value):
        return f"{key}={value}"
    return "\"{}='{}'\"".format(key, value.replace("'", "\\'"))


def _archives(root: str) -> list[str]:
    endings = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
    return sorted(path.name for path in Path(root).iterdir() if path.suffix.lower() in endings)


def _holds_image(place: str) -> bool:
    return _count_images(place) > 0


def _count_images(place: str) -> int:
    """How many image files lie in a folder itself."""
    try:
        with os.scandir(place) as entries:
            return sum(entry.name.lower().endswith(EXTENSIONS) for entry in entries)
    except OSError:
        return 0
