"""Data sets that several processes read from the same memory."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import reduction
from typing import IO, Any

import numpy as np
import torch

from hiddenmix.data import Images, Whole

_ALIGNED = 64
"""Bytes: where an array may begin in the file."""


def can_share() -> bool:
    """Whether this system hands open files to new processes (Windows does not), as workers need."""
    return hasattr(reduction, "DupFd")


class SharedWhole:
    """A data set in an unnamed temporary file, which every process maps and none copies.

    It goes to another process only while that process is started. The file has no name, so that
    nothing is left of it whatever happens to its owner.
    """

    def __init__(self, whole: Whole) -> None:
        """Raises `OSError` where the folder for temporary files (TMPDIR) is too small."""
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="hiddenmix-")  # noqa: SIM115
        self._arrays: list[tuple[int, str, tuple[int, ...]]] = []
        nothing = Images(torch.empty(0), torch.empty(0))
        self._rest = replace(whole, train=nothing, test=nothing)
        for split in (whole.train, whole.test):
            for tensor in (split.images, split.labels):
                array = tensor.numpy()
                start = -(-self._file.tell() // _ALIGNED) * _ALIGNED
                self._file.seek(start)
                self._file.write(np.ascontiguousarray(array).data)
                self._arrays.append((start, array.dtype.str, array.shape))
        self._file.flush()

    def open(self) -> Whole:
        """The data set, mapped: written-to pages, of which there are none, would be private."""

        def tensor(start: int, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
            mapped = np.memmap(self._file, kind, mode="c", offset=start, shape=shape)
            return torch.from_numpy(mapped)

        train, train_labels, test, test_labels = (tensor(*each) for each in self._arrays)
        return replace(
            self._rest, train=Images(train, train_labels), test=Images(test, test_labels)
        )

    def close(self) -> None:
        """Let go of the file; what was opened stays mapped."""
        self._file.close()

    def __getstate__(self) -> Mapping[str, Any]:
        return self.__dict__ | {"_file": reduction.DupFd(self._file.fileno())}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = open(state["_file"].detach(), "rb+")  # noqa: PTH123, SIM115  # a descriptor
