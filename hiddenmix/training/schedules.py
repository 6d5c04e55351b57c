"""Learning rates as a function of the step: the whole run's table, so a resume has nothing to restore."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiddenmix.config import OptimizerConfig


def learning_rates(config: OptimizerConfig, steps: int) -> NDArray[np.float64]:
    """The learning rate of each of `steps` optimizer steps, float64 [steps].

    `one_cycle` rises along a cosine from lr/25 over the fraction `warmup` of the run and falls along
    another to lr/250,000 (Smith & Topin 2018, as in torch's OneCycleLR); `cosine` falls from lr
    towards 0 (Loshchilov & Hutter 2017); `step` multiplies by `gamma` at each milestone.
    """
    lr = config.lr
    position = np.arange(steps)
    match config.schedule:
        case "one_cycle":
            start, end = lr / 25, lr / 25e4
            peak = max(config.warmup * steps - 1, 0.0)
            rising = _cosine(start, lr, position / max(peak, 1.0))
            falling = _cosine(lr, end, (position - peak) / max(steps - 1 - peak, 1.0))
            return np.where(position < peak, rising, falling)
        case "cosine":
            return _cosine(lr, 0.0, position / steps)
        case "step":
            passed = [position >= math.ceil(fraction * steps) for fraction in config.milestones]
            exponent = np.sum(passed, axis=0) if passed else np.zeros(steps)
            return lr * np.power(config.gamma, exponent)
        case _:
            return np.full(steps, lr)


def _cosine(start: float, end: float, progress: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rates: NDArray[np.float64] = end + (start - end) / 2 * (
        1 + np.cos(np.pi * np.clip(progress, 0, 1))
    )
    return rates
