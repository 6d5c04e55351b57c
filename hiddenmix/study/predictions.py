"""`predictions.safetensors`: the answer of a finished network to every test image.

Tensors: `label` [N] and `clean/class` [N], class numbers as uint8 (uint16 from 255 classes on; the
number of classes stands for an answer that is none); `clean/probability` float16 [N], of the true
class; `shift/<name>/class`, `adversarial/<name>/class`; `outside/<name>/class` and
`outside/<name>/label`. With `evaluation_images`, `subset` int32 holds the positions in the test set
that the shifts and attacks were measured on. From these every accuracy can be computed again.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from hiddenmix.system import atomic

NAME = "predictions.safetensors"


def digest(content: bytes) -> str:
    """Of a file's content, as `result.json` records it: BLAKE2b, 16 bytes, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write(
    folder: Path, answers: Mapping[str, Tensor], classes: int, about: Mapping[str, str]
) -> str:
    """Write a cell's file whole or not at all, `about` as its metadata; returns its digest."""
    kind = np.uint8 if classes < 255 else np.uint16
    found: dict[str, NDArray[Any]] = {}
    for name, values in answers.items():
        last = name.rpartition("/")[2]
        kinds: dict[str, Any] = {"probability": np.float16, "subset": np.int32}
        found[name] = values.numpy().astype(kinds.get(last, kind))
    content = save(found, metadata=dict(about))
    atomic.write_bytes(folder / NAME, content)
    return digest(content)


def read(folder: Path, expected: object) -> dict[str, NDArray[Any]] | None:
    """The arrays of a cell's file; None where it is absent, damaged, or not the one whose digest is
    `expected`."""
    try:
        content = (folder / NAME).read_bytes()
        return load(content) if digest(content) == expected else None
    except (OSError, SafetensorError):
        return None
