"""When verdicts were drawn, and at how many seeds: seeds added after a look make false ones likelier."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hiddenmix.config import UserError
from hiddenmix.report.answers import CLEAN
from hiddenmix.report.decision import FEWEST
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import PastLook
from hiddenmix.report.sequential import Between
from hiddenmix.report.tables import p_is, p_text
from hiddenmix.system import LockError, PatienceError, atomic, hold


def record_looks(study: Path, questions: Sequence[Question]) -> None:
    """Add to `study`/study.json the verdicts that somebody has now seen; each n once a question.

    Nothing is written where there is no study.json, or it cannot be written or locked: a copy is only
    read. Raises `UserError` where locks are markers that other processes take over at another age.
    """
    path = study / "study.json"
    if not path.is_file():
        return
    try:
        with hold(study / "study.lock"):  # under which all write it, see `study`'s `record_command`
            content = json.loads(path.read_bytes())
            looks = content.setdefault("looks", [])
            new = [each for each in _entries(questions) if not _known(looks, each)]
            if new:
                looks += new
                atomic.write_json(path, content)
    except PatienceError as error:
        raise UserError(str(error)) from error
    except (OSError, LockError, ValueError, AttributeError, TypeError):
        return


def _entries(questions: Sequence[Question]) -> list[dict[str, Any]]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "question": name(each),
            "at": at,
            "n": each.gain.seeds,
            "word": each.word,
            "planned": each.look is not None,
            **({} if each.between is None else {"between": True}),
            "layer": each.layer,
            "settings": _settings(each),
            "compared": sorted(each.rows["setting"]),
        }
        for each in questions
        if each.gain is not None and each.what == CLEAN
    ]


def _settings(question: Question) -> list[str]:
    """The settings of K and α that are averaged, as texts in a fixed order."""
    return sorted(
        f"{mode}, alpha={alpha:g}"
        for mode, alpha in zip(question.rows["mode"], question.rows["alpha"], strict=True)
    )


def _known(looks: list[dict[str, Any]], entry: dict[str, Any]) -> bool:
    same = ("n", "layer", "compared", "between")  # not by its name, see `_before`
    return any(all(each.get(key) == entry.get(key) for key in same) for each in looks)


def name(question: Question) -> str:
    """A question's name in study.json."""
    return " / ".join(filter(None, [question.title, question.model, question.variant]))


def _before(looks: Sequence[PastLook], question: Question) -> list[PastLook]:
    """The looks at `question`. A name tells what varies in the study, and becomes another one as soon as
    a further key does; the settings that were compared then are still among the question's."""
    own = set(question.settings)
    return [
        each
        for each in looks
        if (own & set(each.compared) if each.compared else each.question == name(question))
    ]


def changed(looks: Sequence[PastLook], question: Question) -> str:
    """How the question was another one when a verdict was drawn before; empty where it never was."""
    before = [each for each in _before(looks, question) if each.layer]
    others = dict.fromkeys(each.layer for each in before if each.layer != question.layer)
    if others:
        return f"not fixed beforehand: a verdict on {', '.join(others)} was drawn before"
    now = tuple(_settings(question))
    if any(each.settings != now for each in before if each.settings):
        return "averaged over other K and α when a verdict was drawn before"
    return ""


def former(looks: Sequence[PastLook], question: Question) -> list[PastLook]:
    """The looks at fewer seeds than `question` has now, at which a word could be drawn."""
    seeds = question.gain.seeds if question.gain is not None else 0
    return [each for each in _before(looks, question) if each.n < seeds and not each.between]


def between(looks: Sequence[PastLook], question: Question) -> Between | None:
    """The planned looks around `question`, with the word that was drawn at the one before."""
    found = question.between
    if found is None:
        return None
    said = [
        each.word
        for each in former(looks, question)
        if each.planned and each.n == found.before and each.layer == question.layer
    ]
    return replace(found, said=said[-1] if said else "")


def allowed(question: Question, before: Sequence[PastLook]) -> str:
    """What the looks `before` do to the verdict on `question`."""
    harmless = not question.changed and all(each.planned or each.n < FEWEST for each in before)
    if not harmless or (question.look is None and question.between is None):
        return (
            "Seeds that are added after a look make a false verdict likelier than the 5 % of a single "
            "look; repeats=auto has bounds that allow for it."
        )
    if all(each.planned for each in before):
        return "These were looks of repeats=auto, whose bounds allow for them."
    return (
        f"Fewer than {FEWEST} seeds give no word: the bounds of repeats=auto hold, unless max_repeats "
        "was chosen by what was seen then."
    )


def look_text(question: Question) -> str:
    """A look under way, on one line."""
    about = ", ".join(filter(None, [question.title, question.model, question.variant]))
    gain, look, between = question.gain, question.look, question.between
    if gain is None:
        return f"no look, {about}: no seed has all settings yet"
    if look is None:
        later = None if between is None else between.then
        then = "no look is left" if later is None else f"the next look is at {later} seeds"
        return f"no look was planned at {gain.seeds} seeds, {about}: {then}"
    p = "no p" if gain.p_value is None else p_is(gain.p_value)
    bound = f"p below {p_text(look.level)} would differ"
    then = "" if look.then is None else f"; the next look is at {look.then} seeds"
    return f"look at {gain.seeds} seeds, {about}: {question.word} ({p}; {bound}){then}"
