"""A study's questions in report.md: tables by question, family of shifts and seed, and their looks."""

from collections.abc import Sequence

from hiddenmix.report.answers import CLEAN
from hiddenmix.report.past_looks import allowed, former
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import Study
from hiddenmix.report.tables import (
    escaped,
    interval,
    markdown_table,
    p_text,
    points,
    two_way_points,
)
from hiddenmix.report.verdict import asked

_PRIMARY = """\
The gain is averaged over the study's grid of K and α within a seed: one number a seed, one test. Its \
interval is for new seeds *and* new test images; that for this test set holds for new seeds alone. p is \
of the first, p (flip) of the exact sign-flip test over seeds. Supported and contradicted need an \
interval that excludes 0 and p (flip) below 0.05, equal a 90 % interval within the margin, and each word \
six seeds and ten test images in effect (docs/statistics.md). The last columns set both sides of the \
question, mixing images and mixing at the layer, against plain training; they carry no verdict."""

_BY_FAMILY = """\
The gain of the question on shifted images is the mean over these families, each counted once, whatever \
its number of strengths. Where they differ in sign, that mean says little of any of them, and depends on \
which families there are. p (Holm) is corrected over the families of a question. These rows explore, and \
carry no verdict."""

_ABREAST = 6
"""Questions that stand beside each other in a table by seed."""


def questions_section(questions: list[Question]) -> list[str]:
    """A table with a row a question."""
    table = markdown_table([question_row(each) for each in questions])
    return ["## The questions", "", table, "", _PRIMARY, ""]


def question_row(question: Question) -> dict[str, str]:
    """A row of the table of questions."""
    gain = question.gain
    row = {
        **{"data": question.title, "network": question.model, "differs in": question.variant},
        **{"question": asked(question.what), "layer": question.layer or ""},
        **{"verdict": question.word},
        **dict.fromkeys(("n", "N", "gain, points [95 %]", "p", "p (flip)"), ""),
        "for this test set [95 %]": "",
        "image mixing over plain": two_way_points(question.mixup),
        "layer over plain": two_way_points(question.over_plain),
    }
    if gain is not None:
        row |= {"n": str(gain.seeds), "N": f"{gain.images:,}" if gain.images else ""}
        row |= {"gain, points [95 %]": two_way_points(gain)}
        row |= {"p": p_text(gain.p_value), "p (flip)": p_text(gain.p_flip)}
        seeds = points(gain.mean, gain.seed_low, gain.seed_high)
        row["for this test set [95 %]"] = seeds.partition(" ")[2]
    return row


def by_family(questions: list[Question]) -> list[str]:
    """What the mean over the families of shifts is the mean of."""
    rows = [
        {
            **{"data": question.title, "network": question.model},
            **{"differs in": question.variant, "family": each.name},
            **{"n": str(each.gain.seeds), "N": f"{each.gain.images:,}" if each.gain.images else ""},
            "gain, points [95 %]": interval(each.gain),
            **{"p": p_text(each.gain.p_value), "p (flip)": p_text(each.gain.p_flip)},
            "p (Holm)": p_text(each.p_holm),
            "image mixing over plain": interval(each.mixup),
            "layer over plain": interval(each.over_plain),
        }
        for question in questions
        for each in question.families
    ]
    if not rows:
        return []
    return ["## Shifted images, by family", "", markdown_table(rows), "", _BY_FAMILY, ""]


def by_seed(questions: list[Question]) -> list[str]:
    """The numbers that the tests over seeds rest on: a row a seed, a column a question."""
    known = [each for each in questions if each.by_seed]
    if not known:
        return []
    tables = []
    for start in range(0, len(known), _ABREAST):
        shown = known[start : start + _ABREAST]
        seeds = sorted({seed for each in shown for seed in each.by_seed})
        rows = [
            {"seed": str(seed)}
            | {_column(each, known): points(each.by_seed.get(seed)) for each in shown}
            for seed in seeds
        ]
        tables += [markdown_table(rows), ""]
    explained = (
        "The gain of each question in points, by seed, for this test set; blank where a seed lacks a "
        "part of the grid. cells.csv holds every network's numbers."
    )
    return ["## By seed", "", *tables, explained, ""]


def _column(question: Question, questions: list[Question]) -> str:
    """What tells a question from the others."""
    parts = [
        (question.title, {each.title for each in questions}),
        (question.model, {each.model for each in questions}),
        (question.variant, {each.variant for each in questions}),
    ]
    told = [part for part, among in parts if part and len(among) > 1]
    return ", ".join([*told, asked(question.what).removesuffix(", as samples from outside")])


def looks(study: Study, questions: Sequence[Question]) -> list[str]:
    """Say where verdicts were drawn before at fewer seeds."""
    lines = []
    for question in questions:
        before = former(study.looks, question) if question.what == CLEAN else []
        if before:
            at = ", ".join(f"n = {look.n} ({look.word})" for look in before)
            name = escaped(" ".join(filter(None, [question.title, question.model])))
            lines.append(
                f"**Looks**: a verdict on {name} was drawn before at {at}. {allowed(question, before)}"
            )
    return [part for line in lines for part in (line, "")]
