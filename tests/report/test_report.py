"""Reading a study, its table, its verdict, and the report, from made results."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from hiddenmix.config.errors import UserError
from hiddenmix.report.__main__ import main
from hiddenmix.report.comparison import TABLE, first_hidden_layer, settings_table
from hiddenmix.report.depth import by_depth
from hiddenmix.report.findings import find
from hiddenmix.report.reading import read_study
from hiddenmix.report.statistics import holm
from hiddenmix.report.tables import outcome
from hiddenmix.report.terminal_tables import terminal_table
from hiddenmix.report.writing import write, write_report, write_summary
from hiddenmix.system import changed_code, commit
from hiddenmix.terminal import VERSION
from tests.support.commands import unrendered
from tests.support.made_study import cell_id, made_result, make_study, setting_key, write_cell

DOCUMENTED = "dataset,model,layer,mode,alpha,n,accuracy_mean,accuracy_low,accuracy_high,"
DOCUMENTED += "gain_mean,gain_low,gain_high,p_value"

Gain = Callable[[str, str | None, float | None], float]


@pytest.fixture(autouse=True)
def _unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    unrendered(monkeypatch)


def _table(folder: Path) -> Any:
    return settings_table(read_study(folder).cells)


def _row(table: Any, layer: str, mode: str = "siamese", alpha: float = 1.0) -> Any:
    [row] = [
        row
        for _, row in table.iterrows()
        if (row["layer"], row["mode"], row["alpha"]) == (layer, mode, alpha)
    ]
    return row


def _gains(value: float) -> Gain:
    return lambda layer, mode, alpha: value if layer == "conv1" else 0.0


# The table


def test_the_table_has_a_row_for_each_setting_by_depth(tmp_path: Path) -> None:
    made = make_study(tmp_path, modes=("siamese", "triplet"), alphas=(0.2, 1.0), seeds=(0, 1))
    table = _table(made)
    assert list(table.columns) == list(TABLE)
    assert len(table) == 1 + 2 * 2 * 4
    assert list(dict.fromkeys(table["layer"])) == ["none", "input", "conv1", "conv2", "conv3"]
    assert set(table["n"]) == {2}


def test_gain_is_paired_with_image_mixup_of_as_many_images_and_the_same_alpha(
    tmp_path: Path,
) -> None:
    made = make_study(tmp_path, modes=("siamese", "triplet"), alphas=(0.2, 1.0))
    cells = read_study(made).cells
    treated = cells[cells["setting"] == setting_key("conv2", "triplet", 0.2)].sort_values("seed")
    row = _row(settings_table(cells), "conv2", "triplet", 0.2)
    for mode, p_value in (("triplet", "p_value"), ("siamese", "gain_over_two_p_value")):
        key = setting_key("input", mode, 0.2)
        baseline = cells[cells["setting"] == key].sort_values("seed")
        expected = stats.ttest_rel(treated["accuracy"].to_numpy(), baseline["accuracy"].to_numpy())
        assert row[p_value] == pytest.approx(expected.pvalue)
    assert row["gain_n"] == 5
    assert row["gain_low"] < row["gain_mean"] < row["gain_high"]
    assert row["gain_over_plain_mean"] == pytest.approx(0.02 + row["gain_mean"], abs=0.01)
    assert math.isnan(_row(settings_table(cells), "input", "siamese", 0.2)["gain_mean"])


def test_one_seed_leaves_blanks(tmp_path: Path) -> None:
    row = _row(_table(make_study(tmp_path, seeds=(0,))), "conv1")
    assert row["n"] == 1
    blank = ("accuracy_low", "accuracy_high", "gain_low", "p_value", "p_permutation", "p_holm")
    assert all(math.isnan(row[name]) for name in blank)
    assert not math.isnan(row["gain_mean"])


def test_holm_is_over_the_rows_that_are_kept(tmp_path: Path) -> None:
    cells = read_study(make_study(tmp_path)).cells
    key = setting_key("conv1", "siamese", 1.0)
    whole, alone = settings_table(cells), settings_table(cells, {key})
    assert len(alone) == 1
    assert alone["p_holm"].iloc[0] == alone["p_value"].iloc[0] == _row(whole, "conv1")["p_value"]
    assert _row(whole, "conv1")["p_holm"] > alone["p_holm"].iloc[0]


def columns(text: str, heading: str) -> list[str]:
    """Of the first table below a heading."""
    line = text.partition(f"{heading}\n\n")[2].partition("\n")[0]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_shifted_gains_are_corrected_over_their_table(tmp_path: Path) -> None:
    table = _table(make_study(tmp_path))
    known = table.dropna(subset=["shift_p_value"])
    assert len(known) == 3
    assert list(known["shift_p_holm"]) == holm(known["shift_p_value"])
    text = write_report(tmp_path).read_text()
    shown = ["layer", "mode", "α", "n", "mean of shifts, %", "gain, points [95 %]", "p (t)"]
    assert columns(text, "## Samples from outside") == [*shown, "p (Holm)"]
    below = text.partition("## Samples from outside")[2].partition("### Accuracy by family")[0]
    assert "over seeds alone, for this test set; p (Holm) is p (t) after Holm's" in below
    families = ["rotation", "shear", "zoom", "translation", "noise", "blur", "contrast", "fgsm"]
    assert columns(text, "### Accuracy by family") == ["layer", "mode", "α", *families]


def test_probabilities_have_a_table_of_their_own(tmp_path: Path) -> None:
    text = write_report(make_study(tmp_path, modes=("triplet",))).read_text()
    shown = ["layer", "mode", "α", "n", "accuracy, %", "gain, points [95 %]"]
    shown += ["p (t)", "p (flip)", "p (Holm)", "gain over plain"]
    assert columns(text, "## All settings") == shown
    heading = "## Probabilities and further comparisons"
    assert columns(text, heading) == [
        *("layer", "mode", "α", "gain over two images", "NLL", "ECE, %")
    ]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "cnn", "batch_norm": True, "channels": [32, 64, 128]}, ""),
        ({"name": "cnn", "batch_norm": False, "width": 8}, "model.batch_norm=false, model.width=8"),
        ({"name": "timm", "arch": "x", "arguments": {"depth": 2}}, "model.arguments.depth=2"),
    ],
)
def test_keys_of_a_network_that_are_no_defaults_are_named(
    tmp_path: Path, model: dict[str, Any], said: str
) -> None:
    make_study(tmp_path, seeds=(0, 1))
    for path in tmp_path.glob("cells/*/result.json"):
        result = json.loads(path.read_text())
        result["config"]["model"] = model
        path.write_text(json.dumps(result))
    expected = f"Network: cnn{f' ({said})' if said else ''}, 391,562 parameters, 40 epochs."
    assert expected in write_report(tmp_path).read_text()


def test_unpaired_seeds_are_left_out_and_named(tmp_path: Path) -> None:
    make_study(tmp_path, layers=("input", "conv1"), seeds=(0, 1, 2))
    write_cell(tmp_path, made_result("conv1", "siamese", 1.0, 9))
    row = _row(_table(tmp_path), "conv1")
    assert (row["n"], row["gain_n"], row["unpaired"]) == (4, 3, "9")
    assert (
        "left out of it: Digits cnn conv1 siamese α = 1: 9." in write_report(tmp_path).read_text()
    )


def test_settings_that_differ_elsewhere_are_never_pooled(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=(0, 1))
    make_study(tmp_path, seeds=(0, 1), lr=0.1, variant="11111111")
    table = _table(tmp_path)
    assert set(table["n"]) == {2}
    assert set(table["variant"]) == {"optimizer.lr=0.05", "optimizer.lr=0.1"}
    text = write_report(tmp_path).read_text()
    assert "differs in" in text
    assert "## Digits, cnn, optimizer.lr=0.1" in text
    assert (tmp_path / "report" / "2_digits_cnn_optimizer.lr_0.1_gain_heat_map.png").is_file()


def test_settings_that_nothing_tells_apart_show_their_key(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=(0,), layers=("none",))
    make_study(tmp_path, seeds=(0,), layers=("none",), variant="22222222")
    assert list(_table(tmp_path)["variant"]) == ["00000000", "22222222"]


def test_shift_means_are_over_the_shifts_that_all_cells_share(tmp_path: Path) -> None:
    make_study(tmp_path, layers=("input", "conv1"), seeds=(0, 1, 2))
    less = made_result("conv1", "siamese", 1.0, 3)
    less["shift"] = {"rotation_20": {"accuracy": 0.5}, "zoom_0.8": {"accuracy": 0.3}}
    write_cell(tmp_path, less)
    write_cell(tmp_path, made_result("input", "siamese", 1.0, 3, full=False))
    row = _row(_table(tmp_path), "conv1")
    assert (row["shifts"], row["shift_gain_n"], row["gain_n"]) == (2, 3, 4)


def test_layers_whose_order_no_result_records_stand_by_name() -> None:
    layers = ["classifier", "input+conv1", "layer10", "conv1", "conv1.conv", "none", "fc1"]
    layers += ["features.10", "layer2", "input", "pool1", "features.9", "conv2", "layer2.1"]
    assert sorted(layers, key=by_depth([()])) == [
        *("none", "input", "conv1.conv", "conv1", "pool1", "conv2", "features.9", "features.10"),
        *("layer2.1", "layer2", "layer10", "fc1", "classifier", "input+conv1"),
    ]


def test_the_claim_is_judged_at_the_first_layer_that_is_no_image_mixup() -> None:
    """Whether a layer is in disguise, or bypassed, is what its results record, not its name."""

    def first(*rows: tuple[str, str, str]) -> str | None:
        table = pd.DataFrame(rows, columns=["layer", "disguised", "bypassed"])
        return first_hidden_layer(table, ())

    assert first(("conv2", "", ""), ("conv1", "", ""), ("input", "", "")) == "conv1"
    disguised = [("conv1", "conv1", ""), ("layer2", "", ""), ("layer1", "", ""), ("none", "", "")]
    assert first(*disguised) == "layer1"
    assert first(("layer1.0.bn2", "", "layer1.0.bn2"), ("layer1", "", "")) == "layer1"
    assert first(("none", "", ""), ("input", "", ""), ("input+conv1", "", "")) is None


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    table = _table(tmp_path)
    assert table.empty
    assert list(table.columns) == list(TABLE)
    Console(file=sys.stderr).print(terminal_table(table))


# The files


def test_report_begins_with_verdict_command_and_commit(tmp_path: Path) -> None:
    make_study(tmp_path, epochs=4)
    command = "python -m hiddenmix.train -m layer=conv1,conv2,conv3 study=made repeats=5"
    record = {"command": command, "commit": "abc123", "dirty": True, "requested": [], "cells": []}
    (tmp_path / "study.json").write_text(json.dumps({"commands": [record]}))
    path = write_report(tmp_path, title="A *made* study | of <nothing>")
    assert path == tmp_path / "report" / "report.md"
    text = path.read_text()
    lines = text.splitlines()
    assert lines[0] == "# A \\*made\\* study \\| of &lt;nothing>"
    assert re.match(r"\*\*(Supported|Contradicted|Undecided)\*\* \(", lines[2])
    place = lines.index("Reproduce it at commit `abc123` with uncommitted changes:")
    assert place < lines.index("## The questions")
    assert lines[place + 3] == command
    judged = json.loads((tmp_path / "report/verdict.json").read_text())["judged_at"]
    found, _ = commit()
    assert judged == {"version": VERSION, "commit": found, "changed": changed_code()}
    assert f"The words of the verdicts are by the rules of {VERSION}" in text
    assert found is None or f" at commit `{found[:7]}`" in text
    assert "cpu, threads: 2, torch 2.11.0, Python 3.11.2 (25)" in text
    assert "1,437 training and 360 test images" in text
    assert "incomplete" not in text
    for link in re.findall(r"\]\((.+?)\)", text):
        assert (path.parent / link).is_file()
    names = {file.name for file in path.parent.iterdir()}
    assert {"accuracy_by_layer.png", "gain_heat_map.svg"} <= names
    assert not [name for name in names if name.startswith(".")]  # no temporary file is left


def test_summary_csv(tmp_path: Path) -> None:
    make_study(tmp_path)
    study = read_study(tmp_path)
    path = write_summary(study, find(study))
    assert path == tmp_path / "summary.csv"
    assert path.read_text().startswith(DOCUMENTED + ",")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 5
    assert 0 < float(rows[2]["accuracy_mean"]) < 1
    more = {"gain_over_plain_mean", "p_permutation", "p_holm", "nll_mean", "ece_mean"}
    more |= {"shift_accuracy_mean", "seconds_mean", "rotation_20_accuracy_mean"}
    assert more | {"fgsm_8_accuracy_mean"} <= rows[0].keys()


def test_an_unfinished_study_says_what_is_missing(tmp_path: Path) -> None:
    make_study(tmp_path, seeds=(0, 1))
    asked = [cell_id("conv1", "siamese", 1.0, seed) for seed in (0, 1, 2)]
    record = {"commands": [{"command": "x", "cells": [*asked, "never-begun"]}]}
    (tmp_path / "study.json").write_text(json.dumps(record))
    (tmp_path / "cells" / "begun").mkdir()
    failed = tmp_path / "cells" / "failed"
    failed.mkdir()
    failure = {"status": "failed", "error": "FloatingPointError", "message": "loss\nis | nan"}
    (failed / "failure.json").write_text(json.dumps(failure | {"epoch": 7}))
    text = write_report(tmp_path).read_text()
    assert "**This study is incomplete** (cells: 3 missing, 1 failed;" in text
    for cell in (asked[2], "never-begun", "begun"):
        assert f"- `{cell}`" in text
    assert f"- `{asked[0]}`" not in text
    assert "- `failed`: FloatingPointError in epoch 7: loss is \\| nan" in text


def test_a_result_outweighs_an_older_failure(tmp_path: Path) -> None:
    folder = write_cell(tmp_path, made_result("none", None, None, 0))
    (folder / "failure.json").write_text("{}")
    study = read_study(tmp_path)
    assert (len(study.cells), study.failures) == (1, [])


BAD_RESULTS: dict[str, tuple[str | bytes, str]] = {
    "half-written": ('{"format": 2, "status": "do', "half-written or no JSON"),
    "empty": ("", "result.json is empty"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
    "a-list": ("[]", "no JSON object"),
    "deep": ("[" * 100_000, "half-written or no JSON"),
    "no-format": ('{"status": "done"}', "has format null; this version reads 2"),
    "newer": ('{"format": 3, "status": "done"}', "has format 3; this version reads 2"),
    "true-format": ('{"format": true}', "has format true"),
    "running": ('{"format": 2, "status": "running"}', "has status running, not done"),
    "lacks": ('{"format": 2, "status": "done", "cell": "lacks"}', "lacks setting"),
    "copied": ('{"format": 2, "status": "done", "cell": "other"}', "belongs to the cell other"),
}


@pytest.mark.parametrize("name", BAD_RESULTS)
def test_an_unusable_result_is_named_and_left_out(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, reason = BAD_RESULTS[name]
    make_study(tmp_path, layers=("none",), seeds=(0,))
    folder = tmp_path / "cells" / name
    folder.mkdir()
    (folder / "result.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    study = read_study(tmp_path)
    assert (len(study.cells), study.missing) == (1, [name])
    [problem] = study.problems
    assert problem.startswith(f"{name}: left out, ")
    assert reason in problem
    assert main([str(tmp_path)]) == 0
    assert f"warning: {problem}\n" in capsys.readouterr().err
    assert f"- {name}: left out" in (tmp_path / "report" / "report.md").read_text()


BAD_VALUES: dict[str, tuple[str, Any]] = {
    "nan": ("test.accuracy", math.nan),
    "infinite": ("test.nll", math.inf),
    "above-one": ("test.accuracy", 98.2),
    "text": ("test.ece", "0.1"),
    "null": ("train.seconds", None),
    "huge": ("train.loss", 10**400),
    "negative": ("train.seconds", -1),
    "truth": ("test.accuracy", True),
    "seed": ("seed", 1.5),
    "epochs": ("epochs", 2**70),
    "layer": ("layer", ["input", "conv1"]),
    "alpha": ("alpha", -1),
    "test": ("test", 3),
    "title": ("title", 3),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_wrong_value_is_named_and_its_cell_left_out(tmp_path: Path, name: str) -> None:
    key, value = BAD_VALUES[name]
    result = made_result("conv1", "siamese", 1.0, 0)
    node = result
    *parents, last = key.split(".")
    for part in parents:
        node = node[part]
    node[last] = value
    write_cell(tmp_path, result)
    study = read_study(tmp_path)
    assert study.cells.empty
    assert key in study.problems[0]
    assert len(study.problems[0]) < 300


@pytest.mark.parametrize(
    "change",
    [
        {"shift": {"rotation_20": {"accuracy": math.nan}, "zoom_0.8": {"accuracy": 0.5}}},
        {"shift": [1, 2]},
        {"adversarial": {"fgsm_1": "0.5"}},
        {"calibration": {"confidence": [0.1], "accuracy": [0.1, 0.2], "count": [1]}},
        {"calibration": "no"},
    ],
)
def test_a_wrong_extra_leaves_the_rest_of_the_cell(tmp_path: Path, change: dict[str, Any]) -> None:
    write_cell(tmp_path, made_result("conv1", "siamese", 1.0, 0) | change)
    study = read_study(tmp_path)
    assert len(study.cells) == 1
    assert any("left out" in problem for problem in study.problems)
    assert write_report(tmp_path).is_file()


@pytest.mark.parametrize("kind", ["shift", "adversarial", "outside"])
def test_conditions_that_are_no_object_are_named_once(tmp_path: Path, kind: str) -> None:
    result = made_result("conv1", "siamese", 1.0, 0)
    write_cell(tmp_path, result | {kind: [1, 2]})
    assert read_study(tmp_path).problems == [
        f"{result['cell']}: {kind} is no JSON object and was left out"
    ]


def test_wrong_kinds_of_files(tmp_path: Path) -> None:
    make_study(tmp_path, layers=("none",), seeds=(0,))
    cells = tmp_path / "cells"
    for name in ("folder", "loop", "dangling", "pipe"):
        (cells / name).mkdir()
    (cells / "folder" / "result.json").mkdir()
    (cells / "loop" / "result.json").symlink_to("result.json")
    (cells / "dangling" / "result.json").symlink_to("nowhere.json")
    os.mkfifo(cells / "pipe" / "result.json")
    (cells / "stray.txt").write_text("no cell")
    (cells / "circle").symlink_to("circle")
    study = read_study(tmp_path)
    assert len(study.cells) == 1
    named = [problem.split(":")[0] for problem in study.problems]
    assert named == ["dangling", "folder", "loop", "pipe"]


def test_a_copied_result_is_not_counted_twice(tmp_path: Path) -> None:
    result = made_result("none", None, None, 0)
    write_cell(tmp_path, result)
    write_cell(tmp_path, result | {"cell": "zz-copy"})
    study = read_study(tmp_path)
    assert len(study.cells) == 1
    assert study.problems == [f"zz-copy: left out, the same setting and seed as {result['cell']}"]


@pytest.mark.parametrize("record", ["{", '{"commands": 3}', "[]"])
def test_a_damaged_record_of_commands_is_named(tmp_path: Path, record: str) -> None:
    make_study(tmp_path, layers=("none",), seeds=(0,))
    (tmp_path / "study.json").write_text(record)
    study = read_study(tmp_path)
    assert len(study.problems) == 1
    assert [command.commit for command in study.commands] == ["0123456789abcdef"]


def test_damaged_curves_do_not_matter(tmp_path: Path) -> None:
    folder = write_cell(tmp_path, made_result("conv1", "siamese", 1.0, 0))
    lines = ['{"epoch": 1, "loss": 2.0}', '{"epoch": 2, "loss"', "7", '{"epoch": 2, "loss": NaN}']
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    assert "learning_curves" in write_report(tmp_path).read_text()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = "a|b\n# no heading [bold red] <script> [x](y) \ud800 \x1b[31m $\\frac{ ```"
    result = made_result("conv1", "siamese", 1.0, 0) | {"title": evil, "command": evil}
    result["environment"]["device"] = evil
    write_cell(tmp_path, result)
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    before, command, after = text.split("```\n")
    assert command.count("\n") == 1
    for part in (before, after):
        assert not re.search(r"<script>|\]\(y|\n# no|(?<!\\)```", part)
    assert "\x1b" not in text


# The command line


def _says(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert 1 <= len(output.err.splitlines()) <= 2
    assert "Traceback" not in output.err
    return output.err


def test_bad_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is not a folder" in _says([str(tmp_path / "nowhere")], capsys)
    assert "is not a folder" in _says([str(file)], capsys)
    assert "is not a folder" in _says(["a\0b"], capsys)
    assert "cannot be read" in _says([str(tmp_path / ("x" * 300))], capsys)
    assert "is no study: it holds no folder cells/" in _says([str(tmp_path)], capsys)


def test_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cells" / "begun").mkdir(parents=True)
    said = _says([str(tmp_path)], capsys)
    assert "holds no results to report" in said
    assert "0 failed, 1 unfinished" in said
    assert not (tmp_path / "report").exists()
    study = read_study(tmp_path)
    for write_files in (write, write_summary):
        with pytest.raises(UserError, match="holds no results"):
            write_files(study, find(study))


def test_a_report_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(tmp_path, layers=("none",), seeds=(0,))
    (tmp_path / "report").write_text("a file")
    assert "cannot be written" in _says([str(tmp_path)], capsys)


def test_nothing_is_written_outside_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_study(tmp_path / "study", layers=("none",), seeds=(0,))
    outside = tmp_path / "outside"
    outside.mkdir()
    (made / "report").symlink_to(outside)
    assert "leads out of the study" in _says([str(made)], capsys)
    assert list(outside.iterdir()) == []


def test_the_command_prints_table_verdict_and_path(tmp_path: Path) -> None:
    """As a user runs it, without torch and without a warning."""
    make_study(tmp_path / "made", seeds=(0, 1, 2), epochs=3)
    program = (
        "import sys; from hiddenmix.report.__main__ import main; code = main(['made', '--title', 'T']);"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment["MPLBACKEND"] = "module://of_the_notebook.it_was_started_in"
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "report: made/report/report.md"
    assert "gain, points [95 %]" in done.stdout
    assert re.search(r"^ conv1 .* 3 .* ± ", done.stdout, re.MULTILINE)
    assert (tmp_path / "made" / "report" / "report.md").read_text().startswith("# T\n")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "outputs/default" in capsys.readouterr().out


def test_a_gain_that_is_the_same_at_every_seed_shows_no_interval_of_no_width() -> None:
    row = pd.Series(
        {"n": 2, "p_value": 0.5, "p_permutation": 0.5, "p_holm": 1.0}
        | dict.fromkeys(("gain_mean", "gain_low", "gain_high"), 0.0028)
        | {"accuracy_mean": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0}
    )
    assert outcome(row)["gain, points [95 %]"] == "+0.28 [no spread]"
    assert (
        outcome(pd.Series({**row, "gain_low": 0.001}))["gain, points [95 %]"]
        == "+0.28 [+0.10, +0.28]"
    )
