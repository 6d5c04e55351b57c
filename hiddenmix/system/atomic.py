"""Files that are either whole or absent: temporary file, fsync, rename."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; on any error the old file stays and no litter is left.

    Raises `OSError` (a full disk, a read-only folder).
    """
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp's 0600 would hide results from colleagues; follow the umask as open() does.
            umask = os.umask(0)
            os.umask(umask)
            if hasattr(os, "fchmod"):  # not on Windows, where the folder decides
                os.fchmod(file.fileno(), 0o666 & ~umask)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say what did not fit
        raise


def remove_remains(folder: Path, name: str = "") -> None:
    """Delete the temporary files that killed processes left in `folder`, of the file `name` or all.

    The caller holds the lock under which those files are written.
    """
    for path in folder.glob(f".{name}*.tmp"):
        path.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """`write_bytes` for JSON; NaN and infinities, which JSON lacks, are a `ValueError`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
