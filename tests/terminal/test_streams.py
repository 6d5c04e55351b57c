"""Output of any encoding: every text is written, and no number loses its sign."""

import io
import sys
from pathlib import Path

import pytest

from hiddenmix.report.__main__ import main as report
from hiddenmix.terminal.streams import write_any_text
from tests.support.made_study import make_study


def stream(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """stdout in `encoding`, as Python makes it; what is written to it."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    return written


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "−0.56 ± 1.2 α \\ud800 日本"),
        ("latin-1", "-0.56 ± 1.2 a \\ud800 \\u65e5\\u672c"),
        ("ascii", "-0.56 +/- 1.2 a \\ud800 \\u65e5\\u672c"),
        ("cp932", "\uff0d0.56 ± 1.2 α \\ud800 日本"),
    ],
)
def test_what_an_encoding_lacks_is_written_in_its_like(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: str
) -> None:
    written = stream(monkeypatch, encoding)
    write_any_text()
    print("−0.56 ± 1.2 α \ud800 日本", flush=True)  # noqa: T201
    assert written.getvalue().decode(encoding).rstrip() == expected


def test_another_programs_stream_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    write_any_text()


def test_a_report_is_printed_and_written_whatever_the_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = make_study(
        tmp_path / "study",
        layers=("none", "input", "conv1"),
        seeds=(0, 1),
        full=False,
        title="データ",
        gain=lambda layer, *_: -0.05 if layer == "conv1" else 0.0,
    )
    written = stream(monkeypatch, "ascii")
    assert report([str(folder)]) == 0
    sys.stdout.flush()
    text = written.getvalue().decode("ascii")
    assert text.startswith("\\u30c7\\u30fc\\u30bf: accuracy, and gain")
    assert "fixed beforehand) instead of images: -" in " ".join(text.split())  # a minus is a minus
    assert "?" not in text
    stored = (folder / "report/report.md").read_text(encoding="utf-8")
    assert "**Undecided** (データ, cnn; clean test images): " in stored
    assert (folder / "summary.csv").is_file()
