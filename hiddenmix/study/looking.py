"""`repeats=auto`: after so many seeds the study is looked at, and stops or goes on."""

from pathlib import Path

from hiddenmix.study.planning import Plan
from hiddenmix.terminal import Display


def looks(most: int) -> tuple[int, ...]:
    """Seeds at every look of a study of at most `most`."""
    from hiddenmix import report  # loads pandas and scipy, which nobody else waits for

    return report.looks(most)


def look(study: Path, plan: Plan, display: Display) -> bool:
    """Whether a planned look answers the questions of `plan`, or finds no look left. Says what was seen,
    and records it in study.json."""
    from hiddenmix import report

    found = report.find(report.read_study(study))
    asked = [
        each
        for each in found.questions
        if each.what == "clean" and set(each.rows["setting"]) & plan.requested.keys()
    ]
    report.record_looks(study, asked)
    for question in asked:
        display.say(report.look_text(question))
    if not asked:
        display.say("warning: no look: the study's question is about other settings than these")
    return bool(asked) and all(each.look is not None and each.look.stop for each in asked)
