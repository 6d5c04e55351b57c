"""The benchmark runs, and its numbers can be read; how fast anything is, no test says."""

import dataclasses
import importlib
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hiddenmix.config.schema import SgdConfig
from hiddenmix.study import attempting
from tests.support.commands import ALONE, unrendered
from tests.support.small_training import epochs, images_and_labels, small, training

BENCHMARK = Path(__file__).parents[2] / "scripts" / "benchmark"
TINY = [
    *("--rounds=2", "--steps=1", "--images=40", "--batch-size=16", "--workers=1"),
    *("--no-compile", "--device=cpu"),
]


Benchmark = Callable[..., str]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Benchmark:
    """What the script prints; run in this process, which has torchvision and timm already."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # which a benchmark sets for its process

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        capsys.readouterr()
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run


def test_a_benchmark_is_called_by_name() -> None:
    done = subprocess.run([sys.executable, str(BENCHMARK)], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"scripts/benchmark speed " in done.stderr
    program = runpy.run_path(str(BENCHMARK / "__main__.py"))
    assert all((BENCHMARK / f"{name}.py").is_file() for name in program["NAMES"])


@pytest.mark.slow
def test_the_benchmark_measures_every_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark
) -> None:
    speed, processes, tables = map(importlib.import_module, ("speed", "processes", "tables"))
    rates = {"operations_per_second": 1e11, "bytes_per_second": 1e10}
    monkeypatch.setattr(speed, "_rates", lambda _: rates)  # gigabytes and seconds
    unrendered(monkeypatch)
    monkeypatch.setattr(processes, "setattr", monkeypatch.setattr, raising=False)  # undone

    def apart(*arguments: str) -> Any:
        """As `speed.apart`, in this process."""
        monkeypatch.setattr(sys, "argv", ["processes.py", *arguments])
        with redirect_stdout(StringIO()) as said, chdir(tmp_path):
            processes.main()
        return json.loads(said.getvalue().splitlines()[-1])

    monkeypatch.setattr(speed, "apart", apart)
    file = tmp_path / "numbers.json"
    sweep = ["--sweep", "layer=input,conv1", "epochs=1", "repeats=1", "baseline=false"]
    sweep += ["dataset.train_size=100", "batch_size=50", "model.channels=[2,2,2]"]
    shown = benchmark(
        "speed", *TINY, "--decode=120", "--memory", "1200", "--json", str(file), *sweep
    )
    assert "trainer, plain" in shown
    found = json.loads(file.read_text())
    assert found.keys() >= {"environment", "paper", "seconds", "ratios", "one_offs", "memory"}
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in found["seconds"].values())
    assert sum("trainer" in name for name in found["seconds"]) == 8
    assert sum("DataLoader" in name for name in found["seconds"]) == 2
    assert all(one["low"] <= one["median"] <= one["high"] for one in found["ratios"].values())
    assert found["sweep"]["code"] == 0
    assert found["sweep"]["networks"] == 2
    assert found["sweep"]["parts"].keys() == {
        *("start-up", "configuration", "data", "building networks", "building optimizers"),
        *("training steps", "evaluation per epoch", "evaluation at the end", "trackers"),
        *("checkpoints", "files", "report", "other"),
    }
    assert min(found["sweep"]["parts"].values()) > 0
    assert found["decode"]["files"] == 120
    assert all(one["peak"] >= one["before"] > one["data"] for one in found["memory"].values())
    text = tables.markdown(found)
    assert "| trainer, triplet, lam=sample |" in text
    assert "**Memory**" in text


def test_a_process_apart_answers_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark
) -> None:
    speed = importlib.import_module("speed")
    monkeypatch.setattr(speed, "PROCESSES", tmp_path / "asked.py")
    speed.PROCESSES.write_text("import sys\nprint('said first')\nprint(len(sys.argv[1:]))\n")
    assert speed.apart("decode", "7") == 2


def test_of_time_within_time_the_inner_part_is_charged(
    monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark
) -> None:
    processes = importlib.import_module("processes")
    now = 100.0
    monkeypatch.setattr(processes, "BORN", now)
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: now))

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    def steps() -> Iterator[float]:
        spend(8)
        yield 1.0
        spend(16)

    owner = SimpleNamespace(write=spend, run=steps)
    watch = processes.Stopwatch()
    watch.watch(owner, "write", "files")
    watch.watch_generator(owner, "run", "training")
    now += 1
    with watch.part("other"):
        now += 2
        owner.write(4)
        for seconds in owner.run():
            owner.write(seconds)
            now += 32
    assert watch.seconds == {"start-up": 1, "other": 34, "files": 5, "training": 24}


def test_the_operations_on_paper_are_those_of_a_hand_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    counting, contestants = map(importlib.import_module, ("counting", "contestants"))
    bench = contestants.make_bench("cnn", 2, torch.device("cpu"), 2)
    first = 32 * 32 * 32 * 27 * 4
    others = 6 * (64 * 16 * 16 * 288 + 128 * 8 * 8 * 576 + 2048 * 256 + 256 * 10)
    assert counting.operations_and_bytes(bench)["operations"] == 2 * (first + others)


@pytest.mark.parametrize("mode", ["siamese", "triplet"])
def test_stacked_networks_are_the_networks_alone(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same draws for each network; grouped convolutions round differently."""
    monkeypatch.syspath_prepend(str(BENCHMARK))
    stacked = importlib.import_module("stacked")
    one = small(mode=mode, lam="batch", optimizer=SgdConfig(lr=0.1, schedule="constant"))
    configs = [dataclasses.replace(one, seed=seed) for seed in range(3)]
    images, labels = images_and_labels(48)
    mean, std = torch.tensor([0.5]), torch.tensor([0.3])
    alone = [training(config, 48) for config in configs]
    networks = [training(config, 48).network for config in configs]
    together = stacked.Stacked(networks, images, labels, mean, std, configs)
    losses = torch.stack([loss for epoch in range(2) for loss in together.epoch(epoch)], dim=1)
    for number, trained in enumerate(alone):
        expected = [each.loss for each in epochs(trained.run())]
        assert losses[number].reshape(2, 3).mean(1).tolist() == pytest.approx(expected, rel=1e-3)
        for name, value in trained.network.state_dict().items():
            ours = (together.parameters | together.buffers)[name][number]
            torch.testing.assert_close(ours, value, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_many_networks_are_measured_in_every_way(tmp_path: Path, benchmark: Benchmark) -> None:
    file = tmp_path / "many.json"
    tiny = ["--networks", "2", "--side=8", "--batch-size=8", "--rounds=1", "--steps=1"]
    benchmark("many", *tiny, "--processes=1", "--device=cpu", f"--json={file}")
    found = json.loads(file.read_text())["seconds"]
    assert found.keys() == {"2"}
    for ways in found.values():
        assert ways.keys() == {"alone", "stacked", "processes"}
        assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in ways.values())


@pytest.mark.slow
def test_commands_are_compared_whole(tmp_path: Path, benchmark: Benchmark) -> None:
    file = tmp_path / "commands.json"
    brief = ["epochs=1", "repeats=1", "baseline=false"]
    brief += ["dataset.train_size=50", "model.channels=[2,2,2]"]
    ways = ["--rounds=1", "--ways", "workers=1", f"--json={file}"]
    shown = benchmark("commands", *ways, "--", "batch_size=25", *brief)
    assert shown.startswith("workers=1: ")
    [[[seconds, memory]]] = json.loads(file.read_text()).values()
    assert seconds > 0
    assert memory > 50e6


def test_more_cores_bring_what_a_queue_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    scaling = importlib.import_module("scaling")
    found = {"start": 3.0, "networks": [2.5, 2.0, 2.0], "end": 1.0}
    # A worker's first network takes half a second longer; the other workers begin after that.
    assert scaling.simulate(found, 1, 3) == pytest.approx(3 + 0.5 + 6 + 1)
    fork, report = scaling.FORK, scaling.REPORT
    three = scaling.simulate(found, 3, 3)
    assert three == pytest.approx(3.5 + 2 * fork + 0.5 + 2 + 1)
    assert scaling.simulate(found, 64, 3) == three
    # The last of four networks waits for the worker that began first.
    assert scaling.simulate(found, 3, 4) == pytest.approx(3.5 + 4 + 1 + report)
    assert scaling.simulate(found, 1, 3, slower=2.0) == pytest.approx(3 + 0.5 + 12 + 1)


def test_a_study_is_simulated_from_its_cpu_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARK))
    processes, scaling = map(importlib.import_module, ("processes", "scaling"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr("hiddenmix.study.workers.attempt", attempting.attempt)
    found = processes.cells(str(tmp_path), [*ALONE, "repeats=2", "epochs=1"])
    assert len(found["networks"]) == 2
    assert min(found["start"], *found["networks"], found["end"]) > 0
    file = tmp_path / "found.json"
    file.write_text(json.dumps(found))
    monkeypatch.setattr(sys, "argv", [*("", "--json", str(file), "--networks=5", "--cores=2")])
    capsys.readouterr()
    scaling.main()
    assert "5 networks, 2 cores: " in capsys.readouterr().out
