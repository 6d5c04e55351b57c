"""The device that a command trains on: the CPU, or the accelerator that this torch was built for."""

import torch

from hiddenmix.config import ConfigError


def choose_device(name: str, job: int) -> torch.device:
    """The device called `name`, such as `cpu`, `cuda:1`, `mps` or `xpu`; `auto` is the accelerator that
    `torch.accelerator` names, and spreads the jobs of a launcher over several by their number.

    Raises `ConfigError` for a device that is not there.
    """
    kind, count = _accelerator()
    if name == "auto":
        return torch.device(kind, job % count) if count else torch.device("cpu")
    there = {f"{kind}:{number}": torch.device(kind, number) for number in range(count)}
    known = {"cpu": torch.device("cpu"), **there}
    if count:
        known[kind] = torch.device(kind, 0)
    if name not in known:
        found = ", ".join(there) or "no accelerator"
        raise ConfigError("device", name, f"auto, cpu ({found} found)")
    return known[name]


def accelerators() -> int:
    """How many accelerators there are."""
    return _accelerator()[1]


def _accelerator() -> tuple[str, int]:
    """The accelerator's kind, as torch calls it, and how many there are."""
    if not torch.accelerator.is_available():
        return "cpu", 0
    kind = torch.accelerator.current_accelerator()
    return (kind.type, torch.accelerator.device_count()) if kind is not None else ("cpu", 0)


def device_name(device: torch.device) -> str:
    """`cpu`, or the accelerator's own name where it has one."""
    if device.type == "cpu":
        return "cpu"
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(named(device)) if named is not None else device.type
