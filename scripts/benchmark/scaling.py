"""How long a study would take with `workers=auto` on more cores than there are here: a simulation.

python scripts/benchmark scaling -- -m experiment=paper_small repeats=1
python scripts/benchmark scaling --networks 1000 --demand 6.4 --bandwidth 204 -- layer=conv1 dataset=...

Behind `--` stand arguments of `python -m hiddenmix.train`. That command is run once, on one thread; the
CPU seconds of its start, of each network and of its end are measured, which other programs on the
machine change less than seconds on the clock. Then a queue of networks that took as long as these, over
and over, is handed to any number of workers, as the command does it.

Not in it: waiting for disks; clocks that fall when all cores work; the parts of a cache that cores share.
"""

import argparse
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

FORK = 0.01
"""Seconds that the server needs for one more worker, which it makes one after another."""

REPORT = 0.006
"""Seconds that the report takes longer for a network more."""


def measure(command: list[str]) -> dict[str, Any]:
    """What `processes.py` finds of one command, in CPU seconds."""
    script = Path(__file__).with_name("processes.py")
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, str(script), "cells", folder, *command]
        ended = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def simulate(found: dict[str, Any], cores: int, networks: int, slower: float = 1.0) -> float:
    """Seconds of a study of so many `networks`, each `slower` than it was alone."""
    first, *others = found["networks"]
    usual = statistics.median(others or [first])
    warm = max(
        0.0, first - usual
    )  # the first steps of a process, which is how long one trains alone
    begin = found["start"] + warm
    free = [begin + FORK * number + warm * (number > 0) for number in range(min(cores, networks))]
    for seconds in islice(cycle([usual, *others]), networks):
        heapq.heappush(free, heapq.heappop(free) + seconds * slower)
    return float(max(free) + found["end"]) + REPORT * (networks - len(found["networks"]))


def main() -> None:
    """Print a line for each number of networks and cores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2, 4, 16, 64])
    parser.add_argument("--networks", nargs="+", type=int, default=[125, 1000])
    parser.add_argument(
        "--demand", type=float, default=0, help="GB/s that a worker moves to and from memory"
    )
    parser.add_argument("--bandwidth", type=float, default=200, help="GB/s of the whole machine")
    parser.add_argument("--json", help="read the measured numbers from this file, or write them")
    parser.add_argument("command", nargs="*", help="arguments of hiddenmix.train, behind --")
    options = parser.parse_args()
    file = Path(options.json) if options.json else None
    if file and file.exists():
        found = json.loads(file.read_text())
    else:
        found = measure(options.command)
        if file:
            file.write_text(json.dumps(found))
    each = found["networks"]
    print(
        f"CPU seconds: start {found['start']:.1f}, a network {statistics.median(each):.2f} "
        f"({min(each):.2f} to {max(each):.2f}, n = {len(each)}), end {found['end']:.1f}; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for networks in options.networks:
        alone = simulate(found, 1, networks)
        for cores in options.cores:
            busy = min(cores, networks)
            slower = max(1.0, busy * options.demand / options.bandwidth)
            seconds = simulate(found, cores, networks, slower)
            print(
                f"{networks} networks, {cores} cores: {seconds:.0f} s, {alone / seconds:.1f} x as fast "
                f"as one; at the start and end {(found['start'] + found['end']) / seconds:.0%}"
            )
