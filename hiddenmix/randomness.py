"""Named random streams: every draw comes from `(seed, name, position)` and from nothing before it.

A stream is a counter-based address, not a shared generator: the order of epoch 7 is the same whether
epochs 0 to 6 were run, skipped or resumed, and no consumer can shift another's draws. Two settings
of the same seed therefore start from the same weights and see the same batches in the same order.
The names in use are `init`, `order`, `augment`, `mix`, `dropout`, `split`, `evaluation`, `subset`,
`picture`, `tune` and `tuples`.

`init` and `dropout` are drawn inside torch from its default generators; `default_generators` lends
those to one stream for the length of a `with` block.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def _sequence(seed: int, name: str, position: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), *position))


def stream(seed: int, name: str, *position: int) -> np.random.Generator:
    """A fresh NumPy generator at the start of the stream `name` of `seed`.

    `position` addresses a part of the stream, such as an epoch; every value is an int >= 0.
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, name, position)))


@contextmanager
def default_generators(seed: int, name: str, device: torch.device | None = None) -> Iterator[None]:
    """Lend torch's default generators (the CPU's, and `device`'s) to one stream.

    On exit, also on error, their former states come back, so nothing outside sees a change.
    """
    number = int(_sequence(seed, name, ()).generate_state(1, np.uint64)[0] >> np.uint64(1))
    generators = _default_generators(device)
    former = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(number)
        yield
    finally:
        for generator, state in zip(generators, former, strict=True):
            generator.set_state(state)


def _default_generators(device: torch.device | None) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device is None or device.type == "cpu":
        return generators
    module = torch.get_device_module(device)
    if device.type == "mps":  # there is one, which torch gives no public name
        return [*generators, module._get_default_mps_generator()]
    index = module.current_device() if device.index is None else device.index
    return [*generators, module.default_generators[index]]


def generator_states(device: torch.device) -> list[torch.Tensor]:
    """States of the default generators (the CPU's, then the device's): uint8, for a checkpoint."""
    return [generator.get_state() for generator in _default_generators(device)]


def restore_generators(device: torch.device, states: list[torch.Tensor]) -> None:
    """Put back what `generator_states` returned, on a device of the same kind."""
    for generator, state in zip(_default_generators(device), states, strict=True):
        generator.set_state(state)
