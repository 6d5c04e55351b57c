"""The operations and bytes of a training step, counted."""

import torch
from contestants import Bench
from torch import Tensor, nn


def operations_and_bytes(bench: Bench) -> dict[str, float]:
    """`operations` and `bytes` of a step of the network of `bench`.

    A convolution or linear layer of M multiply-additions costs 2 M operations forward and 4 M
    backward, the first one, whose input needs no gradient, 2 M. Bytes: each module's output is
    written and read forward, its gradient likewise, and it is read once more backward: five passes.
    """
    network = bench.network()
    found = {"operations": 0.0, "bytes": 0.0}
    first = True

    def count(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal first
        if isinstance(module, nn.Conv2d | nn.Linear):
            terms = output.numel() * module.weight[0].numel()
            found["operations"] += terms * (4 if first else 6)
            first = False
        found["bytes"] += 5 * output.nbytes

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [
        leaf.register_forward_hook(count) for leaf in leaves if not isinstance(leaf, nn.Flatten)
    ]
    with torch.no_grad():
        network(torch.zeros(bench.batch, *bench.shape))
    for handle in handles:
        handle.remove()
    return found
