"""The device that a command trains on."""

import torch

from hiddenmix.config import ConfigError


def choose_device(name: str, job: int) -> torch.device:
    """The device called `name`; `auto` spreads the jobs of a launcher over the GPUs by their number.

    Raises `ConfigError` for a CUDA device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", job % count) if count else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = ", ".join(f"cuda:{number}" for number in range(count)) or "no CUDA device"
        raise ConfigError("device", name, f"auto, cpu ({found} found)")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
