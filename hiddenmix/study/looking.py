"""`repeats=auto`: after so many seeds the study is looked at, and stops or goes on."""

from pathlib import Path

from hiddenmix.study.planning import Plan
from hiddenmix.terminal import Display


def looks(most: int) -> tuple[int, ...]:
    """Seeds at every look of a study of at most `most`."""
    from hiddenmix import report  # loads pandas and scipy, which nobody else waits for

    return report.looks(most)


def look(study: Path, plan: Plan, display: Display) -> bool:
    """Whether the questions of `plan` are answered, or no look is left. Says what was seen, and records
    it in study.json."""
    from hiddenmix import report

    found = report.find(report.read_study(study))
    asked = [
        each
        for each in found.questions
        if each.what == "clean" and set(each.rows["setting"]) & plan.requested.keys()
    ]
    report.record_looks(study, asked, planned=True)
    stop = True
    for question in asked:
        gain, seen = question.gain, question.look
        if gain is None or seen is None:
            continue
        about = (question.title, question.model, question.variant)
        name = f"look at {gain.seeds} seeds, {', '.join(filter(None, about))}"
        bound = f"p below {seen.level:.3f} would differ"
        then = "" if seen.then is None else f"; the next look is at {seen.then} seeds"
        display.say(f"{name}: {question.word} (p = {gain.p_value:.3f}; {bound}){then}")
        stop = stop and seen.stop
    return stop
