"""Training steps as recordings: a CUDA graph replays with one call what a step told the GPU to do.

A small network's kernels take less time than Python needs to launch them, so the GPU would wait. A
recording launches them all at once, but it repeats the very operations on the very places in memory
and sees no Python value again: what changes from step to step has to lie in tensors.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function does, without the function taking effect, and returns the replay."""

WARM_UP = 3
"""Steps of a kind that run unrecorded first: libraries choose and load their kernels in them."""


class Place:
    """Where in the training a recorded step is, in tensors that it reads and moves on itself."""

    def __init__(self, rates: NDArray[np.float64], batch_size: int, device: torch.device) -> None:
        self.rate = torch.zeros((), device=device)
        """The optimizer's learning rate."""
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        """Within the epoch."""
        self._first = self.step.clone()
        self._overall = self.step.clone()
        self._rates = torch.from_numpy(rates).to(device, torch.float32)
        # A remainder of one image joins the batch before it.
        self._range = torch.arange(batch_size + 1, device=device)

    def set(self, overall: int, step: int, bounds: list[tuple[int, int]]) -> None:
        """Stand at `step` of an epoch that has `overall` steps before it."""
        self.step.fill_(step)
        self._first.fill_(bounds[step][0])
        self._overall.fill_(overall + step)

    def begin(self, size: int) -> Tensor:
        """Set the learning rate; returns the positions of the next `size` images in the order."""
        self.rate.copy_(self._rates[self._overall].squeeze(0))
        return self._first + self._range[:size]

    def advance(self, size: int) -> None:
        """Move on by one step of `size` images."""
        self.step += 1
        self._overall += 1
        self._first += size


class Recordings:
    """Runs steps, one recording for each kind of step: batches of one size mixed at one layer."""

    def __init__(
        self,
        step: Callable[[int, str], None],
        recorder: Recorder,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        """`step` takes a batch's size and its layer; `say` is told where steps cannot be recorded."""
        self._step, self._recorder, self._say = step, recorder, say
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._seen: Counter[tuple[int, str]] = Counter()
        self._replays: dict[tuple[int, str], Callable[[], None]] = {}

    def run(self, size: int, layer: str) -> None:
        """One training step on the next `size` images."""
        kind = size, layer
        if kind not in self._replays:
            self._seen[kind] += 1
            if self._seen[kind] <= WARM_UP:
                with nullcontext() if self._stream is None else _aside(self._stream):
                    self._step(size, layer)
                return
            self._replays[kind] = self._record(size, layer)
        self._replays[kind]()

    def _record(self, size: int, layer: str) -> Callable[[], None]:
        def step() -> None:
            self._step(size, layer)

        try:
            return self._recorder(step)
        except RuntimeError as error:
            # Networks whose forward pass waits for the device, for one, or branches on its values.
            reason = str(error).strip().partition("\n")[0]
            self._say(f"steps of this network are not recorded as CUDA graphs: {reason}")
            return step


@contextmanager
def _aside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Run the block on a stream of its own: what is kept for the default stream cannot be recorded."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """The `Recorder` of CUDA devices (torch.cuda.CUDAGraph): nothing runs while it records."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
