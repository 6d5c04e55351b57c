"""The optimizers: torch's numbers, without torch's compiler."""

import builtins
from typing import Any

import pytest
import torch
from torch import nn

from hiddenmix.config import AdamConfig, OptimizerConfig, SgdConfig
from hiddenmix.training.optimizers import build_optimizer

OURS_AND_TORCHS = [
    (
        SgdConfig(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01),
        lambda weights: torch.optim.SGD(
            weights, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01, fused=True
        ),
    ),
    (
        AdamConfig(lr=0.01, betas=[0.8, 0.99], weight_decay=0.01),
        lambda weights: torch.optim.Adam(
            weights, lr=0.01, betas=(0.8, 0.99), weight_decay=0.01, fused=True
        ),
    ),
]


def steps(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The weights after three steps, with the optimizer's state put away and taken back between two."""
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        network(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    assert all(weight.grad is None for weight in network.parameters())
    return [weight.detach().clone() for weight in network.parameters()]


def made() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize(("config", "torchs"), OURS_AND_TORCHS)
def test_steps_are_torchs_to_the_bit(config: OptimizerConfig, torchs: Any) -> None:
    ours, reference = made(), made()
    found = steps(ours, build_optimizer(config, ours))
    expected = steps(reference, torchs(reference.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(found[0], next(made().parameters()))


@pytest.mark.parametrize("config", [config for config, _ in OURS_AND_TORCHS])
def test_no_step_loads_torchs_compiler(
    config: OptimizerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        assert not name.startswith("torch._dynamo"), "2.7 s of every command"
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    network = made()
    steps(network, build_optimizer(config, network))
