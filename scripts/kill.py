"""Kill a training command at random moments, restart it each time, and compare what comes out.

python scripts/kill.py                      # at least 100 SIGKILLs; about 10 minutes on 2 cores
python scripts/kill.py --signal TERM        # the same with SIGTERM, which also must exit in 5 s
python scripts/kill.py --kills 5            # what the tests run

A small study is trained once undisturbed. Then the same command runs in fresh studies, each killed
over and over until it ends by itself, until there were as many kills as asked for. The results of
every cell (times, host and command aside), its weights, its metrics.jsonl and its TensorBoard
events must be those of the undisturbed study. Exit code 0 if they are.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

STUDY = (
    *("layer=[input,conv1]", "mode=triplet", "lam=sample", "repeats=2", "epochs=6"),
    *("dataset.train_size=200", "dataset.augment=flip_crop", "batch_size=32", "evaluation=full"),
    *("model.channels=[4,4,4]", "model.width=8", "model.dropout=0.2"),
)
SHARE = 0.4
"""Of the undisturbed command's time from its first line on: a kill comes within so much of it."""

MANY = 10
"""Kills that a study should see; after fewer, they come sooner in the next."""


def start(folder: Path, study: str, *more: str) -> subprocess.Popen[str]:
    """The command on `study`, running below `folder`."""
    command = [sys.executable, "-m", "hiddenmix.train", *STUDY, f"study={study}", *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def disturbed(
    folder: Path,
    study: str,
    number: signal.Signals,
    kills: int,
    longest: float,
    draw: random.Random,
) -> tuple[int, Counter[str], float]:
    """Run `study` to its end, killing it at most `kills` times within `longest` s.

    Returns the kills, how often a cell was resumed or a warning given, and the slowest exit in s.
    """
    done, slowest, said = 0, 0.0, Counter[str]()
    while True:
        process = start(folder, study, "checkpoint_seconds=0")
        assert process.stdout is not None
        first = process.stdout.readline()
        killed_at = None
        if done < kills:
            try:
                process.wait(draw.uniform(0, longest))
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                killed_at = time.monotonic()
        text = first + process.communicate()[0]
        said["resumed"] += text.count(": resumed after")
        said["warning"] += text.count("warning:")
        if "Traceback" in text:
            raise SystemExit(f"a traceback was shown:\n{text}")
        if process.returncode == 0:
            return done, said, slowest
        # Once all is done, and Python clears up, a signal has its usual effect.
        over = number == signal.SIGKILL or "TensorBoard: tensorboard --logdir" in text
        expected = {128 + number, -number} if over else {128 + number}
        if killed_at is None or process.returncode not in expected:
            raise SystemExit(f"exit code {process.returncode}:\n{text}")
        slowest = max(slowest, time.monotonic() - killed_at)
        done += 1


def outcome(study: Path) -> dict[str, Any]:
    """Everything about a study's cells that must not depend on how often it was killed."""
    cells = {}
    for folder in sorted((study / "cells").iterdir()):
        result = json.loads((folder / "result.json").read_text())
        for key in ("study", "checkpoint_seconds", "workers"):
            del result["config"][key]
        for key in ("seconds", "images_per_second"):
            del result["train"][key]
        del result["environment"], result["command"]
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            del line["seconds"], line["images_per_second"]
        names = [path.name for path in folder.iterdir()]
        cells[folder.name] = {
            "result": result,
            "metrics": lines,
            "tensorboard": events(folder),
            "files": sorted(names),
        }
    return cells


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every scalar that TensorBoard shows for a cell, but for speeds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
        if tag != "train/images_per_second"
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="at least so many in all")
    parser.add_argument("--signal", default="KILL", choices=("KILL", "TERM", "INT", "USR1"))
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    number = signal.Signals[f"SIG{options.signal}"]
    draw = random.Random(options.seed)
    began = time.monotonic()
    kills, rounds, said, slowest, equal = 0, 0, Counter[str](), 0.0, True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start(folder, "undisturbed")
        assert process.stdout is not None
        text = process.stdout.readline()
        first = time.monotonic()
        text += process.communicate()[0]
        longest = SHARE * (time.monotonic() - first)
        if process.returncode:
            raise SystemExit(text)
        expected = outcome(folder / "outputs" / "undisturbed")
        while kills < options.kills:
            rounds += 1
            study = f"killed_{rounds}"
            more, events_said, slow = disturbed(
                folder, study, number, options.kills - kills, longest, draw
            )
            kills, said, slowest = kills + more, said + events_said, max(slowest, slow)
            found = outcome(folder / "outputs" / study)
            if more < MANY:  # the machine has become faster
                longest /= 2
            same = found == expected
            equal = equal and same
            print(
                f"study {rounds}: {more} kills, {more} restarts, {len(found)} cells, "
                f"results {'equal' if same else 'DIFFER'}",
                flush=True,
            )
            if not same:
                for cell, content in expected.items():
                    for part, value in content.items():
                        if found.get(cell, {}).get(part) != value:
                            print(f"  {cell} {part}:\n  {found.get(cell, {}).get(part)}\n  {value}")
    print(
        f"{kills} kills by SIG{options.signal}, {kills} restarts, {said['resumed']} resumed "
        f"networks, {said['warning']} warnings, slowest exit {slowest:.1f} s, "
        f"{time.monotonic() - began:.0f} s in all"
    )
    print(
        f"{len(expected)} cells in each of {rounds} studies: results, weights, metrics.jsonl and "
        f"TensorBoard {'are equal to' if equal else 'DIFFER from'} those of the undisturbed study"
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
