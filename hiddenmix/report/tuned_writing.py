"""Writes the report of a tuned comparison: report.md and tuned.json, in the tuning's folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hiddenmix.config import counted
from hiddenmix.report.answers import CLEAN
from hiddenmix.report.tables import escaped, markdown_table, points
from hiddenmix.report.tuned import (
    Side,
    Tuned,
    Tuning,
    markdown_answer,
    side_rows,
    tuned_json,
    value_text,
)
from hiddenmix.report.writing import unwritable
from hiddenmix.system import atomic

_NAME = "tuned.json"


def write_tuned(tuned: Tuned) -> Path:
    """Write `report.md` and `tuned.json`, which remembers former looks at the test images; returns the
    path of the first. Raises `UserError` where they cannot be written."""
    folder = tuned.tuning.folder
    looks = _former(folder)
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **_now(tuned)}
    known = [each for each in looks if _about(each) == _about(entry)]
    content = tuned_json(tuned) | {"looks": looks if known else [*looks, entry]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(folder / _NAME, content)
        page = "\n".join(_markdown(tuned)).rstrip() + "\n"
        atomic.write_bytes(folder / "report.md", page.encode("utf-8", "replace"))
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder / "report.md"


def former_looks(tuned: Tuned) -> str:
    """What is to be said where the test images were looked at before, and the tuning went on; else
    empty."""
    now = _about(_now(tuned))
    before = [each for each in _former(tuned.tuning.folder) if _about(each) < now]
    if not before:
        return ""
    told = ", ".join(
        f"at {counted(each['trials'], 'trial')} and {counted(each['seeds'], 'seed')}: {each['word']}"
        for each in before
    )
    return (
        f"warning: these test images were looked at before ({told}), and more was tried since: a choice "
        "or a number of seeds that followed such a look is no longer blind to it"
    )


def _now(tuned: Tuned) -> dict[str, Any]:
    [word] = [question.word for question in tuned.questions if question.what == CLEAN]
    tuning = tuned.tuning
    return {"trials": tuning.trials, "seeds": len(tuning.final_seeds), "word": word}


def _about(look: dict[str, Any]) -> tuple[int, int]:
    return look["trials"], look["seeds"]


def _former(folder: Path) -> list[dict[str, Any]]:
    try:
        looks = json.loads((folder / _NAME).read_bytes())["looks"]
        return [each for each in looks if all(isinstance(part, int) for part in _about(each))]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _markdown(tuned: Tuned) -> list[str]:
    tuning = tuned.tuning
    lines = [f"# Tuned comparison, {escaped(tuning.study.name)} {tuning.name}", ""]
    lines += markdown_answer(tuned)
    if warning := former_looks(tuned):
        lines += [f"**{escaped(warning)}.**", ""]
    lines += ["## The two settings", "", markdown_table(side_rows(tuned), ["side"]), ""]
    lines += [
        "Validation: mean accuracy on the held-out images over the seeds of the search, and the best of "
        "many, so that it promises too much. Test accuracy: mean over n new seeds, ± half of Student's "
        "95 % interval.",
        "",
    ]
    if by_seed := _by_seed(tuned):
        lines += ["By seed, hidden layer minus images, in points:", "", markdown_table(by_seed), ""]
    lines += ["## What was searched", ""]
    lines += [f"- `{key}`: {escaped(text)}" for key, text in tuning.space.items()]
    lines += ["", "Mixing images has no layer to search. Everything else is equal:", ""]
    lines += ["```", tuning.command, "```", ""]
    for name, side in (("a hidden layer", tuning.hidden), ("images", tuning.images)):
        lines += [f"## Trials at {name}" if side is tuning.hidden else f"## Trials of {name}", ""]
        lines += [markdown_table(_trial_rows(tuning, side), ["trial"]), ""]
    lines += ["## The two settings again", "", "```"]
    return [*lines, tuning.hidden.command, tuning.images.command, "```", ""]


def _by_seed(tuned: Tuned) -> list[dict[str, str]]:
    [clean] = [question for question in tuned.questions if question.what == CLEAN]
    return [{"seed": str(seed), "gain": points(gain)} for seed, gain in clean.by_seed.items()]


def _trial_rows(tuning: Tuning, side: Side) -> list[dict[str, str]]:
    """The trials, the best by validation accuracy first; those that were stopped come last."""
    states = ("complete", "stopped", "failed")
    trials = sorted(
        side.trials, key=lambda each: (states.index(each.state), -each.mean, each.place)
    )
    keys = [key for key in tuning.space if any(key in trial.values for trial in trials)]
    return [
        {
            "trial": str(trial.place + 1),
            **{key: value_text(trial.values.get(key, "")) for key in keys},
            "seeds": str(len(trial.validation)),
            "validation, %": f"{100 * trial.mean:.2f}" if trial.validation else "",
            "": "chosen"
            if trial is side.chosen
            else ""
            if trial.state == "complete"
            else trial.state,
        }
        for trial in trials
    ]
