"""When verdicts were drawn, and at how many seeds: seeds added after a look make false ones likelier."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.questions import Question
from hiddenmix.report.results import PastLook
from hiddenmix.system import atomic


def record_looks(study: Path, questions: Sequence[Question], *, planned: bool = False) -> None:
    """Add to `study`/study.json the verdicts that somebody has now seen; each n once a question.

    Nothing is written where there is no study.json, or it cannot be written: a copy is only read.
    """
    path = study / "study.json"
    try:
        with FileLock(study / "study.lock"):  # as the study's own room locks it
            content = json.loads(path.read_bytes())
            looks = content.setdefault("looks", [])
            new = [each for each in _entries(questions, planned) if not _known(looks, each)]
            if new:
                looks += new
                atomic.write_json(path, content)
    except (OSError, ValueError, AttributeError, TypeError):
        return


def _entries(questions: Sequence[Question], planned: bool) -> list[dict[str, Any]]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "question": name(each),
            "at": at,
            "n": each.gain.seeds,
            "word": each.word,
            "planned": planned,
        }
        for each in questions
        if each.gain is not None and each.what == CLEAN
    ]


def _known(looks: list[dict[str, Any]], entry: dict[str, Any]) -> bool:
    return any(each["question"] == entry["question"] and each["n"] == entry["n"] for each in looks)


def name(question: Question) -> str:
    """A question's name in study.json."""
    return " / ".join(filter(None, [question.title, question.model, question.variant]))


def former(looks: Sequence[PastLook], question: Question) -> list[PastLook]:
    """The looks at fewer seeds than `question` has now."""
    seeds = question.gain.seeds if question.gain is not None else 0
    return [each for each in looks if each.question == name(question) and each.n < seeds]
