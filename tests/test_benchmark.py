"""The benchmark runs, and its numbers can be read; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hiddenmix import allocation
from hiddenmix.config import Config
from hiddenmix.training import choose_form

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark.py"
TINY = ["--rounds=2", "--steps=1", "--images=40", "--batch-size=16", "--workers=1"]


def benchmark(*arguments: str) -> str:
    """The standard output of the script, which has to succeed."""
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_benchmark_measures_every_contestant(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    sweep = ["--sweep", "--overrides", "epochs=1", "repeats=1", "baseline=false"]
    shown = benchmark(
        *TINY, "--no-compile", "--device=cpu", "--decode=120", "--json", str(file), *sweep
    )
    assert "trainer, plain" in shown
    found = json.loads(file.read_text())
    assert found.keys() >= {"environment", "paper", "seconds", "ratios", "one_offs", "memory"}
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in found["seconds"].values())
    assert sum("trainer" in name for name in found["seconds"]) == 7
    assert sum("DataLoader" in name for name in found["seconds"]) == 2
    assert all(one["low"] <= one["median"] <= one["high"] for one in found["ratios"].values())
    assert found["sweep"]["code"] == 0
    assert found["sweep"]["networks"] == 20
    assert sum(found["sweep"]["parts"].values()) == pytest.approx(found["sweep"]["seconds"])
    assert 0 < found["sweep"]["parts"]["training steps"] < found["sweep"]["seconds"]
    assert found["decode"]["files"] == 120
    assert all(one["peak"] >= one["before"] > one["data"] for one in found["memory"].values())
    text = benchmark("--markdown", str(file))
    assert "| trainer, triplet, lam=sample |" in text
    assert "**Memory**" in text


def test_the_operations_on_paper_are_those_of_a_hand_count() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import benchmark, torch\n"
        "bench = benchmark.make_bench('cnn', 2, torch.device('cpu'), 2)\n"
        "print(benchmark.on_paper(bench)['operations'])"
    )
    command = [sys.executable, "-c", code, str(SCRIPT.parent)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    first = 32 * 32 * 32 * 27 * 4
    others = 6 * (64 * 16 * 16 * 288 + 128 * 8 * 8 * 576 + 2048 * 256 + 256 * 10)
    assert float(done.stdout) == 2 * (first + others)


def test_memory_is_kept_unless_the_user_chose_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert allocation.keep_freed_memory() is False
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocation.keep_freed_memory() is False


@pytest.mark.parametrize(
    ("asked", "device", "compiled"),
    [("auto", "cpu", False), (True, "cpu", True), (False, "cpu", False), ("auto", "cuda", False)],
)
def test_the_form_is_chosen_and_explained_in_a_line(
    asked: object, device: str, compiled: bool
) -> None:
    form = choose_form(Config(compile=asked, precision="bf16"), torch.device(device))
    assert form.compiled is compiled
    assert form.text.startswith("form: compiled" if compiled else "form: eager")
    assert "channels_last, bf16: " in form.text
    assert "\n" not in form.text
