"""What a cell's failure is called: one line that says what to do about it."""

import errno
import gc
import re

import torch

from hiddenmix.config import Config
from hiddenmix.terminal import clean

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says so: CUDA's allocator, the CPU's, which has no class of its own, Python's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = r"out of memory|can't allocate memory|not enough memory"
    return isinstance(error, RuntimeError) and re.search(said, str(error)) is not None


def describe(error: BaseException, config: Config) -> str:
    """`error`, met while a cell of `config` was trained, in one line of at most 500 characters."""
    size = config.batch_size
    if out_of_memory(error):
        smaller = f"try batch_size={size // 2}" if size > 3 else "a smaller network is needed"
        return f"out of memory with batch_size={size}; {smaller}"
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {error.filename}" if error.filename is not None else ""
        advice = "; free some space and run the same command again" if error.errno in _FULL else ""
        return clean(f"{error.strerror}{where}{advice}", 500)
    return clean(error, 500) or type(error).__name__


def release_memory() -> None:
    """Give the next network the memory of one that failed, whose tensors may be in cycles."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
