"""Whole commands with several workers against one process: seconds and memory, start and end included.

python scripts/benchmark commands -- -m experiment=paper_small repeats=1 baseline=false
python scripts/benchmark commands --rounds 1 --ways workers=1 workers=2 workers=4 -- layer=conv1 ...

Behind `--` stand arguments of `python -m hiddenmix.train`, for each of the `--ways`, which take turns in
fresh folders. The first way is what the others are compared with, within a round. Memory is the highest
sum over the command's processes, where what they share counts once (proportional set size), looked at
once a second.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds and bytes at most of one command, which has to succeed."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        command = [sys.executable, "-m", "hiddenmix.train", *arguments]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        most = 0.0
        while process.poll() is None:
            most = max(most, held(process.pid))
            with suppress(subprocess.TimeoutExpired):  # a look takes time from those it looks at
                process.wait(1)
        seconds = time.monotonic() - began
        if process.returncode:
            raise SystemExit((process.communicate()[1] or b"").decode())
        if process.stderr is not None:
            process.stderr.close()
        return seconds, most


def held(pid: int) -> float:
    """Bytes of a process and of those below it; a page that several map counts once."""
    total = 0.0
    try:
        top = psutil.Process(pid)
        for each in [top, *top.children(recursive=True)]:
            total += each.memory_full_info().pss
    except psutil.Error:  # one has ended meanwhile
        pass
    return total


def main() -> None:
    """Print a line a way, and write all numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--ways", nargs="+", default=["workers=1 threads=2", "workers=auto"], help="overrides each"
    )
    parser.add_argument("--json", help="write the numbers to this file")
    parser.add_argument("command", nargs="+", help="arguments of hiddenmix.train, behind --")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in options.ways}
    for _ in range(options.rounds):
        for way in options.ways:
            found[way].append(run([*options.command, *way.split()]))
    base = found[options.ways[0]]
    for way, rounds in found.items():
        ratios = [one[0] / other[0] for one, other in zip(base, rounds, strict=True)]
        print(
            f"{way}: {statistics.median(each[0] for each in rounds):.1f} s, "
            f"{statistics.median(ratios):.2f} x as fast ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"{max(each[1] for each in rounds) / 1e9:.2f} GB; n = {len(rounds)}"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(found, file)
