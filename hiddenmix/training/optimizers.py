"""The optimizers, in torch's fused form."""

from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn

from hiddenmix.config import AdamConfig, OptimizerConfig, SgdConfig


class _Eager(torch.optim.Optimizer):
    """torch's functions without what keeps them out of compiled graphs, which the first call of each
    imports torch's compiler for: 2.7 of a short command's 7 s. Nothing here compiles an optimizer."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class _SGD(_Eager, torch.optim.SGD):
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class _Adam(_Eager, torch.optim.Adam):
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


def build_optimizer(
    config: OptimizerConfig, network: nn.Module, rate: Tensor | None = None
) -> torch.optim.Optimizer:
    """SGD or Adam over all parameters, in torch's fused form: one pass over the weights.

    `rate`, a scalar on the network's device, holds the learning rate of steps that are recorded.
    """
    lr: Any = config.lr if rate is None else rate
    match config:
        case SgdConfig():
            return _SGD(
                network.parameters(),
                lr=lr,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
                fused=True,
            )
        case AdamConfig():
            return _Adam(
                network.parameters(),
                lr=lr,
                betas=(config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
                fused=True,
                capturable=rate is not None and rate.is_cuda,
            )
        case _:
            raise TypeError(f"no optimizer for {type(config).__name__}")
