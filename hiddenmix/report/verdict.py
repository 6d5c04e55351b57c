"""The verdict in words: what was asked, what was found, how sure it is, and what would decide it.

The rule itself stands in `decision.py`; the questions in `questions.py`.
"""

from collections.abc import Sequence

from hiddenmix.config import counted
from hiddenmix.report.answers import CLEAN, SHIFTS
from hiddenmix.report.comparison import image_mixing, operation
from hiddenmix.report.decision import FEWEST, FEWEST_IMAGES, LEVEL, OUT_OF_REACH, Way, inside
from hiddenmix.report.questions import Question
from hiddenmix.report.sequential import Between
from hiddenmix.report.tables import code, escaped, p_is, p_text, points
from hiddenmix.report.two_way import Gain


def asked(what: str) -> str:
    """What a question is about: the test images as they are, or which samples from outside."""
    if what == CLEAN:
        return "clean test images"
    if what == SHIFTS:
        return "shifted test images, as samples from outside"
    return f"outside set {what.partition('/')[2]}"


def spoken(question: Question, margin: float) -> str:
    """`told` as one paragraph of plain text."""
    return " ".join(told(question, margin, markdown=False))


def _no_layer(passed_over: Sequence[str]) -> str:
    if not passed_over:
        return "the study mixes at no hidden layer"
    return (
        f"of the hidden layers that the study mixes at ({', '.join(passed_over)}) each is image mixup in "
        "disguise, bypassed or one of a list"
    )


def told(question: Question, margin: float, *, markdown: bool = True) -> list[str]:
    """The verdict on one question, `margin` a fraction: the word and the effect, and then, a sentence
    or two each, how sure it is, what mixing images itself does, why it is undecided and what would
    decide it."""
    gain = question.gain
    opening = _opening(question, margin, markdown)
    if question.layer is None:
        return [f"{opening} {_no_layer(question.passed_over)}, so that nothing can be compared."]
    images = image_mixing([question.variant])
    layer = f"`{code(question.layer)}`" if markdown else question.layer
    layer += f" (the study's lowest hidden layer, {question.changed or 'fixed beforehand'})"
    if gain is None:
        return [
            f"{opening} no seed has all settings of {layer} and {images} of as many images beside "
            "them, so that nothing can be compared."
        ]
    mixing = "CutMix of" if operation(question.variant) == "cutmix" else "mixing"
    effect = (
        f"{mixing} feature maps at {layer} instead of images: "
        f"{points(gain.mean, gain.low, gain.high)} points of accuracy"
        f"{_of_what(question, gain, markdown)}."
    )
    parts = (
        _sure(gain, _settings(question)),
        _look(question),
        _remarks(question),
        _mixup(question),
    )
    more = (*parts, *_undecided(question, gain, margin))
    return [f"{opening} {effect}", *filter(None, more)]


def _settings(question: Question) -> str:
    """What the gain is averaged over; of several settings, between which gains the mean lies."""
    rows = question.rows
    if len(rows) < 2:
        return "one setting of K and α"
    text = f"mean of {len(rows)} settings of K and α"
    column = {CLEAN: "gain_mean", SHIFTS: "shift_gain_mean"}.get(question.what)
    if column is None or rows[column].isna().any():
        return text
    ends = [rows.loc[rows[column].idxmin()], rows.loc[rows[column].idxmax()]]
    shown = [f"{points(row[column])} ({row['mode']} α={row['alpha']:g})" for row in ends]
    return f"{text}, from {shown[0]} to {shown[1]}"


def certainty(question: Question, gain: Gain, margin: float, about: str) -> list[str]:
    """How sure an answer is, and of an undecided one why, and what would decide it: a sentence or two
    each. `about` says what the gain is of."""
    parts = (_sure(gain, about), _remarks(question), *_undecided(question, gain, margin))
    return list(filter(None, parts))


def _undecided(question: Question, gain: Gain, margin: float) -> tuple[str, ...]:
    if question.word != "undecided":
        return ()
    return _why(question, gain, margin), _needed(question, gain, margin), _elsewhere(question, gain)


def _of_what(question: Question, gain: Gain, markdown: bool) -> str:
    """The effect counted in test images, which shows how little it may be; of shifts, what the families
    of which it is the mean reach from and to."""
    if question.what == CLEAN and gain.images:
        return f", {abs(gain.mean) * gain.images:,.1f} of {gain.images:,} test images"
    if len(question.families) < 2:
        return ""
    ends = [
        f"{points(each.gain.mean)} ({escaped(each.name) if markdown else each.name})"
        for each in (question.families[-1], question.families[0])
    ]
    count = len(question.families)
    return f", the mean of {count} families of shifts, from {ends[0]} to {ends[1]}"


_WORDS = {
    "supported": "Supported",
    "contradicted": "Contradicted",
    "equal": "Equal within ±{margin} points",
    "undecided": "Undecided",
}


def word_text(word: str, margin: float) -> str:
    """A verdict's word as it is printed; `margin` is a fraction."""
    return _WORDS[word].format(margin=f"{100 * margin:g}")


def _opening(question: Question, margin: float, markdown: bool) -> str:
    about = (question.title, question.model, question.variant)
    where = f"{', '.join(filter(None, about))}; {asked(question.what)}"
    word = word_text(question.word, margin)
    return f"**{word}** ({escaped(where)}):" if markdown else f"{word} ({where}):"


def _sure(gain: Gain, about: str) -> str:
    parts = [f"n = {gain.seeds} seed{'s' * (gain.seeds > 1)}"]
    parts += [f"N = {gain.images:,} test images"] if gain.images else []
    parts.append(about)
    counts = ", ".join(parts)
    text = f"How sure: no interval for new test images; {counts}."
    if gain.low is not None:
        text = (
            f"How sure: 95 % interval for new seeds and new test images; {counts}; "
            f"{p_is(gain.p_value)}, sign-flip p over seeds {p_text(gain.p_flip)}."
        )
    if gain.seed_low is not None:
        seeds = points(gain.mean, gain.seed_low, gain.seed_high).partition(" ")[2]
        text += f" For new seeds on this test set alone: {seeds}."
    return text


def _look(question: Question) -> str:
    """What a planned look asks more than a single one."""
    look = question.look
    if look is None:
        return ""
    text = (
        f"This was a planned look (repeats=auto): p had to lie below {p_text(look.level)} for a "
        f"difference, and below {p_text(look.equal_level)} for equality, so that all looks together err "
        "in at most 5 %"
    )
    if look.low is not None:
        gain = points(0, look.low, look.high).partition(" ")[2]
        text += f"; the interval that holds over all looks is {gain}"
    return f"{text}."


def _remarks(question: Question) -> str:
    said = []
    if question.without_predictions:
        said.append(
            f"The predictions of {counted(question.without_predictions, 'network')} are missing, so "
            "that test images are no factor here: python -m hiddenmix.evaluate makes them."
        )
    if question.alone:
        said.append(
            f"Left out, as {image_mixing([question.variant])} of as many images was not trained beside "
            f"them: {', '.join(question.alone)}."
        )
    if question.left_out:
        said.append(f"Left out, as parts of the grid are missing: seeds {_listed(question)}.")
    return " ".join(said)


def _listed(question: Question) -> str:
    seeds = question.left_out
    return ", ".join(map(str, seeds[:20])) + (", …" if len(seeds) > 20 else "")


def _mixup(question: Question) -> str:
    """What image mixup itself does: a gain over it means little where it loses."""
    mixup = question.mixup
    if mixup is None:
        return "Plain training was not run beside it."
    shown = points(mixup.mean, mixup.low, mixup.high)
    itself = image_mixing([question.variant]).replace("image", "Image", 1)
    fewer = question.gain is not None and mixup.seeds < question.gain.seeds
    seeds = f" (n = {mixup.seeds} seeds)" if fewer else ""
    return f"{itself} itself, against plain training: {shown} points{seeds}."


def _why(question: Question, gain: Gain, margin: float) -> str:
    """Which condition of the rule is not met."""
    look, few = question.look, []
    if gain.seeds < FEWEST:
        few.append(f"a verdict needs at least {FEWEST} seeds")
    if gain.differing is not None and gain.differing < FEWEST_IMAGES:
        few.append(
            f"the methods differ on {gain.differing} test images, and a verdict needs at least "
            f"{FEWEST_IMAGES}"
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
    ways = {
        "if the same difference is found again": need.differ,
        f"if none is found (equality within ±{100 * margin:g})": need.equal,
        "whatever is found": need.any_mean,
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
