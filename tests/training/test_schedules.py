"""Learning rates against torch's own schedulers."""

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from hiddenmix.config.schema import SgdConfig
from hiddenmix.training.schedules import learning_rates

STEPS = 50


def torch_rates(scheduler_of: type, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = scheduler_of(optimizer, **options)
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.9])
def test_one_cycle(warmup: float) -> None:
    ours = learning_rates(SgdConfig(lr=0.1, schedule="one_cycle", warmup=warmup), STEPS)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=STEPS, pct_start=warmup, cycle_momentum=False
    )
    for step in range(STEPS):
        assert ours[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), step
        optimizer.step()
        if step < STEPS - 1:
            scheduler.step()


def test_cosine() -> None:
    ours = learning_rates(SgdConfig(lr=0.1, schedule="cosine"), STEPS)
    theirs = torch_rates(lr_scheduler.CosineAnnealingLR, T_max=STEPS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_step() -> None:
    config = SgdConfig(lr=0.1, schedule="step", milestones=[0.5, 0.75], gamma=0.1)
    theirs = torch_rates(lr_scheduler.MultiStepLR, milestones=[25, 38], gamma=0.1)
    np.testing.assert_allclose(learning_rates(config, STEPS), theirs, rtol=1e-6)


def test_constant() -> None:
    assert set(learning_rates(SgdConfig(lr=0.1, schedule="constant"), STEPS)) == {0.1}


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_have_rates(schedule: str, steps: int) -> None:
    rates = learning_rates(SgdConfig(lr=0.1, schedule=schedule), steps)
    assert rates.shape == (steps,)
    assert np.isfinite(rates).all()
    assert (rates > 0).all()
    assert (rates <= 0.1 + 1e-12).all()
