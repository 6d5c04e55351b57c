"""All that a report says of a study, computed once: for the text, the terminal and verdict.json."""

from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import pandas as pd

from hiddenmix.report import distances, past_looks
from hiddenmix.report.answers import SHIFTS, Answers
from hiddenmix.report.comparison import judged_layers, settings_table
from hiddenmix.report.depth import guessed
from hiddenmix.report.factors import Best, Effect, best_layers, effects, layer_gains
from hiddenmix.report.questions import Question, questions
from hiddenmix.report.reading import Study
from hiddenmix.report.verdict import spoken
from hiddenmix.system import changed_code, commit
from hiddenmix.terminal import VERSION

FORMAT = 1
"""Of verdict.json."""


@dataclass(frozen=True)
class Findings:
    """What was found in a study."""

    table: pd.DataFrame
    """`settings_table` of all settings."""
    questions: list[Question]
    effects: list[Effect]
    """On clean test images."""
    shifted_effects: list[Effect]
    """On shifted ones, where they were evaluated."""
    best: list[Best]
    places: list[distances.Place]
    """How far mixing at layers is from mixing images, where that was measured."""
    margin: float
    """What counts as equal, a fraction."""
    answers: Answers


def find(study: Study, margin: float | None = None) -> Findings:
    """Ask a study's questions; `margin`, a fraction, is by default the study's own."""
    table = settings_table(study.cells)
    answers = Answers(study.folder, study.cells)
    chosen = study.margin if margin is None else margin
    asked = questions(table, study.cells, answers, chosen)
    _say_guesses(study, table, asked)
    return Findings(
        table=table,
        questions=[
            replace(
                each,
                changed=past_looks.changed(study.looks, each),
                between=past_looks.between(study.looks, each),
            )
            for each in asked
        ],
        effects=effects(table, study.cells, answers),
        shifted_effects=effects(table, study.cells, answers, SHIFTS),
        best=best_layers(table, study.cells, answers),
        places=distances.distances(study, layer_gains(table, study.cells, answers)),
        margin=chosen,
        answers=answers,
    )


def _say_guesses(study: Study, table: pd.DataFrame, asked: list[Question]) -> None:
    """Add to the study's problems, once, where names alone chose a question's layer."""
    for question in asked:
        layers = judged_layers(table[table["setting"].isin(question.settings)])
        executed = study.cells.loc[study.cells["setting"].isin(question.settings), "layers"]
        problem = (
            f"{question.title}, {question.model}: no result records in what order the network executes "
            f"its layers; that {question.layer} is the lowest of {', '.join(layers)} is guessed from "
            "their names, and one more network, trained by this version, settles it"
        )
        if guessed(layers, question.model, executed) and problem not in study.problems:
            study.problems.append(problem)


def as_json(study: Study, found: Findings) -> dict[str, Any]:
    """verdict.json: every number of the report for machines. Accuracies are fractions."""
    return {
        "format": FORMAT,
        "judged_at": judged_at(),
        "margin": found.margin,
        "questions": [question_json(each, found.margin) for each in found.questions],
        "factors": [_plain(each) for each in found.effects],
        "factors_on_shifted_images": [_plain(each) for each in found.shifted_effects],
        "best_layers": [_plain(each) for each in found.best],
        **({"distances": distances.as_json(found.places)} if found.places else {}),
        "looks": [_plain(each) for each in study.looks],
        "settings": [
            {key: None if pd.isna(value) else value for key, value in row.items()}
            for row in found.table.to_dict("records")
        ],
    }


def judged_at() -> dict[str, Any]:
    """The program whose rules give the words: not always the one that trained the networks."""
    found, _ = commit()
    return {"version": VERSION, "commit": found, "changed": changed_code()}


def question_json(question: Question, margin: float) -> dict[str, Any]:
    """One question and its answer; `margin` is a fraction."""
    return {
        "data": question.title,
        "network": question.model,
        "variant": question.variant,
        "layer": question.layer,
        "on": question.what,
        "word": question.word,
        "sentence": spoken(question, margin),
        "gain": _plain(question.gain),
        "image_mixup_over_plain": _plain(question.mixup),
        "layer_over_plain": _plain(question.over_plain),
        "need": _plain(question.need),
        "look": _plain(question.look),
        "between_looks": _plain(question.between),
        "families": [_plain(each) for each in question.families],
        "gain_by_setting": dict(question.by_setting),
        "odd_setting": _plain(question.odd),
        "gain_without_shift": _plain(question.unshifted),
        "gain_by_seed": {str(seed): gain for seed, gain in question.by_seed.items()},
        "settings": list(question.rows["setting"]),
        "seeds_left_out": list(question.left_out),
        "cells_without_predictions": question.without_predictions,
    }


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
