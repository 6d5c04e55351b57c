"""The verdict in words: what was asked, what was found, how sure it is, and what would decide it.

The rule itself stands in `decision.py`; the questions in `questions.py`.
"""

from collections.abc import Sequence

from hiddenmix.config import counted
from hiddenmix.report.answers import CLEAN, SHIFTS
from hiddenmix.report.comparison import image_mixing, operation
from hiddenmix.report.decision import LEVEL
from hiddenmix.report.questions import Question
from hiddenmix.report.tables import code, escaped, p_is, p_text, points, two_way_points
from hiddenmix.report.two_way import Gain
from hiddenmix.report.undecided import undecided


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
    or two each, how sure it is, what both do against plain training, why it is undecided and what would
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
        f"{two_way_points(gain)} points of accuracy"
        f"{_of_what(question, gain, markdown)}."
    )
    parts = (
        _sure(gain, _settings(question)),
        _unlike(question),
        _unshifted(question),
        _look(question),
        _remarks(question),
        _over_plain(question),
    )
    more = (*parts, *undecided(question, gain, margin))
    return [f"{opening} {effect}", *filter(None, more)]


def _settings(question: Question) -> str:
    """What the gain is averaged over; of several settings, between which gains the mean lies."""
    rows = question.rows
    if len(rows) < 2:
        return "one setting of K and α"
    text = f"mean of {len(rows)} settings of K and α"
    gains = question.by_setting
    if len(gains) < 2:
        return text
    ends = [min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)]
    shown = [f"{points(gains[name])} ({name})" for name in ends]
    return f"{text}, from {shown[0]} to {shown[1]}"


def _unlike(question: Question) -> str:
    """Whether the settings behind the mean gain alike."""
    odd = question.odd
    if odd is None:
        return ""
    corrected = f", corrected over {odd.tests}" if odd.tests > 1 else ""
    if odd.p_holm >= LEVEL:
        return f"Its settings are not shown to differ ({p_is(odd.p_holm)}{corrected})."
    more = points(odd.mean, odd.low, odd.high)
    return (
        f"Its settings differ: {odd.setting} against {odd.others} {more} points "
        f"({p_is(odd.p_holm)}{corrected}), so that the mean is no setting's."
    )


def _unshifted(question: Question) -> str:
    """What part of a gain on shifted images may be that of the images."""
    gain = question.unshifted
    if gain is None:
        return ""
    return f"On these {gain.images:,} images without a shift: {two_way_points(gain)} points."


def certainty(question: Question, gain: Gain, margin: float, about: str) -> list[str]:
    """How sure an answer is, and of an undecided one why, and what would decide it: a sentence or two
    each. `about` says what the gain is of."""
    parts = (_sure(gain, about), _remarks(question), *undecided(question, gain, margin))
    return list(filter(None, parts))


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
    parts += [_on_images(gain)] if gain.images else []
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


def _on_images(gain: Gain) -> str:
    """N, and where few of them carry the gain, how many do."""
    text = f"N = {gain.images:,} test images"
    if gain.effective is None or gain.effective >= _MANY:
        return text
    return f"{text} ({gain.differing} differ; the gain rests on {gain.effective:.1f} in effect)"


_MANY = 100
"""Images in effect, from which on the mean is as good as normal, and their number is not told."""


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


def _over_plain(question: Question) -> str:
    """What image mixup and mixing at the layer do themselves: a gain over what loses means little."""
    if question.mixup is None:
        return "Plain training was not run beside it."
    itself = image_mixing([question.variant]).replace("image", "Image", 1)
    text = f"{itself} itself, against plain training: {_of_seeds(question.mixup, question)}"
    if question.over_plain is not None:
        mixing = "CutMix" if operation(question.variant) == "cutmix" else "mixing"
        text += f"; {mixing} at that layer: {_of_seeds(question.over_plain, question)}"
    return f"{text}."


def _of_seeds(gain: Gain, question: Question) -> str:
    """A gain, and its number of seeds where it is not the question's."""
    fewer = question.gain is not None and gain.seeds < question.gain.seeds
    seeds = f" (n = {gain.seeds} seeds)" if fewer else ""
    return f"{two_way_points(gain)} points{seeds}"
