"""The one place for timings: the trainer beside the bare step of its network and beside its peers.

python scripts/benchmark speed --json benchmark.json          # 5 minutes on 2 quiet CPU cores
python scripts/benchmark speed --sweep --decode 60000 --json all.json    # with the slow parts
python scripts/benchmark speed --markdown benchmark.json      # the tables of docs/measurements.md

All contestants train the same network on the same images. They take turns, `--rounds` times, so that
whatever else the machine does meets them alike; a ratio is the median of the rounds' own ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from hiddenmix.terminal import prepare

prepare()  # the commands' own settings of OpenMP and malloc, which come before torch

import torch
from contestants import Bench, Steps, contestants, make_bench
from counting import operations_and_bytes
from rich.console import Console
from tables import markdown, tables

from hiddenmix import evaluation
from hiddenmix.config import Config, SgdConfig
from hiddenmix.study import checkpoints
from hiddenmix.training import Training, choose_form

PROCESSES = Path(__file__).with_name("processes.py")
SWEEP = ["layer=input,conv1,pool1,conv2,conv3", "mode=siamese,triplet", "alpha=0.2,1.0"]
"""20 settings of the default data set, digits."""


def race(steps: dict[str, Steps], rounds: int, count: int) -> dict[str, list[float]]:
    """Seconds a step of each contestant in each round; they take turns, the first one goes round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for name in names:
        steps[name](2)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            steps[name](1)  # what the one before left in the caches is its own
            started = time.perf_counter()
            steps[name](count)
            seconds[name].append((time.perf_counter() - started) / count)
    return seconds


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median and range over the rounds of above / below."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def goals(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """The ratios of docs/performance.md, each with its goal."""
    plain, peer = seconds["trainer, plain"], seconds["DataLoader loop"]
    captured = seconds.get("bare step, captured graph")
    same = captured or seconds["bare step, eager channels_last"]
    pairs = {
        "bare step of the same form / trainer": (same, plain, ">= 0.97"),
        "DataLoader loop / trainer": (peer, plain, ">= 1.2"),
        "siamese / plain": (seconds["trainer, siamese"], plain, "<= 1.03"),
        "siamese, lam=sample / plain": (seconds["trainer, siamese, lam=sample"], plain, "<= 1.03"),
        "triplet / plain": (seconds["trainer, triplet"], plain, "<= 1.05"),
        "triplet, lam=sample / plain": (seconds["trainer, triplet, lam=sample"], plain, "<= 1.05"),
        "a copy of the map / plain": (seconds["trainer, a copy of the map"], plain, ""),
        "two literal branches / plain": (
            seconds["trainer, siamese, partners=independent"],
            plain,
            "",
        ),
        "three literal branches / plain": (
            seconds["trainer, triplet, partners=independent"],
            plain,
            "",
        ),
    }
    return {name: {**ratio(a, b), "goal": goal} for name, (a, b, goal) in pairs.items()}


def on_paper(bench: Bench) -> dict[str, float]:
    """Operations and bytes of a step, this device's measured rates, and the time that they imply."""
    found = operations_and_bytes(bench) | _rates(bench)
    found["compute_seconds"] = found["operations"] / found["operations_per_second"]
    found["memory_seconds"] = found["bytes"] / found["bytes_per_second"]
    found["floor_seconds"] = max(found["compute_seconds"], found["memory_seconds"])
    return found


def _rates(bench: Bench) -> dict[str, float]:
    """Operations/s of a float32 matrix product and bytes/s of an addition, the best of several."""
    side = 4096 if bench.device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=bench.device)
    x, y = torch.randn(2, 2**26, device=bench.device)

    def best(function: Callable[[], object]) -> float:
        times = []
        for _ in range(6):
            bench.wait()
            started = time.perf_counter()
            function()
            bench.wait()
            times.append(time.perf_counter() - started)
        return min(times)

    product, addition = best(lambda: torch.mm(a, b)), best(lambda: torch.add(x, 1, out=y))
    return {
        "operations_per_second": 2 * side**3 / product,
        "bytes_per_second": 2 * x.nbytes / addition,
    }


def one_offs(bench: Bench) -> dict[str, float]:
    """Seconds of a pass over the test images, of the full evaluation, and of a checkpoint."""
    config = Config(
        model=bench.model, optimizer=SgdConfig(), batch_size=bench.batch, layer="none", epochs=1
    )
    tests = min(2000, len(bench.images))
    images, labels = bench.images[:tests], bench.labels[:tests]
    training = Training(
        bench.network(), bench.images, bench.labels, bench.mean, bench.std, config, bench.device
    )
    next(training.run())
    network, mean, std = training.network, bench.mean, bench.std

    def seconds(function: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    with tempfile.TemporaryDirectory() as folder:
        saving = seconds(lambda: checkpoints.save(Path(folder), "cell", training.state()))
    return {
        "test_images": tests,
        "accuracy_seconds": seconds(
            lambda: evaluation.accuracy(network, images, labels, mean, std)
        ),
        "full_evaluation_seconds": seconds(
            lambda: [
                list(evaluator(network, images, labels, mean, std))
                for evaluator in evaluation.EVALUATORS.values()
            ]
        ),
        "checkpoint_seconds": saving,
        # At most one save in so many seconds of training (configuration key checkpoint_seconds).
        "checkpointing_on_over_off": 1 + saving / config.checkpoint_seconds,
    }


def apart(*arguments: str) -> dict[str, Any]:
    """What `processes.py` measures in a process of its own."""
    command = [sys.executable, str(PROCESSES), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def environment(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Hardware, versions and settings."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    return {
        "device": processor,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "timm")},
        },
        "settings": {
            key: value for key, value in vars(arguments).items() if key not in ("json", "markdown")
        },
        "command": "python scripts/benchmark speed " + " ".join(sys.argv[1:]),
        "form": choose_form(Config(batch_size=arguments.batch_size), device).text,
    }


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Everything that the arguments ask for."""
    name = arguments.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    bench = make_bench(arguments.model, arguments.batch_size, device, arguments.images)
    found: dict[str, Any] = {"environment": environment(arguments, device)}
    found["paper"] = on_paper(bench)
    makers = contestants(bench, compiled=arguments.compile, workers=arguments.workers)
    # A compiler's cache on the disk would hide what compiling costs.
    cache = tempfile.TemporaryDirectory()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    with cache, console.status("compiling and warming up"):
        steps = {}
        for contestant, make in makers.items():
            steps[contestant] = make()
            started = time.perf_counter()
            steps[contestant](1)
            if "compiled" in contestant:
                found.setdefault("compile_seconds", {})[contestant] = time.perf_counter() - started
    with console.status("racing"):
        seconds = race(steps, arguments.rounds, arguments.steps)
    steps.clear()
    found["seconds"], found["ratios"] = seconds, goals(seconds)
    with console.status("evaluation and checkpoints"):
        found["one_offs"] = one_offs(bench)
    if arguments.memory:
        with console.status("memory"):
            found["memory"] = {
                f"{kind} {count}": apart("memory", str(count), kind)
                for kind in ("keep", "plain")
                for count in arguments.memory
            }
    if arguments.sweep is not None:
        with console.status("a sweep"), tempfile.TemporaryDirectory() as folder:
            found["sweep"] = apart("sweep", folder, *(arguments.sweep or SWEEP))
    if arguments.decode:
        with console.status("decoding"):
            found["decode"] = apart("decode", str(arguments.decode))
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flag = argparse.BooleanOptionalAction
    made.add_argument("--device", default="auto", help="auto, cpu or cuda")
    made.add_argument("--model", default="cnn", choices=("cnn", "preact_resnet18"))
    made.add_argument("--batch-size", type=int, default=128)
    made.add_argument("--rounds", type=int, default=7, help="turns of every contestant")
    made.add_argument("--steps", type=int, default=20, help="steps of a turn")
    made.add_argument("--images", type=int, default=4096, help="training images")
    made.add_argument("--workers", type=int, default=os.cpu_count(), help="of the DataLoader loops")
    made.add_argument("--compile", action=flag, default=True, help="compiled bare steps too")
    made.add_argument(
        "--memory",
        type=int,
        nargs="*",
        default=[10_000, 50_000],
        metavar="IMAGES",
        help="peak memory at so many training images, two processes each; nothing after it: none",
    )
    made.add_argument(
        "--sweep",
        nargs="*",
        metavar="OVERRIDE",
        help="the time of a sweep by part; nothing after it: 20 settings on digits",
    )
    made.add_argument("--decode", type=int, default=0, metavar="N", help="decode N JPEG files")
    made.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    made.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print FILE's numbers as tables"
    )
    return made


def main() -> None:
    arguments = parser().parse_args()
    if arguments.markdown:
        print(markdown(json.loads(arguments.markdown.read_text())))
        return
    console = Console()
    found = measure(arguments, console)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    for table in tables(found):
        console.print(table)


if __name__ == "__main__":
    main()
