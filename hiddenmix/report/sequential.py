"""`repeats=auto`: when a study that is looked at more than once may stop, and what it then says.

Looking at 6, 10, 15, 20 and 30 seeds, each time at 5 %, finds a difference that is not there in up
to 14 % of studies. Alpha spending (Lan & DeMets 1983, Discrete sequential boundaries for clinical
trials) gives every look a smaller level, so that all of them together err in 5 %. It spends

    alpha * ln(1 + (e - 1) t),    t = seeds so far / most seeds,

which makes the levels nearly equal, as Pocock's are (1977, Group sequential methods in the design
and analysis of clinical trials). Levels like those of O'Brien & Fleming (1979) would keep almost
all for the end, asking for p = 0.000001 at 6 seeds, where a seed more costs a training of each
setting.

The seeds are taken for the whole information. With the test set fixed, each further seed adds less
than that; neighbouring looks are then more alike than assumed, and the error is smaller than 5 %
(tested). The levels are of a normal distribution and met by the p of t-tests; Jennison & Turnbull
(2000), Group Sequential Methods with Applications to Clinical Trials, chapter 7.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr

from hiddenmix.report.decision import FEWEST, LEVEL, word
from hiddenmix.report.two_way import Gain

LOOKS = (FEWEST, 10, 15, 20, 30)
"""Seeds at which a study is looked at."""


@dataclass(frozen=True)
class Look:
    """What a planned look at a study says."""

    word: str
    """That of `hiddenmix.report.decision.word`, at this look's levels."""
    stop: bool
    """A word other than undecided, or no look left."""
    then: int | None
    """Seeds at the next look; None where there is none, or the study stops."""
    level: float
    """The headline p of a difference lies below it."""
    equal_level: float
    """Both one-sided p of equality lie below it."""
    low: float | None
    """Of the headline interval at 1 - `level`: over all looks, these intervals cover the true gain
    together in at least 95 % of studies (repeated confidence intervals, Jennison & Turnbull 1989)."""
    high: float | None


@dataclass(frozen=True)
class Between:
    """A number of seeds at which no look was planned, so that what is seen there gives no word."""

    before: int | None
    """Seeds at the planned look before; None before the first."""
    then: int | None
    """Seeds at the next; None after the last."""
    said: str = ""
    """The word that was drawn at the look before; empty where that is not known."""


def judge(gain: Gain, margin: float, most: int | None) -> tuple[str, Look | None, Between | None]:
    """The word on `gain`, and with `repeats=auto` (`most`, else None) the planned look that it is of, or
    the looks that `gain.seeds` lies between: the error of 5 % is spent at these alone, and a word
    anywhere else would be one too many."""
    if most is None:
        return word(gain, margin), None, None
    planned = looks(most)
    if gain.seeds in planned:
        look = should_stop(gain, margin, most)
        return look.word, look, None
    before = [seeds for seeds in planned if seeds < gain.seeds]
    later = [seeds for seeds in planned if seeds > gain.seeds]
    between = Between(before[-1] if before else None, later[0] if later else None)
    return "undecided", None, between


def should_stop(gain: Gain, margin: float, most: int = LOOKS[-1]) -> Look:
    """What to do after `gain.seeds` seeds of at most `most`; `margin` in the unit of `gain`.

    Of studies without a gain at most 5 % are ever called supported or contradicted, and of studies
    whose true gain is the margin or more at most 5 % are ever called equal. ValueError: as `level`.
    """
    level_now, equal_now = level(gain.seeds, most), equal_level(gain.seeds, most)
    found = word(gain, margin, level_now, equal_now)
    later = [seeds for seeds in looks(most) if seeds > gain.seeds]
    stop = found != "undecided" or not later
    half = gain.half_width(1 - level_now)
    return Look(
        word=found,
        stop=stop,
        then=None if stop else later[0],
        level=level_now,
        equal_level=equal_now,
        low=None if half is None else gain.mean - half,
        high=None if half is None else gain.mean + half,
    )


def looks(most: int = LOOKS[-1]) -> tuple[int, ...]:
    """Seeds at every look of a study of at most `most`: those of `LOOKS` below it, and the end.

    ValueError: `most` is below `FEWEST`.
    """
    if most < FEWEST:
        raise ValueError(f"a study that may stop needs at least {FEWEST} seeds, not {most}")
    return (*(seeds for seeds in LOOKS if seeds < most), most)


def level(seeds: int, most: int = LOOKS[-1]) -> float:
    """The two-sided p below which the look at `seeds` seeds finds a difference.

    ValueError: `seeds` is none of `looks(most)`.
    """
    return 2 * _one_sided(looks(most), LEVEL, 2)[_place(seeds, most)]


def equal_level(seeds: int, most: int = LOOKS[-1]) -> float:
    """The p below which both one-sided tests lie where the look at `seeds` seeds finds equality.

    ValueError: `seeds` is none of `looks(most)`.
    """
    return _one_sided(looks(most), LEVEL, 1)[_place(seeds, most)]


def _place(seeds: int, most: int) -> int:
    if seeds not in looks(most):
        raise ValueError(f"no look was planned at {seeds} seeds, but at {looks(most)}")
    return looks(most).index(seeds)


def spent(share: float, alpha: float) -> float:
    """Of the error `alpha`, what may be spent when `share` in [0, 1] of the seeds are there; Lan &
    DeMets (1983), their alpha* number 2."""
    return alpha * math.log(1 + (math.e - 1) * share)


@cache
def _one_sided(looks: tuple[int, ...], alpha: float, sides: int) -> tuple[float, ...]:
    """Upper tail of the normal distribution beyond the bound of each look.

    The sum over seeds is a Brownian motion B(t); the bound b of a look is where the motions that
    met no bound before exceed b (one side) or leave [-b, b] (two) with the probability that the
    look may spend (Armitage, McPherson & Rowe 1969), integrated by Gauss and Legendre's rule.
    """
    points, weights = np.polynomial.legendre.leggauss(200)
    # Where the motions are that go on, and how likely; all at 0 to begin with.
    at, mass = np.zeros(1), np.ones(1)
    former, tails = 0.0, []
    for seeds in looks:
        share = seeds / looks[-1]
        step = math.sqrt(share - former)
        budget = spent(share, alpha) - spent(former, alpha)
        low, high = 0.0, 10.0
        for _ in range(60):
            bound = (low + high) / 2
            beyond = ndtr((at - bound) / step)
            if sides == 2:
                beyond += ndtr((-bound - at) / step)
            low, high = (bound, high) if float(mass @ beyond) > budget else (low, bound)
        tails.append(float(ndtr(-bound / math.sqrt(share))))
        # With one side the motion may go far down; eight standard deviations hold all of it.
        bottom = -bound if sides == 2 else -8 * math.sqrt(share)
        new = bottom + (bound - bottom) * (points + 1) / 2
        density = np.exp(-(((new[:, None] - at) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        mass = (density @ mass) * weights * (bound - bottom) / 2
        at, former = new, share
    return tuple(tails)
