"""The optimizers, in torch's fused form."""

from typing import Any

import torch
from torch import Tensor, nn

from hiddenmix.config import AdamConfig, OptimizerConfig, SgdConfig


def build_optimizer(
    config: OptimizerConfig, network: nn.Module, rate: Tensor | None = None
) -> torch.optim.Optimizer:
    """SGD or Adam over all parameters, in torch's fused form: one pass over the weights.

    `rate`, a scalar on the network's device, holds the learning rate of steps that are recorded.
    """
    lr: Any = config.lr if rate is None else rate
    match config:
        case SgdConfig():
            return torch.optim.SGD(
                network.parameters(),
                lr=lr,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
                fused=True,
            )
        case AdamConfig():
            return torch.optim.Adam(
                network.parameters(),
                lr=lr,
                betas=(config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
                fused=True,
                capturable=rate is not None and rate.is_cuda,
            )
        case _:
            raise TypeError(f"no optimizer for {type(config).__name__}")
