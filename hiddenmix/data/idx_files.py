"""The MNIST family from its four files, packed or not, packed anew, or in another folder.

A file is whole if it says of itself what it must be, and has as many bytes: no checksum of a packed file
is asked for.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import UserError, show
from hiddenmix.data.strangers import what_it_is

_SPLITS = ("train", "t10k")
_KINDS = (("images", 3), ("labels", 1))
# The first labels of train and t10k, which tell files of the same names apart.
_BEGINNINGS = {
    "mnist": ((5, 0, 4, 1, 9, 2, 1, 3, 1, 4), (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)),
    "fashion_mnist": ((9, 0, 0, 3, 0, 2, 7, 2, 5, 5), (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)),
}


@dataclass(frozen=True)
class IdxSet:
    """Both splits: uint8 images [N, H, W] and labels [N]."""

    train: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read_idx(
    name: str, folders: list[Path], sizes: tuple[int, int], sides: tuple[int, int]
) -> IdxSet:
    """The data set `name` from the first of `folders` that holds it whole.

    `sizes`: how many images it has; `sides`: their height and width. Raises ValueError, which says what
    is wrong with the files that are there, FileNotFoundError where there are none, and `UserError` where
    they are those of another set: no download may write over them.
    """
    problems: list[str] = []
    for folder in folders:
        splits = []
        try:
            for split, size in zip(_SPLITS, sizes, strict=True):
                images = _read(folder, f"{split}-images", 3, (size, *sides))
                splits.append((images, _read(folder, f"{split}-labels", 1, (size,))))
            _check_name(name, folder, splits[0][1], splits[1][1])
        except FileNotFoundError:
            stems = [(f"{split}-{kind}", rank) for split in _SPLITS for kind, rank in _KINDS]
            lacking = [stem for stem in stems if not _candidates(folder, *stem)]
            if len(lacking) < len(stems):
                stem, rank = lacking[0]
                problems.append(f"{stem}-idx{rank}-ubyte.gz is not in {show(folder)}")
            continue
        except ValueError as error:
            problems.append(str(error))
            continue
        return IdxSet(*splits)
    if problems:
        raise ValueError(problems[0])
    raise FileNotFoundError("the four files are not there")


def _begin(labels: NDArray[np.integer]) -> tuple[int, ...]:
    return tuple(labels[:10].tolist())


def _check_name(name: str, folder: Path, *labels: NDArray[np.uint8]) -> None:
    for known, beginnings in _BEGINNINGS.items():
        theirs = [
            split
            for split, found, begin in zip(_SPLITS, labels, beginnings, strict=True)
            if known != name and _begin(found) == begin
        ]
        if theirs:
            raise UserError(
                f"{show(folder)} holds the {' and '.join(theirs)} files of {known}, not of {name}\n"
                f"  add dataset={known}, or set another dataset.root"
            )


def idx_remarks(name: str, train: NDArray[np.integer], test: NDArray[np.integer]) -> list[str]:
    """A warning where the labels do not begin as those of the data set `name`, as far as these are known.

    They may be those of a changed copy, which are allowed, or of any other set in files of these names.
    """
    if name not in _BEGINNINGS:
        return []
    said = [
        f"{split} with {show(_begin(found))}, not {show(begin)}"
        for split, found, begin in zip(_SPLITS, (train, test), _BEGINNINGS[name], strict=True)
        if _begin(found) != begin
    ]
    if not said:
        return []
    return [
        f"warning: the labels begin otherwise than those of {name}: {'; '.join(said)}; the files are "
        f"taken for {name} all the same, a set of another name belongs into dataset=arrays"
    ]


def _candidates(folder: Path, stem: str, rank: int) -> list[Path]:
    names = [f"{stem}{mark}idx{rank}-ubyte" for mark in "-."]
    paths = [folder / f"{name}{end}" for name in names for end in ("", ".gz")]
    # Some archives unpack each file into a folder of its own name.
    paths += [folder / name / name for name in names]
    return [path for path in paths if path.is_file()]


def _read(folder: Path, stem: str, rank: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    paths = _candidates(folder, stem, rank)
    if not paths:
        raise FileNotFoundError(stem)
    problem = ValueError("nothing was read")
    for path in paths:
        try:
            return _array(path, shape)
        except (OSError, EOFError, ValueError) as error:
            problem = ValueError(f"{show(path.name)}: {show(error)}")
    raise problem


def _array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of a file whose header says `shape`. Packed or not, the first bytes tell."""
    header = bytes([0, 0, 8, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    need = len(header) + int(np.prod(shape))
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        content = file.read(need + 1)  # up to the end, where gzip compares its checksum
    if not content.startswith(header[:4]):
        raise ValueError(f"it {what_it_is(path, 'an idx file') or 'is no idx file of this kind'}")
    if content[: len(header)] != header:
        sides = [int.from_bytes(content[at : at + 4], "big") for at in range(4, len(header), 4)]
        raise ValueError(f"it holds {sides}, not {list(shape)}")
    if len(content) != need:
        raise ValueError(f"it is {'cut short' if len(content) < need else 'too long'}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
