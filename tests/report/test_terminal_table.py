"""The table on a terminal of whatever width: the columns that tell rows apart survive."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hiddenmix.report.comparison import settings_table
from hiddenmix.report.findings import find
from hiddenmix.report.reading import read_study
from hiddenmix.report.terminal_tables import terminal_table, terminal_verdicts
from tests.support.made_study import make_study

LONG = "features.denseblock1.denselayer12.conv"


def shown(folder: Path, width: int) -> str:
    out = StringIO()
    table = settings_table(read_study(folder).cells)
    Console(file=out, width=width).print(terminal_table(table, width))
    assert all(len(line) <= width for line in out.getvalue().splitlines())
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_rows_never_look_alike(tmp_path: Path, width: int) -> None:
    layers = ("none", "input", f"{LONG}1", f"{LONG}2")
    make_study(tmp_path, layers=layers, modes=("siamese", "triplet"), alphas=(0.2, 1.0))
    make_study(tmp_path, layers=layers, seeds=(0, 1), lr=0.1, variant="11111111")
    text = shown(tmp_path, width)
    joined = "".join(text.split())
    for layer in layers:
        assert all(part in joined for part in (layer[:8], layer[-4:]))
    assert "…" not in text
    assert "differs" in text
    assert "gain" in text


def test_p_values_go_before_the_gain(tmp_path: Path) -> None:
    make_study(tmp_path)
    wide, narrow = shown(tmp_path, 100), shown(tmp_path, 62)
    assert "p (t)" in wide
    assert "p (Holm)" in wide.splitlines()[3]
    assert "p (t)" not in narrow
    assert "gain, points" in narrow
    assert "accuracy, %" in narrow


@pytest.mark.parametrize("width", [60, 80])
def test_verdicts_are_short_lines_and_explained(tmp_path: Path, width: int) -> None:
    made = find(read_study(make_study(tmp_path)))
    out = StringIO()
    Console(file=out, width=width).print(terminal_verdicts(made.questions, made.margin))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("Undecided (Digits, cnn; clean test images): ")
    assert any(line.startswith("  How sure: ") for line in lines)
    assert all(line == line.rstrip() for line in lines if line.startswith("  "))
    # Of samples from outside, the verdict alone: the report explains it.
    assert sum(line.startswith("Undecided") for line in lines) == 2
    assert sum(line.startswith("  How sure: ") for line in lines) == 1


@pytest.mark.parametrize("width", [60, 80])
def test_several_data_sets_have_one_table_of_answers(tmp_path: Path, width: int) -> None:
    for number, title in enumerate(("near", "far")):
        name = {"title": title, "digest": str(number) * 32, "variant": str(number) * 8}
        make_study(tmp_path, layers=("none", "input", "conv1"), seeds=(0, 1), full=False, **name)  # type: ignore[arg-type]
    made = find(read_study(tmp_path))
    out = StringIO()
    Console(file=out, width=width).print(terminal_verdicts(made.questions, made.margin))
    table = out.getvalue()[: out.getvalue().index("Undecided (")]
    assert "data" in table
    rows = [line.split() for line in table.splitlines() if "conv1" in line]
    assert sorted(row[0] for row in rows) == ["far", "near"]
    assert all(
        f"{100 * each.gain.mean:+.2f}".replace("-", "−") in table
        for each in made.questions
        if each.gain
    )
