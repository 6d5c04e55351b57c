"""A tuned comparison: the best setting at a hidden layer against the best of image mixup.

Each is the best of as many trials by accuracy on held-out training images. Both are then trained anew,
and the study's own statistics compare them on the test images, paired by seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType

from hiddenmix.config import counted
from hiddenmix.report.answers import CLEAN, Answers
from hiddenmix.report.comparison import image_mixing, settings_table
from hiddenmix.report.decision import what_would_decide, word
from hiddenmix.report.pairing import compare
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import read_study
from hiddenmix.report.tables import escaped, mean_text, two_way_points
from hiddenmix.report.terminal_tables import WIDTH, answers_table, terminal_answer, wide
from hiddenmix.report.verdict import asked, certainty, word_text


@dataclass(frozen=True)
class Trial:
    """One setting that a tuning has tried."""

    place: int
    """Its number among the trials of its side, from 0."""
    values: Mapping[str, str]
    """What was searched, by key, as it is typed."""
    state: str
    """`complete`, `stopped` (before its last seed) or `failed`."""
    validation: tuple[float, ...]
    """Accuracy on the held-out images (fraction), by seed."""

    @property
    def mean(self) -> float:
        """Of `validation`; NaN where no seed has ended."""
        return fmean(self.validation) if self.validation else math.nan


@dataclass(frozen=True)
class Side:
    """The trials at hidden layers, or those of image mixup, and the best of them."""

    trials: Sequence[Trial]
    size: float
    """How many settings there are to try; infinite where a number may be any."""
    chosen: Trial
    layer: str
    setting: str
    """Key of the chosen setting as it is trained for the test."""
    command: str
    """What trains it."""

    @property
    def stopped(self) -> int:
        """Trials that were stopped early."""
        return sum(trial.state == "stopped" for trial in self.trials)

    @property
    def networks(self) -> int:
        """Networks of all trials; a setting that was tried twice counts twice."""
        return sum(len(trial.validation) for trial in self.trials)

    @property
    def settings(self) -> int:
        """Different settings among the trials."""
        return len({tuple(sorted(trial.values.items())) for trial in self.trials})


@dataclass(frozen=True)
class Tuning:
    """What was tuned, how, and with what outcome on the held-out images."""

    name: str
    """8 hex digits, of all that decides about the trials but their number."""
    study: Path
    command: str
    trials: int
    """How many each side was given."""
    seeds: range
    """Of each trial."""
    final_seeds: range
    held: int
    """Training images that were held out."""
    space: Mapping[str, str]
    """What was searched, by key; image mixup has no layer."""
    hidden: Side
    images: Side
    cells: Sequence[str]
    """The networks of the two chosen settings that were trained for the test."""
    margin: float
    """What counts as equal, a fraction."""

    @property
    def folder(self) -> Path:
        """Where its report lies."""
        return self.study / "tune" / self.name


@dataclass(frozen=True)
class Tuned:
    """A tuning and its answer on the test images."""

    tuning: Tuning
    table: pd.DataFrame
    """`settings_table` of the two settings."""
    questions: list[Question]
    """On clean test images, and on samples from outside where they were measured."""


def compare_tuned(tuning: Tuning) -> Tuned:
    """Compare the two chosen settings on the test images by the networks `tuning.cells` alone."""
    study = read_study(tuning.study)
    cells = study.cells[study.cells["cell"].isin(tuning.cells)]
    answers = Answers(tuning.study, study.cells)
    table = settings_table(cells)
    by_setting = {str(key): group for key, group in cells.groupby("setting", sort=False)}
    kinds = [CLEAN, *(kind for cell in cells["cell"] for kind in answers.kinds(cell))]
    questions = [_ask(tuning, what, table, by_setting, answers) for what in dict.fromkeys(kinds)]
    return Tuned(tuning, table, questions)


def _ask(
    tuning: Tuning,
    what: str,
    table: pd.DataFrame,
    by_setting: Mapping[str, pd.DataFrame],
    answers: Answers,
) -> Question:
    compared = compare([(tuning.hidden.setting, tuning.images.setting)], what, by_setting, answers)
    gain = compared.gain
    found = "undecided" if gain is None else word(gain, tuning.margin)
    undecided = gain is not None and found == "undecided"
    rows = table[table["setting"] == tuning.hidden.setting]
    first = {} if table.empty else table.iloc[0]
    return Question(
        title=str(first.get("title", "")),
        model=str(first.get("model", "")),
        variant="",
        layer=tuning.hidden.layer,
        what=what,
        rows=rows,
        gain=gain,
        word=found,
        need=what_would_decide(gain, tuning.margin) if gain is not None and undecided else None,
        mixup=None,
        look=None,
        left_out=compared.left_out,
        without_predictions=compared.without_predictions,
        by_seed=compared.by_seed,
    )


def told_tuned(tuned: Tuned, question: Question) -> list[str]:
    """The answer in plain text: the verdict, and a sentence or two each on how sure it is, on the
    budget, and on what is not covered."""
    tuning, gain = tuned.tuning, question.gain
    where = f"{question.title}, {question.model}; {asked(question.what)}; tuned against tuned"
    opening = f"{word_text(question.word, tuning.margin)} ({where}):"
    hidden, images = (setting_text(side.chosen.values) for side in (tuning.hidden, tuning.images))
    if "layer" not in tuning.hidden.chosen.values:
        hidden = f"layer={tuning.hidden.layer} {hidden}".strip()
    mixing = image_mixing(tuned.table["variant"])
    about = (
        f"the best of {_trials(tuning.hidden)} at a hidden layer ({hidden}) instead of the best of "
        f"{_trials(tuning.images)} of {mixing} ({images or 'nothing to tune'})"
    )
    if gain is None:
        return [f"{opening} {about}: no seed has both, so that nothing can be compared."]
    effect = f"{opening} {about}: {two_way_points(gain)} points of accuracy"
    if question.what == CLEAN and gain.images:
        effect += f", {abs(gain.mean) * gain.images:,.1f} of {gain.images:,} test images"
    sure, *rest = certainty(question, gain, tuning.margin, "two settings, chosen beforehand")
    return [f"{effect}.", sure, budget_text(tuned), *rest, _UNCOVERED]


_UNCOVERED = (
    "Not covered: what another search of this budget would find. The interval is for these two settings, "
    "with new seeds and new test images."
)


def budget_text(tuned: Tuned) -> str:
    """What each side was given, and how the choice was made."""
    tuning = tuned.tuning
    many = len(tuning.seeds)
    seeds = f"{tuning.seeds[0]} to {tuning.seeds[-1]}" if many > 1 else f"{tuning.seeds[0]}"
    final = tuning.final_seeds
    return (
        f"Budget: each side {counted(tuning.trials, 'trial')}, judged by accuracy on "
        f"{tuning.held:,} training images held out, mean over {counted(many, 'seed')} ({seeds}), "
        "never on test images; "
        f"at a hidden layer {_looked_at(tuning.hidden)}, {image_mixing(tuned.table['variant'])} "
        f"{_looked_at(tuning.images)}. Both choices were then trained anew with no image held out and "
        f"other seeds ({final[0]} to {final[-1]})."
    )


def _trials(side: Side) -> str:
    return counted(len(side.trials), "trial")


def _looked_at(side: Side) -> str:
    """How many settings were tried, and what became of them."""
    parts = [counted(side.settings, "setting")]
    parts[0] += ", all there are" if side.settings == side.size else ""
    failed = sum(trial.state == "failed" for trial in side.trials)
    parts += [f"{side.stopped} stopped early"] if side.stopped else []
    parts += [f"{failed} failed"] if failed else []
    return f"{', '.join(parts)}, {counted(side.networks, 'network')}"


def setting_text(values: Mapping[str, str]) -> str:
    """Searched values to be read: numbers with three digits."""
    return " ".join(f"{key}={value_text(value)}" for key, value in values.items())


def value_text(value: str) -> str:
    """A searched value to be read."""
    try:
        return value if len(value) < 6 else f"{float(value):.3g}"
    except ValueError:
        return value


def side_rows(tuned: Tuned) -> list[dict[str, str]]:
    """A row of a table for each side: its choice, how well it does, and what it took."""
    rows = []
    tuning = tuned.tuning
    keys = [key for key in tuning.space if key != "layer"]
    for name, side in (("hidden layer", tuning.hidden), ("images", tuning.images)):
        found = tuned.table[tuned.table["setting"] == side.setting]
        row = {"side": name, "layer": side.layer}
        row |= {key: value_text(side.chosen.values.get(key, "")) for key in keys}
        row["validation, %"] = f"{100 * side.chosen.mean:.2f}"
        row["n"] = str(found.iloc[0]["n"]) if len(found) else "0"
        row["test accuracy, %"] = mean_text(found.iloc[0], "accuracy") if len(found) else ""
        row |= {"trials": str(len(side.trials)), "stopped": str(side.stopped)}
        rows.append(row | {"networks": str(side.networks)})
    return rows


def terminal_tuned(tuned: Tuned, width: int = WIDTH) -> RenderableType:
    """The two settings and the answers for a rich console of `width` columns."""
    rows, key = side_rows(tuned), "side"
    if wide(rows, list(rows[0])) > width:  # one below the other, each side a column
        names = [name for name in rows[0] if name != key]
        rows = [{key: name, **{row[key]: row[name] for row in rows}} for name in names]
    answers = []
    for question in tuned.questions:
        verdict, *rest = told_tuned(tuned, question)
        answers.append(terminal_answer(verdict, rest if question.what == CLEAN else ()))
    return Group(answers_table(rows, keep=[key]), *answers)


def tuned_json(tuned: Tuned) -> dict[str, Any]:
    """All of it for machines. Accuracies are fractions."""
    tuning = tuned.tuning

    def side_json(side: Side) -> dict[str, Any]:
        return {
            "layer": side.layer,
            "chosen": side.chosen.place,
            "values": dict(side.chosen.values),
            "validation_accuracy": side.chosen.mean,
            "setting": side.setting,
            "command": side.command,
            "settings_in_space": None if math.isinf(side.size) else side.size,
            "networks": side.networks,
            "trials": [asdict(trial) for trial in side.trials],
        }

    return {
        "name": tuning.name,
        "command": tuning.command,
        "trials": tuning.trials,
        "seeds": list(tuning.seeds),
        "final_seeds": list(tuning.final_seeds),
        "held_out_images": tuning.held,
        "space": dict(tuning.space),
        "margin": tuning.margin,
        "hidden_layer": side_json(tuning.hidden),
        "image_mixup": side_json(tuning.images),
        "cells": list(tuning.cells),
        "answers": [
            {
                "on": question.what,
                "word": question.word,
                "sentence": " ".join(told_tuned(tuned, question)),
                "gain": None if question.gain is None else asdict(question.gain),
                "need": None if question.need is None else asdict(question.need),
                "gain_by_seed": {str(seed): gain for seed, gain in question.by_seed.items()},
            }
            for question in tuned.questions
        ],
    }


def markdown_answer(tuned: Tuned) -> list[str]:
    """The answers as paragraphs of Markdown."""
    lines: list[str] = []
    for question in tuned.questions:
        verdict, *rest = told_tuned(tuned, question)
        opening, _, effect = verdict.partition(":")
        lines += [f"**{escaped(opening)}:**{escaped(effect)}", ""]
        if question.what == CLEAN:
            lines += [*(f"- {escaped(text)}" for text in rest), ""]
    return lines
