"""Data sets as uint8 tensors: named sets, image folders and their cache, splits, batches.

The names load torch only when they are used: a decoding process imports this room, and starts in a
tenth of the time without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiddenmix.data.batches import AugmentationDraws, augment, draw_augmentation, normalise
    from hiddenmix.data.decoding import Progress
    from hiddenmix.data.images import Data, Description, Images, Leaks, Whole
    from hiddenmix.data.loading import describe, load, prepare, read, source
    from hiddenmix.data.outside import OutsideSet, open_outside
    from hiddenmix.data.outside_warnings import compared, outside_remarks
    from hiddenmix.data.resizing import Resize
    from hiddenmix.data.stratification import stratified

_HOMES = {
    **dict.fromkeys(("AugmentationDraws", "augment", "draw_augmentation", "normalise"), "batches"),
    **dict.fromkeys(("Data", "Description", "Images", "Leaks", "Whole"), "images"),
    **dict.fromkeys(("describe", "load", "prepare", "read", "source"), "loading"),
    "Progress": "decoding",
    "OutsideSet": "outside",
    "Resize": "resizing",
    "compared": "outside_warnings",
    "open_outside": "outside",
    "outside_remarks": "outside_warnings",
    "stratified": "stratification",
}

__all__ = [
    "AugmentationDraws",
    "Data",
    "Description",
    "Images",
    "Leaks",
    "OutsideSet",
    "Progress",
    "Resize",
    "Whole",
    "augment",
    "compared",
    "describe",
    "draw_augmentation",
    "load",
    "normalise",
    "open_outside",
    "outside_remarks",
    "prepare",
    "read",
    "source",
    "stratified",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
