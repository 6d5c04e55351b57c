"""The buffers of a network as they are now, for passes that shall each begin with them."""

import torch
from torch import Tensor, nn


class Buffers:
    """What a network keeps from pass to pass: running statistics, counters, spectral_norm's vectors."""

    def __init__(self, network: nn.Module) -> None:
        self._kept: list[tuple[nn.Module, str, Tensor | None, Tensor | None]] = [
            (module, name, value, None if value is None else value.detach().clone())
            for module in network.modules()
            for name, value in module._buffers.items()
        ]

    def restore(self) -> None:
        """Put them back, those too that were replaced by other tensors."""
        with torch.no_grad():
            for module, name, buffer, value in self._kept:
                # One that is expanded cannot be written to, and has not been.
                if buffer is not None and value is not None and not torch.equal(buffer, value):
                    buffer.copy_(value)
                module._buffers[name] = buffer
