"""A report over several studies: every question beside the others, and nothing pooled unless asked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hiddenmix.config import UserError, show
from hiddenmix.report import distances, head
from hiddenmix.report.answers import CLEAN, SHIFTS
from hiddenmix.report.between_studies import differences, in_common, told_apart
from hiddenmix.report.comparison import operation, settings_table
from hiddenmix.report.findings import FORMAT, find, judged_at, question_json
from hiddenmix.report.question_tables import looks, question_row
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import Study
from hiddenmix.report.statistics import holm, mean_interval
from hiddenmix.report.tables import escaped, markdown_table, p_text, points
from hiddenmix.report.two_way import Gain
from hiddenmix.report.verdict import asked, told
from hiddenmix.report.writing import remove_stale, save, unwritable, with_results
from hiddenmix.system import atomic
from hiddenmix.terminal import clean

_KEEP = ("study", "data", "network")
"""Columns that stand in the table whether they vary or not."""

_READING = """\
Each row is a question of its own, fixed beforehand and answered by the rule of docs/statistics.md at \
5 %: of twenty rows without any difference one may be expected to err. The gain is the accuracy of \
mixing feature maps at the layer minus that of mixing as many images, averaged over the study's K and α. \
Its interval is for new seeds *and* new test images; that for this test set holds for new seeds alone. \
p (Holm) is p after Holm's correction over all rows of one kind of test images (clean ones, shifted ones \
and outside sets are a family each), for those who draw one conclusion from such a family; verdicts are \
without it. What differs between studies of one data set and network stands with what differs within."""


@dataclass(frozen=True)
class Row:
    """A question of one of several studies."""

    study: str
    """The study's name, which tells it from the others."""
    data: str
    """The data's content: equal where two studies have the same data, whatever they call them."""
    question: Question
    """With what differs between the studies in its variant."""
    margin: float
    """What counts as equal, a fraction."""
    own: Question | None = None
    """As the study itself asks it, where that is another name."""
    p_holm: float | None = None
    """Of its gain, corrected over the rows on the same kind of test images."""


@dataclass(frozen=True)
class Pooled:
    """The mean gain over data sets, each counted once, with Student's interval over them."""

    on: str
    """As `Question.what`."""
    sets: int
    mean: float
    low: float | None
    high: float | None


def read(
    folders: Sequence[Path], margin: float | None
) -> tuple[dict[str, Study], list[Row], list[distances.Place]]:
    """The studies of the folders by name, all their questions, clean test images first, and how far
    mixing at layers is from mixing images, where that was measured.

    `margin`, a fraction, is by default each study's own. Raises `UserError`: a folder that is no study,
    holds no results, or is named twice.
    """
    studies = {
        name: with_results(folder) for folder, name in zip(folders, _names(folders), strict=True)
    }
    told = differences(studies)
    rows: list[Row] = []
    places: list[distances.Place] = []
    for name, study in studies.items():
        found = find(study, margin)
        places += distances.of_study(found.places, name, in_common(study, told[name]))
        digests = dict(zip(study.cells["title"], study.cells["digest"], strict=True))
        rows += [
            Row(name, digests[own.title], told_apart(own, told[name]), found.margin, own)
            for own in found.questions
        ]
    rows.sort(key=lambda row: _place(row.question.what))
    return studies, _corrected(rows), places


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """With Holm's correction, clean and shifted test images and outside sets a family each: who asks
    about one of them should not pay for the others."""
    corrected = dict[int, float | None]()
    kinds = [row.question.what.partition("/")[0] for row in rows]
    for kind in dict.fromkeys(kinds):
        family = [place for place, each in enumerate(kinds) if each == kind]
        gains = [rows[place].question.gain for place in family]
        corrected |= zip(
            family, holm([None if gain is None else gain.p_known for gain in gains]), strict=True
        )
    return [replace(row, p_holm=corrected[place]) for place, row in enumerate(rows)]


def _place(what: str) -> tuple[bool, bool, str]:
    return (what != CLEAN, what != SHIFTS, what)


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart."""
    places = [folder.resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{show(folder)} is named twice\n  each study is reported once")
    names: list[str] = []
    for place in places:
        size = 1
        while sum(other.parts[-size:] == place.parts[-size:] for other in places) > 1:
            size += 1
        names.append(clean("/".join(place.parts[-size:])))
    return names


def pool(rows: Sequence[Row]) -> list[Pooled]:
    """For each kind of test images, the mean of the gains over data sets.

    Networks and studies on the same data are no independent evidence: their gains are averaged first,
    so that a data set is one number. The interval is for new data sets drawn as these were. Raises
    `UserError` where there are fewer than two, or mixup and CutMix.
    """
    if len({operation(row.question.variant) for row in rows}) > 1:
        raise UserError(
            "--pool takes studies of one operation\n  these have mixup and CutMix, whose gains are over "
            "different baselines"
        )
    found = []
    for what in dict.fromkeys(row.question.what for row in rows):
        by_data: dict[str, list[float]] = {}
        for row in rows:
            if row.question.what == what and row.question.gain is not None:
                by_data.setdefault(row.data, []).append(row.question.gain.mean)
        if len(by_data) > 1:
            mean = mean_interval(sum(gains) / len(gains) for gains in by_data.values())
            found.append(Pooled(what, mean.n, mean.mean, mean.low, mean.high))
    if not found:
        raise UserError("--pool needs two data sets\n  these studies have one, by its content")
    return found


def _cells(rows: Sequence[Row]) -> list[dict[str, str]]:
    """What a table says of each row."""
    table = []
    for row in rows:
        cells = {"study": row.study} | question_row(row.question)
        names = [*cells]
        names.insert(names.index("p (flip)") + 1, "p (Holm)")
        cells["p (Holm)"] = p_text(row.p_holm)
        table.append({name: cells[name] for name in names})
    return table


def verdicts_table(rows: Sequence[Row]) -> pd.DataFrame:
    """A row for each question, its answer and the numbers behind it: accuracies are fractions, as in
    cells.csv. Blank: not estimated."""
    table = []
    for row in rows:
        question, gain = row.question, row.question.gain
        cells: dict[str, Any] = {
            **{"study": row.study, "data": question.title, "network": question.model},
            **{"variant": question.variant, "on": question.what, "layer": question.layer},
            **{"verdict": question.word, "margin_fraction": row.margin},
            **{"n": gain and gain.seeds, "N": (gain and gain.images) or None},
            **_fractions("gain", gain, "mean", "low", "high", "seed_low", "seed_high"),
            **{"p": gain and gain.p_value, "p_flip": gain and gain.p_flip, "p_holm": row.p_holm},
            **_fractions("image_mixing_over_plain", question.mixup, "mean", "low", "high"),
            **_fractions("layer_over_plain", question.over_plain, "mean", "low", "high"),
        }
        table.append(cells)
    return pd.DataFrame(table).astype({"n": "Int64", "N": "Int64"})


def _fractions(name: str, gain: Gain | None, *ends: str) -> dict[str, float | None]:
    return {f"{name}_{end}_fraction": None if gain is None else getattr(gain, end) for end in ends}


def write_several(
    studies: Mapping[str, Study],
    rows: Sequence[Row],
    output: Path,
    title: str | None = None,
    pooled: Sequence[Pooled] = (),
    places: Sequence[distances.Place] = (),
) -> Path:
    """Write report.md, verdicts.csv, verdict.json and the figures into `output`; returns the path of
    the first. Raises `UserError` where they cannot be written."""
    from hiddenmix.report.distance_figure import distance_figure
    from hiddenmix.report.forest_figure import forest
    from hiddenmix.report.plain_figure import plain_figure

    try:
        output.mkdir(parents=True, exist_ok=True)
        drawn: set[str] = set()
        figures: list[str] = []
        for what in dict.fromkeys(row.question.what for row in rows):
            here = [row for row in rows if row.question.what == what]
            if drawing := forest(here, [each for each in pooled if each.on == what]):
                figures += save(drawing, "##", output, drawn, published=True)
            if drawing := plain_figure(here):
                figures += save(drawing, "##", output, drawn, published=True)
        if drawing := distance_figure(places):
            figures += save(drawing, "##", output, drawn, published=True)
        remove_stale(output, drawn)
        text = _markdown(
            studies, rows, pooled, places, clean(title or output.resolve().name), figures
        )
        verdict = {
            "format": FORMAT,
            "judged_at": judged_at(),
            "questions": [
                {"study": row.study, "data_digest": row.data, "margin": row.margin}
                | question_json(row.question, row.margin)
                | {"p_holm": row.p_holm}
                for row in rows
            ],
            "pooled": [asdict(each) for each in pooled],
            **({"distances": distances.as_json(places)} if places else {}),
        }
        atomic.write_json(output / "verdict.json", verdict)
        table = verdicts_table(rows).to_csv(index=False)
        atomic.write_bytes(output / "verdicts.csv", table.encode("utf-8", "replace"))
        atomic.write_bytes(output / "report.md", text.encode("utf-8", "replace"))
    except OSError as error:
        raise unwritable(output, error) from None
    return output / "report.md"


def _markdown(
    studies: Mapping[str, Study],
    rows: Sequence[Row],
    pooled: Sequence[Pooled],
    places: Sequence[distances.Place],
    title: str,
    figures: list[str],
) -> str:
    lines = [f"# {escaped(title)}", ""]
    for what in dict.fromkeys(row.question.what for row in rows):
        words = [row.question.word for row in rows if row.question.what == what]
        counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
        questions = f"{len(words)} question{'s' * (len(words) > 1)}"
        lines += [f"**{escaped(asked(what).capitalize())}**: {questions}: {counts}.", ""]
    for each in pooled:
        lines += [
            f"Pooled over {each.sets} data sets, each counted once ({escaped(asked(each.on))}): "
            f"{points(each.mean, each.low, each.high)} points, with Student's 95 % interval over data "
            "sets: for new ones drawn as these were. It carries no verdict.",
            "",
        ]
    for name, study in studies.items():
        own = [row.own or row.question for row in rows if row.study == name]
        said = [*looks(study, own), *head.unfinished(study, settings_table(study.cells))]
        lines += head.warnings(study)
        lines += [part for text in said if text for part in (f"{escaped(name)}: {text}", "")]
    lines += figures
    lines += ["## The questions", "", markdown_table(_cells(rows), _KEEP), ""]
    lines += [_READING if pooled else f"{_READING} Nothing is pooled over data sets.", ""]
    lines += [*distances.section(places), "## The verdicts", ""]
    for row in rows:
        verdict, *rest = told(row.question, row.margin)
        lines += [f"{escaped(row.study)}: {verdict}", "", *(f"- {text}" for text in rest), ""]
    lines += head.rules()
    for name, study in studies.items():
        lines += [f"## {escaped(name)}", "", *head.reproduction(study)]
        lines += [f"#{line}" if line.startswith("## ") else line for line in head.left_out(study)]
    return "\n".join(lines).rstrip() + "\n"
