"""Why a verdict is undecided, and what would decide it, in words; the rule stands in `decision.py`."""

import math

from hiddenmix.report.decision import (
    FEWEST,
    FEWEST_IMAGES,
    LEVEL,
    OUT_OF_REACH,
    UNSEEN,
    Way,
    inside,
    large_enough,
)
from hiddenmix.report.questions import Question
from hiddenmix.report.sequential import Between
from hiddenmix.report.tables import p_text, points
from hiddenmix.report.two_way import Gain


def undecided(question: Question, gain: Gain, margin: float) -> tuple[str, ...]:
    """Why, and what would decide it, a sentence or two each; nothing where there is a word."""
    if question.word != "undecided":
        return ()
    return _why(question, gain, margin), _needed(question, gain, margin), _elsewhere(question, gain)


def _why(question: Question, gain: Gain, margin: float) -> str:
    """Which condition of the rule is not met."""
    look, few = question.look, []
    if gain.seeds < FEWEST:
        few.append(f"a verdict needs at least {FEWEST} seeds")
    if gain.effective is not None and gain.effective < FEWEST_IMAGES:
        few.append(
            f"the gain rests on {gain.effective:.1f} test images in effect (the methods differ on "
            f"{gain.differing}, and not alike), and a verdict needs at least {FEWEST_IMAGES}"
        )
    if question.between is not None and gain.seeds >= FEWEST:
        few.append(_between(question.between, gain.seeds))
    if few or gain.p_value is None or gain.p_flip is None:
        return f"Why undecided: {'; '.join(few)}." if few else ""
    level = LEVEL if look is None else look.level
    if gain.p_value < level:
        return (
            "Why undecided: the interval excludes 0, but the exact sign-flip test over seeds must agree "
            f"with p below {LEVEL:g}, and has {p_text(gain.p_flip)}."
        )
    confidence = 1 - 2 * (LEVEL if look is None else look.equal_level)
    half = gain.half_width(confidence)
    assert half is not None
    low, high = gain.mean - half, gain.mean + half
    equal = f"{100 * confidence:.3g} % interval {points(0, low, high).partition(' ')[2]}"
    if max(-low, high) < margin:
        within = 100 * inside(margin, gain.images)
        equal += f", which has to lie within the margin less half a test image, ±{within:.2f}"
    differ = "the interval includes 0" if look is None else f"p is not below {p_text(level)}"
    if not large_enough(gain.images, margin):
        equal = (
            f"that takes at least {math.ceil(UNSEEN / margin):,} test images, as a rare kind of them "
            f"may be absent from {gain.images:,}"
            if margin
            else "the margin is 0"
        )
    unequal = f"equality within ±{100 * margin:g} is not shown either ({equal})"
    return f"Why undecided: {differ}, and {unequal}."


def _between(between: Between, seeds: int) -> str:
    """Why there is no word between the planned looks of `repeats=auto`, or beyond the last."""
    said = f", which said {between.said}" if between.said else ""
    if between.then is None:
        return (
            f"n = {seeds} seeds is beyond the last planned look of repeats=auto, at "
            f"{between.before}{said}: its bounds allow for no word here"
        )
    return (
        f"n = {seeds} seeds is between the planned looks of repeats=auto at {between.before}"
        f"{said}{',' if said else ''} and {between.then}: its bounds allow for no word here, and the "
        f"next look is at {between.then}, to which the command with repeats=auto goes on"
    )


def _needed(question: Question, gain: Gain, margin: float) -> str:
    """What would decide, at the present spread: a difference as large as now, equality, or either."""
    need = question.need
    if gain.seeds < FEWEST:
        return (
            f"What would decide it: at least {FEWEST} seeds; how many more, and "
            f"whether {gain.images:,} test images will do, is told from then on."
        )
    if need is None:
        return ""
    enough = need.equal == Way(gain.seeds, None)
    none = "as here had the mean been 0" if enough else "if none is found"
    ways = {
        "to show this difference, if it is found again": need.differ,
        f"to show equality within ±{100 * margin:g}, {none}": need.equal,
        "to show one of the two, whatever is found": need.any_mean,
    }
    known = {
        when: way
        for when, way in ways.items()
        if way is not None and max(way.seeds, way.images or 0) < OUT_OF_REACH
    }
    if not known:
        return "What would decide it: no number of seeds and images within reach."
    told = "; ".join(f"{_way(way)} {when}" for when, way in known.items())
    text = f"What would decide it, seeds and images varying as here: {told}."
    more = [way.images is not None for way in known.values()]
    if any(more):
        where = "" if all(more) else "Where more test images are named, "
        no = f"no number of seeds on these {gain.images:,} would do."
        text += f" {where}{no}" if where else f" {no.capitalize()}"
    return text


def _elsewhere(question: Question, gain: Gain) -> str:
    """Where the last planned look is over, no more seeds decide this study."""
    planned = question.look or question.between
    if planned is None or planned.then is not None:
        return ""
    seed = max(question.by_seed, default=gain.seeds - 1) + 1
    return (
        "No planned look of repeats=auto is left in this study; another one with other seeds "
        f"(study=<name> seed={seed}) has its own."
    )


def _way(way: Way) -> str:
    return f"{way.seeds:,} seeds" + (f" on {way.images:,} test images" if way.images else "")
