"""A training state on disk that survives kills, cuts and flipped bits.

The file is one header line, `hiddenmix checkpoint <version> <cell id> <BLAKE2b of id and rest>`, and the
bytes of `torch.save`. Nothing is unpickled before the digest is right, and then tensors only.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from hiddenmix.system import atomic

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
    # Proven readable before an older one moves: the bytes on disk are those of the digest.
    _payload(fresh, cell)
    if current.exists():
        current.replace(folder / PREVIOUS)
    fresh.replace(current)


def load(folder: Path, cell: str, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest usable state of `cell`, or None to start over; tells `warn` of each that is not."""
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        try:
            return _state(_payload(path, cell))
        except FileNotFoundError:
            continue
        except Exception as error:  # torch.load has many for what is no state
            reason = " ".join(str(error).split())[:200]
            warn(f"{path} is not used: {reason}")
    return None


def _state(payload: bytes) -> dict[str, Any]:
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise CheckpointError("it holds no training state")
    if not all(bool(tensor.isfinite().all()) for tensor in _tensors(state)):
        raise CheckpointError("it holds numbers that are not finite")
    return state


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    """Every floating-point tensor within nested containers."""
    if isinstance(state, torch.Tensor):
        if state.is_floating_point():
            yield state
    elif isinstance(state, (dict, list, tuple)):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished cell."""
    for name in (CURRENT, PREVIOUS, "checkpoint.new.pt"):
        (folder / name).unlink(missing_ok=True)


def _digest(cell: str, payload: bytes) -> str:
    return hashlib.blake2b(cell.encode() + b"\n" + payload, digest_size=32).hexdigest()


def _payload(path: Path, cell: str) -> bytes:
    """The checked bytes of a checkpoint; raises `CheckpointError` or `OSError`."""
    header, _, payload = path.read_bytes().partition(b"\n")
    words = header.decode("utf-8", "replace").split(" ")
    if words[:2] != ["hiddenmix", "checkpoint"] or len(words) != 5:
        raise CheckpointError("it is damaged, or no checkpoint of hiddenmix")
    if words[2] != str(VERSION):
        raise CheckpointError(f"it has version {words[2][:20]}, this program reads {VERSION}")
    if words[3] != cell:
        raise CheckpointError(f"it belongs to another configuration, {words[3][:120]}")
    if words[4] != _digest(cell, payload):
        raise CheckpointError("it is damaged (its digest is wrong)")
    return payload
