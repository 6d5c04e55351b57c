"""Kill a training command and its workers at random moments, and compare what comes out.

python scripts/kill.py                      # 100 SIGKILLs; about 15 minutes on 2 cores
python scripts/kill.py --signal TERM        # the same with SIGTERM, upon which checkpoints are written
python scripts/kill.py --kills 1 --workers 1    # what the tests run, on shorter networks

A small study is trained once undisturbed, in one process. Then the same command runs in fresh studies
on several workers, of which it or the command itself is killed over and over, and the command is given
again until it ends by itself. Most kills come while a network is trained that has a checkpoint. The
results of every cell (times, host and command aside), its weights, its metrics.jsonl and its
TensorBoard events must be those of the undisturbed study. Exit code 0 if they are.
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
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

STUDY = [
    *("layer=[input,conv1]", "mode=triplet", "lam=sample", "repeats=2"),
    *("dataset.train_size=200", "dataset.augment=flip_crop", "batch_size=32", "evaluation=full"),
    *("model.channels=[4,4,4]", "model.width=8", "model.dropout=0.2", "evaluation_images=100"),
]
MANY = 10
"""Kills of one study."""

WITHIN, MOMENT = 0.7, 1.0
"""Share of the kills that wait for a checkpoint, and come within so many seconds of seeing it."""


def start(folder: Path, study: str, *more: str) -> subprocess.Popen[str]:
    """The command on `study`, running below `folder`."""
    command = [sys.executable, "-m", "hiddenmix.train", *STUDY, f"study={study}", *more]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@dataclass
class Tally:
    """What was done to a study, and what it said."""

    parents: int = 0
    workers: int = 0
    within: int = 0
    """Kills while a network was trained that had a checkpoint."""

    resumed: int = 0
    warnings: int = 0
    slowest: float = 0.0
    """Seconds from a signal to the end of the command."""

    @property
    def kills(self) -> int:
        return self.parents + self.workers

    def __add__(self, other: "Tally") -> "Tally":
        sums: list[Any] = [
            getattr(self, each.name) + getattr(other, each.name) for each in fields(self)
        ]
        both = Tally(*sums)
        both.slowest = max(self.slowest, other.slowest)
        return both


def trainers(study: Path) -> dict[int, bool]:
    """The processes that train, who say so beside the locks they hold; with whether their network has a
    checkpoint."""
    found = {}
    for path in (study / "locks").glob("*.json"):
        try:
            pid = int(json.loads(path.read_text())["process"])
        except (OSError, ValueError):  # let go of meanwhile, or half written
            continue
        if Path(f"/proc/{pid}").exists():
            found[pid] = (study / "cells" / path.stem / "checkpoint.pt").exists()
    return found


def wait_for_moment(
    process: subprocess.Popen[str], study: Path, longest: float, draw: random.Random
) -> None:
    """A random moment: of most kills while some network has a checkpoint, of the others any."""
    if draw.random() < WITHIN:
        while process.poll() is None and not any(trainers(study).values()):
            time.sleep(0.01)
        longest = MOMENT
    with suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0, longest))


def disturbed(
    folder: Path,
    name: str,
    number: signal.Signals,
    kills: int,
    longest: float,
    draw: random.Random,
    workers: int,
) -> Tally:
    """Run the study `name` to its end, killing the command or a worker of it `kills` times at most."""
    tally = Tally()
    study = folder / "outputs" / name
    while True:
        process = start(folder, name, "checkpoint_seconds=0.3", f"workers={workers}")
        killed_at = None
        hurt = False
        while tally.kills < kills and killed_at is None:
            wait_for_moment(process, study, longest, draw)
            if process.poll() is not None:
                break
            training = trainers(study)
            victim = draw.choice([process.pid, *training])
            within = any(training.values()) if victim == process.pid else training[victim]
            try:
                os.kill(victim, number)
            except ProcessLookupError:
                continue
            tally.within += within
            if victim == process.pid:
                tally.parents += 1
                killed_at = time.monotonic()
            else:
                tally.workers += 1
                hurt = True
        text = process.communicate()[0]
        tally.resumed += text.count(": resumed after")
        tally.warnings += text.count("warning:")
        if "Traceback" in text:
            raise SystemExit(f"a traceback was shown:\n{text}")
        if process.returncode == 0:
            return tally
        if killed_at is None:
            # A network whose process is ended twice is a failure, which the next command tries again.
            if hurt and process.returncode == 1 and "its process was ended twice" in text:
                continue
            raise SystemExit(f"exit code {process.returncode}:\n{text}")
        # Before Python has its handlers, and once it clears up, a signal has its usual effect.
        over = "study outputs/" not in text or "TensorBoard: tensorboard --logdir" in text
        expected = {-number} if number == signal.SIGKILL else {128 + number}
        if process.returncode not in expected | ({-number} if over else set()):
            raise SystemExit(f"exit code {process.returncode}:\n{text}")
        tally.slowest = max(tally.slowest, time.monotonic() - killed_at)


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
    parser.add_argument("--workers", type=int, default=2, help="of every killed command")
    parser.add_argument("--epochs", type=int, default=150, help="of each network")
    options = parser.parse_args()
    number = signal.Signals[f"SIG{options.signal}"]
    draw = random.Random(options.seed)
    began = time.monotonic()
    tally, rounds, equal = Tally(), 0, True
    STUDY.append(f"epochs={options.epochs}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = start(folder, "undisturbed", "workers=1")
        text = process.communicate()[0]
        longest = (
            time.monotonic() - began
        ) / 4  # the command lasts longer than it waits for a kill
        if process.returncode:
            raise SystemExit(text)
        expected = outcome(folder / "outputs" / "undisturbed")
        while tally.kills < options.kills:
            rounds += 1
            study = f"killed_{rounds}"
            left = min(options.kills - tally.kills, MANY)
            more = disturbed(folder, study, number, left, longest, draw, options.workers)
            tally += more
            found = outcome(folder / "outputs" / study)
            same = found == expected
            equal = equal and same
            print(
                f"study {rounds}: {more.kills} kills, {len(found)} cells, "
                f"results {'equal' if same else 'DIFFER'}",
                flush=True,
            )
            if not same:
                for cell, content in expected.items():
                    for part, value in content.items():
                        if found.get(cell, {}).get(part) != value:
                            print(f"  {cell} {part}:\n  {found.get(cell, {}).get(part)}\n  {value}")
    print(
        f"{tally.kills} kills by SIG{options.signal}, {tally.parents} of the command and "
        f"{tally.workers} of a worker, {tally.within} of them within a network that had a checkpoint; "
        f"{tally.resumed} resumed networks, {tally.warnings} warnings, slowest exit "
        f"{tally.slowest:.1f} s, {time.monotonic() - began:.0f} s in all"
    )
    print(
        f"{len(expected)} cells in each of {rounds} studies: results, weights, metrics.jsonl and "
        f"TensorBoard {'are equal to' if equal else 'DIFFER from'} those of the undisturbed study"
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
