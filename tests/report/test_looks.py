"""Looks of `repeats=auto`: where words are drawn, and what is said of former looks."""

import errno
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from hiddenmix.config import UserError
from hiddenmix.report.answers import CLEAN
from hiddenmix.report.findings import find
from hiddenmix.report.markdown import markdown
from hiddenmix.report.past_looks import look_text, record_looks
from hiddenmix.report.questions import Question
from hiddenmix.report.reading import read_study
from hiddenmix.report.sequential import Between
from hiddenmix.report.verdict import spoken
from hiddenmix.report.writing import write_report
from hiddenmix.system import PATIENCE, hold
from tests.support.made_study import made_result, write_answered, write_answers
from tests.support.without_locks import SAID, leave_markers, refuse_flock

SETTINGS = [("none", None, None), ("input", "siamese", 1.0), ("conv1", "siamese", 1.0)]


@pytest.fixture(autouse=True)
def _record(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"format": 2, "commands": []}))


def clean_question(folder: Path) -> Question:
    [question] = [each for each in find(read_study(folder)).questions if each.what == CLEAN]
    return question


def report(folder: Path) -> str:
    study = read_study(folder)
    return markdown(study, find(study), "made", [])


def written(study: Path, seeds: Iterable[int], gain: float) -> None:
    """Cells of 2,000 test images."""
    write_answers(
        study, SETTINGS, seeds, 2000, lambda layer, *_: 0.8 + gain * (layer == "conv1"), full=False
    )


def planned(study: Path, seeds: Iterable[int], most: int = 30, gain: float = 0.007) -> None:
    """Seeds as `repeats=auto` trains them, on 2,000 test images."""
    written(study, seeds, gain)
    for path in study.glob("cells/*/result.json"):
        result = json.loads(path.read_text())
        if result["seed"] in seeds:
            result["config"] |= {"repeats": "auto", "max_repeats": most}
            path.write_text(json.dumps(result))


def test_what_was_damaged_or_moved_is_said(tmp_path: Path) -> None:
    written(tmp_path, range(2), 0.01)
    assert "began elsewhere" not in report(tmp_path)
    (tmp_path / "study.json.damaged").write_text("{")
    path = next(tmp_path.glob("cells/*/result.json"))
    result = json.loads(path.read_text())
    result["environment"]["resumed_from"] = [{"device": "cpu", "threads": 2}]
    path.write_text(json.dumps(result))
    text = report(tmp_path)
    assert (
        "study.json.damaged is what was damaged of study.json: looks before it are unknown" in text
    )
    assert "; 1 of them began elsewhere (`resumed_from` in result.json)." in text


def test_between_planned_looks_there_is_no_word(tmp_path: Path) -> None:
    """The interval at 8 seeds excludes 0, and nobody planned to look there."""
    planned(tmp_path, range(6))
    record_looks(tmp_path, [clean_question(tmp_path)])
    planned(tmp_path, range(6, 8))
    question = clean_question(tmp_path)
    assert question.gain is not None
    assert question.gain.p_value is not None
    assert question.gain.p_value < 0.05
    assert (question.word, question.look, question.need) == ("undecided", None, None)
    assert question.between == Between(6, 10, "undecided")
    said = spoken(question, 0.005)
    assert (
        "Why undecided: n = 8 seeds is between the planned looks of repeats=auto at 6, which said "
        "undecided, and 10: its bounds allow for no word here, and the next look is at 10, to which the "
        "command with repeats=auto goes on." in said
    )
    text = report(tmp_path)
    assert "drawn before at n = 6 (undecided). These were looks of repeats=auto, whose" in text
    record_looks(tmp_path, [clean_question(tmp_path)])
    planned(tmp_path, range(8, 10))
    assert clean_question(tmp_path).look is not None
    text = report(tmp_path)
    assert "drawn before at n = 6 (undecided). These were looks of repeats=auto, whose" in text


def test_beyond_the_last_planned_look_no_word_is_left(tmp_path: Path) -> None:
    planned(tmp_path, range(6), most=6, gain=0.02)
    question = clean_question(tmp_path)
    assert question.word == "supported"
    record_looks(tmp_path, [question])
    written(tmp_path, range(6, 8), 0.02)
    question = clean_question(tmp_path)
    assert (question.word, question.look) == ("undecided", None)
    said = spoken(question, 0.005)
    assert (
        "n = 8 seeds is beyond the last planned look of repeats=auto, at 6, which said supported: its "
        "bounds allow for no word here. No planned look of repeats=auto is left in this study; another "
        "one with other seeds (study=<name> seed=8) has its own." in said
    )


def test_bounds_are_not_said_to_allow_for_a_look_that_had_none(tmp_path: Path) -> None:
    """Eight seeds were looked at at 5 %, before the plan."""
    written(tmp_path, range(8), 0.002)
    record_looks(tmp_path, [clean_question(tmp_path)])
    planned(tmp_path, range(8, 10), gain=0.002)
    assert clean_question(tmp_path).look is not None
    text = report(tmp_path)
    assert "at n = 8 (undecided). Seeds that are added after a look make" in text


def test_a_look_at_answers_without_spread_has_no_p(tmp_path: Path) -> None:
    for seed in range(6):
        for layer, mode, alpha in SETTINGS:
            write_answered(
                tmp_path, made_result(layer, mode, alpha, seed, full=False), np.ones(360, bool)
            )
    for path in tmp_path.glob("cells/*/result.json"):
        result = json.loads(path.read_text())
        result["config"] |= {"repeats": "auto", "max_repeats": 30}
        path.write_text(json.dumps(result))
    assert look_text(clean_question(tmp_path)) == (
        "look at 6 seeds, Digits, cnn: undecided (no p; p below 0.015 would differ); the next look is at "
        "10 seeds"
    )


def recorded(study: Path) -> list[int]:
    """At how many seeds the looks in study.json were."""
    return [each["n"] for each in json.loads((study / "study.json").read_text()).get("looks", [])]


def test_a_look_is_recorded_only_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, range(2), 0.01)
    asked = [clean_question(tmp_path)]
    copy = tmp_path / "copy"
    copy.mkdir()
    record_looks(copy, asked)  # no study.json
    assert list(copy.iterdir()) == []
    record_looks(tmp_path / "none", asked)
    assert not (tmp_path / "none").exists()
    (tmp_path / "study.lock").symlink_to(copy / "lock")
    record_looks(tmp_path, asked)
    assert list(copy.iterdir()) == []
    (tmp_path / "study.lock").unlink()
    with monkeypatch.context() as patch:
        refuse_flock(patch, errno.ENOLCK)
        record_looks(tmp_path, asked)
    assert recorded(tmp_path) == []
    record_looks(tmp_path, asked)
    assert recorded(tmp_path) == [2]


@pytest.mark.filterwarnings(SAID)
def test_a_look_waits_for_no_marker_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, range(2), 0.01)
    asked = [clean_question(tmp_path)]
    leave_markers(monkeypatch, tmp_path / "study.lock")
    monkeypatch.setenv(PATIENCE, "soon")
    with pytest.raises(UserError, match=f"{PATIENCE}=soon is not allowed"):
        record_looks(tmp_path, asked)  # nor is it lost without a word
    monkeypatch.delenv(PATIENCE)
    record_looks(tmp_path, asked)
    assert recorded(tmp_path) == [2]


def test_a_report_in_the_study_is_a_look_whoever_writes_it(tmp_path: Path) -> None:
    """That of `python -m hiddenmix.evaluate` too, which calls this."""
    written(tmp_path, range(2), 0.01)
    write_report(tmp_path, output=tmp_path / "published")
    assert recorded(tmp_path) == []
    write_report(tmp_path)
    assert recorded(tmp_path) == [2]


def test_a_report_is_made_under_the_lock_of_its_study(tmp_path: Path) -> None:
    written(tmp_path, range(2), 0.01)
    with hold(tmp_path / "study.lock"):
        write_report(tmp_path, output=tmp_path / "published")  # which only reads the study
        with pytest.raises(
            RuntimeError, match="already held"
        ):  # by this thread, for which it would wait
            write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_report_that_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    written(tmp_path, range(2), 0.01)
    (tmp_path / "study.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"study\.lock is a link(.|\n)*--output FOLDER"):
        write_report(tmp_path)
