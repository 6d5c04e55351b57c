"""`mode`: how many images K are mixed with each other. Two of the numbers have names."""

import re

MODES = {"siamese": 2, "triplet": 3}

MOST_IMAGES = 1000


def one_text(mode: object) -> str:
    """The one text of each mode, so that `mode=2` is no other setting than `mode=siamese`."""
    names = {str(images): name for name, images in MODES.items()}
    return names.get(str(mode), str(mode))


def is_mode(mode: str) -> bool:
    """Whether `mode` is a name, or a whole number of images from 2."""
    return mode in MODES or bool(
        re.fullmatch(r"[1-9][0-9]{0,3}", mode) and 2 <= int(mode) <= MOST_IMAGES
    )


def images_of(mode: str) -> int:
    """The number of images K that a checked `mode` mixes."""
    return MODES[mode] if mode in MODES else int(mode)


def mode_words(mode: str) -> str:
    """`mode` where no key stands before it: `siamese`, or `4 images`."""
    return f"{mode} images" if mode.isdecimal() else mode


def mode_rank(mode: str) -> tuple[int, str]:
    """Sorts modes by their number of images; text of another program comes first."""
    return (images_of(mode) if is_mode(mode) else 0), mode
