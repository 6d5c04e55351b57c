"""The verdict in words: what was asked, what was found, how sure it is, and what would decide it.

The rule itself stands in `decision.py`; the questions in `questions.py`.
"""

from hiddenmix.report.answers import CLEAN, SHIFTS
from hiddenmix.report.decision import FEWEST, FEWEST_IMAGES, Need, Way
from hiddenmix.report.questions import Question
from hiddenmix.report.tables import code, escaped, p_text, points
from hiddenmix.report.two_way import Gain


def asked(what: str) -> str:
    """What a question is about: the test images as they are, or which samples from outside."""
    if what == CLEAN:
        return "clean test images"
    if what == SHIFTS:
        return "samples from outside (shifts)"
    return f"outside set {what.partition('/')[2]}"


def spoken(question: Question, margin: float) -> str:
    """`sentence` without Markdown, for a terminal."""
    return sentence(question, margin).replace("**", "").replace("`", "").replace("\\", "")


def sentence(question: Question, margin: float) -> str:
    """The verdict on one question as Markdown; `margin` is a fraction."""
    about = [question.title, question.model, question.variant]
    where = f"{escaped(', '.join(part for part in about if part))}; {escaped(asked(question.what))}"
    opening = f"**{_WORDS[question.word].format(margin=f'{100 * margin:g}')}** ({where}): "
    gain = question.gain
    if question.layer is None:
        return opening + "the study mixes at no hidden layer, so that nothing can be compared."
    layer = f"`{code(question.layer)}`"
    if question.layer != "conv1":
        layer += " (the lowest hidden layer of the study)"
    if gain is None:
        return opening + (
            f"no seed has all settings of {layer} and image mixup of as many images beside them, so "
            "that nothing can be compared."
        )
    many = len(question.rows)
    grid = f"mean of {many} settings of K and α" if many > 1 else "one setting of K and α"
    found = (
        f"mixing the feature maps after {layer} instead of the images changes accuracy by "
        f"{points(gain.mean, gain.low, gain.high)} percentage points"
    )
    counts = f"n = {gain.seeds} seed{'s' * (gain.seeds > 1)}"
    if gain.images:
        counts += f", N = {gain.images:,} test images"
    parts = [counts, grid]
    if gain.low is not None:
        parts.insert(0, "95 % interval for new seeds and new test images")
        parts += [f"p = {p_text(gain.p_value)}", f"sign-flip p over seeds {p_text(gain.p_flip)}"]
    text = f"{opening}{found} ({'; '.join(parts)})."
    if gain.seed_low is not None:
        seeds = points(gain.mean, gain.seed_low, gain.seed_high).partition(" ")[2]
        text += f" For new seeds on this test set alone: {seeds}."
    text += _look(question) + _remarks(question, gain)
    return text + _mixup(question) + _needed(question, margin)


_WORDS = {
    "supported": "Supported",
    "contradicted": "Contradicted",
    "equal": "Equal within ±{margin} points",
    "undecided": "Undecided",
}


def _remarks(question: Question, gain: Gain) -> str:
    text = ""
    if question.without_predictions:
        text += (
            f" The predictions of {question.without_predictions} networks are missing, so that test "
            "images are no factor here: python -m hiddenmix.evaluate makes them."
        )
    if question.left_out:
        text += f" Left out, as parts of the grid are missing: seeds {_listed(question.left_out)}."
    if gain.seeds == 1:
        text += " One seed gives no interval."
    if gain.differing is not None and gain.differing < FEWEST_IMAGES:
        text += (
            f" The methods differ on {gain.differing} test images, and a verdict needs at least "
            f"{FEWEST_IMAGES}."
        )
    return text


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds[:20])) + (", …" if len(seeds) > 20 else "")


def _look(question: Question) -> str:
    """What a planned look asks more than a single one."""
    look = question.look
    if look is None:
        return ""
    return (
        f" This was a planned look (repeats=auto): p had to lie below {p_text(look.level)} for a "
        f"difference, and below {p_text(look.equal_level)} for equality, so that all looks together err "
        "in at most 5 %."
    )


def _mixup(question: Question) -> str:
    """What image mixup itself does: a gain over it means little where it loses."""
    mixup = question.mixup
    if mixup is None:
        return " Plain training was not run beside it."
    shown = points(mixup.mean, mixup.low, mixup.high)
    return f" Image mixup itself changes accuracy by {shown} points against plain training."


def _needed(question: Question, margin: float) -> str:
    need, gain = question.need, question.gain
    if question.word != "undecided" or gain is None:
        return ""
    fewest = f" A verdict needs at least {FEWEST} seeds." if gain.seeds < FEWEST else ""
    if need is None:
        return fewest
    return fewest + _need_text(need, gain, margin)


def _need_text(need: Need, gain: Gain, margin: float) -> str:
    """What would decide, at the present spread: a difference as large as now, or equality."""
    ways = []
    if need.differ is not None:
        ways.append(f"{_way(need.differ, gain)} if the difference stays what it is")
    ways.append(f"{_way(need.equal, gain)} for equality within ±{100 * margin:g} if there is none")
    return f" What would decide it at this spread: {', or '.join(ways)}."


def _way(way: Way, gain: Gain) -> str:
    if way.images is None:
        return f"{way.seeds:,} seeds"
    return (
        f"no number of seeds on these {gain.images:,} test images, but {way.seeds:,} seeds on "
        f"{way.images:,}"
    )
