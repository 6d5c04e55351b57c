"""A training state on disk that survives kills, cuts and flipped bits.

The file is one header line, `hiddenmix checkpoint <version> <cell id> <BLAKE2b of the rest>`, and the
bytes of `torch.save`. Nothing is unpickled before the digest is right, and then tensors only.
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from hiddenmix import atomic

VERSION = 1
CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


class CheckpointError(Exception):
    """A checkpoint that cannot be used; its text says why."""


def save(folder: Path, cell: str, state: dict[str, Any]) -> None:
    """Write `state` as the current checkpoint of `cell`; the one before it stays as a fallback."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    header = f"hiddenmix checkpoint {VERSION} {cell} {_digest(cell, payload)}\n".encode()
    current = folder / CURRENT
    fresh = folder / "checkpoint.new.pt"
    atomic.write_bytes(fresh, header + payload)
    # Proven readable before the older ones move: the bytes on disk are those of the digest.
    _payload(fresh, cell)
    if current.exists():
        current.replace(folder / PREVIOUS)
    fresh.replace(current)


def load(folder: Path, cell: str, device: torch.device) -> dict[str, Any] | None:
    """The newest usable state of `cell`, or None to start over; warns about each that is not."""
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        try:
            payload = _payload(path, cell)
            state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except FileNotFoundError:
            continue
        except (CheckpointError, OSError, RuntimeError, ValueError) as error:
            warnings.warn(f"{path} is not used: {error}", stacklevel=2)
            continue
        if isinstance(state, dict):
            return state
    return None


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished cell."""
    for name in (CURRENT, PREVIOUS, "checkpoint.new.pt"):
        (folder / name).unlink(missing_ok=True)


def _digest(cell: str, payload: bytes) -> str:
    return hashlib.blake2b(cell.encode() + b"\n" + payload, digest_size=32).hexdigest()


def _payload(path: Path, cell: str) -> bytes:
    """The checked bytes of a checkpoint; raises `CheckpointError` or `OSError`."""
    header, _, payload = path.read_bytes().partition(b"\n")
    words = header.decode("ascii", "replace").split(" ")
    if words[:2] != ["hiddenmix", "checkpoint"] or len(words) != 5:
        raise CheckpointError("it is damaged, or no checkpoint of hiddenmix")
    if words[2] != str(VERSION):
        raise CheckpointError(f"it has version {words[2][:20]}, this program reads {VERSION}")
    if words[3] != cell:
        raise CheckpointError(f"it belongs to another configuration, {words[3][:120]}")
    if words[4] != _digest(cell, payload):
        raise CheckpointError("it is damaged (its digest is wrong)")
    return payload
