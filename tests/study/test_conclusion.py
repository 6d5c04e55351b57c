"""What a command ends with, of a made study: one reading, one set of findings."""

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from hiddenmix.report import findings, reading
from hiddenmix.study.conclusion import conclude
from tests.support.made_study import make_study


def concluded(study: Path, *, full_report: bool) -> tuple[bool, list[str]]:
    """What `conclude` returns, and the lines that it prints."""
    console = Console(file=io.StringIO(), width=200)
    names = sorted(path.name for path in (study / "cells").iterdir())
    written = conclude(study, names, {}, console, full_report=full_report)
    return written, console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("full_report", [True, False])
def test_the_study_is_read_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_report: bool
) -> None:
    calls: list[str] = []

    def count(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(module, name, counted)

    count(reading, "stored")
    count(findings, "questions")
    study = make_study(tmp_path / "made", layers=("none", "input", "conv1"), seeds=(0, 1))
    written, lines = concluded(study, full_report=full_report)
    assert written
    assert calls == ["stored", "questions"]
    assert (study / "summary.csv").is_file()
    assert (study / "report" / "report.md").is_file() == full_report
    last = f"report: {study}/report/report.md"
    if not full_report:
        last = f"report with figures: python -m hiddenmix.report {study}"
    assert lines[-2:] == [f"results: {study}/summary.csv and {study}/cells", last]


@pytest.mark.parametrize("broken", ["study.lock", "report"])
def test_what_cannot_be_written_is_said_below_the_table(tmp_path: Path, broken: str) -> None:
    study = make_study(tmp_path / "made", layers=("none", "input", "conv1"), seeds=(0,))
    (study / broken).symlink_to(tmp_path)
    written, lines = concluded(study, full_report=True)
    assert not written
    [place] = [number for number, line in enumerate(lines) if line.startswith("failed: ")]
    assert lines[place].endswith(f"the results stand: python -m hiddenmix.report {study}")
    assert sum("accuracy, and gain" in line for line in lines[:place]) == 1
    assert lines[-1] == f"results: {study}/summary.csv and {study}/cells"
