"""A real SLURM of one node on this machine, and a study on it that is killed, stopped and queued again.

python scripts/slurm_here.py              # needs root, and Debian's packages slurm-wlm and munge
python scripts/slurm_here.py --install    # installs those first; says "skipped" where that cannot be done

Nine networks (six settings and their baselines) are trained undisturbed in one process. Then SLURM trains
them twice at the same time: as an array of jobs with the plain command, and through hydra/launcher=slurm.
Of each, one job is killed and one is brought to its time limit, where it is queued again. Weights,
results, metrics and TensorBoard's scalars of every network must be those of the undisturbed study, to the
bit. Exit code 0 if they are. Takes some three minutes on two cores: a pause in each step lets time pass.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from kill import outcome
from slurm_cluster import PACKAGES, Cluster, SkippedError, install, output, quiet, wait_for

NETWORK = """
import os
import time

from torch import nn


class Net(nn.Module):
    def __init__(self, classes, shape):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2))
        self.conv3 = nn.Sequential(nn.Conv2d(4, 4, 3, stride=4), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def forward(self, images):
        if self.training and len(images) == 50:
            time.sleep(float(os.environ.get("PAUSE", "0")))
        return self.head(self.conv3(self.conv2(self.conv1(images))).flatten(1))
"""

STUDY = [
    *("-m", "layer=conv1,conv2,conv3", "mode=siamese,triplet", "repeats=1", "epochs=100"),
    *("model=import", "model.target=slow.Net", "dataset.train_size=150", "batch_size=50"),
    *("dataset.augment=flip_crop", "checkpoint_seconds=0.5"),
]
PAUSE = "0.1"
"""Seconds of each step: a network takes 30."""

STUDIES = ("array", "launcher")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

SUBMITTED = "outputs/launcher/hydra/*/.submitit/*/*.out"
"""The logs of submitit's jobs."""


def jobs(name: str) -> list[dict[str, str]]:
    """All that SLURM knows of the jobs of one name."""
    lines = output("scontrol", "show", "job", "--oneliner").splitlines()
    found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return [each for each in found if each.get("JobName") == name]


def holder(study: Path) -> str:
    """The number of a job that trains a network which has a checkpoint."""
    for path in (study / "locks").glob("*.json"):
        try:
            process = int(json.loads(path.read_text())["process"])
        except (OSError, ValueError):  # let go of meanwhile, or half written
            continue
        job = job_with(process)
        if job and (study / "cells" / path.stem / "checkpoint.pt").exists():
            return job
    return ""


def job_with(process: int) -> str:
    """The number of the array's job that a process belongs to; "" where it belongs to none."""
    try:
        text = Path(f"/proc/{process}/environ").read_text()
    except (OSError, ValueError):
        return ""
    known = dict(each.split("=", 1) for each in text.split("\0") if "=" in each)
    # The mere SLURM_JOB_ID may stand for the whole array.
    return "_".join(known.get(f"SLURM_ARRAY_{each}_ID", "") for each in ("JOB", "TASK")).strip("_")


def kill(job: str) -> None:
    """End every Python process of a job at once, as a machine without memory does."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if job_with(int(folder.name)) == job and "python" in (folder / "exe").readlink().name:
                os.kill(int(folder.name), signal.SIGKILL)


def disturb(folder: Path) -> dict[str, set[str]]:
    """Kill a job of each study, and bring all others to their time limit, once; those that were queued
    again there."""
    for name in STUDIES:
        study = folder / "outputs" / name
        killed = wait_for(f"a checkpoint in {study}", partial(holder, study))
        kill(killed)
        print(f"{name}: job {killed} is killed", flush=True)
        for each in jobs(name):
            # SLURM warns up to 35 seconds before.
            quiet("scontrol", "update", f"JobId={number(each)}", "EndTime=now+45")
    again: dict[str, set[str]] = {name: set() for name in STUDIES}
    while any(each["JobState"] not in OVER for name in STUDIES for each in jobs(name)):
        for name in STUDIES:
            for each in jobs(name):
                if each["Restarts"] != "0" and number(each) not in again[name]:
                    again[name].add(number(each))
                    print(f"{name}: job {number(each)} is queued again", flush=True)
                    quiet("scontrol", "update", f"JobId={number(each)}", "TimeLimit=60")
                if each["JobState"] == "PENDING" and wait_of(each) > 15:
                    # SLURM lets it wait for two minutes, since its credential was revoked just now.
                    quiet("scontrol", "update", f"JobId={number(each)}", "StartTime=now+10")
        time.sleep(1)
    return again


def wait_of(job: dict[str, str]) -> float:
    """Seconds until a job may start."""
    try:
        return (datetime.fromisoformat(job["EligibleTime"]) - datetime.now()).total_seconds()
    except ValueError:
        return 0


def number(job: dict[str, str]) -> str:
    return f"{job['ArrayJobId']}_{job['ArrayTaskId']}"


def command(study: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "hiddenmix.train", *STUDY, *more, f"study={study}"]


def weights(study: Path) -> dict[str, str]:
    return {
        each.parent.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(study.glob("cells/*/model.safetensors"))
    }


def compare(folder: Path, name: str) -> bool:
    """Whether the study `name` is the undisturbed one, to the bit."""
    first, second = folder / "outputs/undisturbed", folder / "outputs" / name
    same = weights(first) == weights(second) and outcome(first) == outcome(second)
    networks = len(weights(second))
    print(f"{name}: {networks} networks, {'the same' if same else 'NOT THE SAME'} to the bit")
    return same and networks == 9


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--install", action="store_true", help=f"of {' and '.join(PACKAGES)}")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slurm-here-"))
    began = time.monotonic()
    try:
        if options.install:
            install()
        (folder / "slurm").mkdir()
        with Cluster(folder / "slurm"):
            good = disturbed(folder)
    except SkippedError as error:
        print(f"skipped: {error}")
        shutil.rmtree(folder)
        return 0
    print(f"{'as it should be' if good else 'WRONG'}, in {time.monotonic() - began:.0f} s")
    if good:
        shutil.rmtree(folder)
    else:
        print(f"what there is lies in {folder}")
    return 0 if good else 1


def disturbed(folder: Path) -> bool:
    os.chdir(folder)
    (folder / "slow.py").write_text(NETWORK)
    package = str(Path(__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ.update(PYTHONPATH=":".join(paths), OMP_NUM_THREADS="1")
    print(output("sinfo", "--version"))
    output(*command("undisturbed", "workers=1"))
    os.environ["PAUSE"] = PAUSE

    # The plain command, three times; a job that a signal stopped (128 + 10) goes back into the queue.
    plain = f"srun {shlex.join(command('array', 'workers=2'))}"
    own = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    requeued = f"{plain}; code=$?; [ $code -eq 138 ] && scontrol requeue {own}; exit $code"
    output(
        *("sbatch", "--array=0-2", "--job-name=array", "--time=60", "--signal=USR1@5"),
        *("--open-mode=append", "--output=array-%a.txt", f"--wrap={requeued}"),
    )
    launcher = command(
        *("launcher", "workers=1", "hydra/launcher=slurm", "hydra.launcher.timeout_min=10"),
        *("hydra.launcher.signal_delay_s=5", "hydra.launcher.cpus_per_task=1"),
        "hydra.launcher.name=launcher",
    )
    with (
        (folder / "launcher.txt").open("w") as log,
        subprocess.Popen(launcher, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            again = disturb(folder)
            first = process.wait(600)
        finally:
            process.kill()
    said = (folder / "launcher.txt").read_text()
    named = [line for line in said.splitlines() if line.startswith("failed: ")]
    print("\n".join([f"the launcher's command ended with {first} and", *named]))
    os.environ["PAUSE"] = "0"
    ended = subprocess.run(launcher, capture_output=True, text=True, check=False)
    print(f"the same command again ended with {ended.returncode} and\n{ended.stdout}{ended.stderr}")
    logs = {each.name: each.read_text() for each in sorted(folder.glob("array-*.txt"))}
    logs |= {
        each.name: each.read_text()
        for each in folder.glob("outputs/launcher/hydra/*/.submitit/*/*.out")
    }
    resumed = sum(each.count(": resumed after") for each in logs.values())
    print(f"networks resumed from a checkpoint: {resumed}")
    checks = {
        "the array is the undisturbed study": compare(folder, "array"),
        "the launcher's is the undisturbed study": compare(folder, "launcher"),
        "of each, a job was queued again at its time limit": all(again.values()),
        "networks were resumed": resumed >= 4,
        "the killed job is named": first == 1 and any("without a result" in line for line in named),
        "the same command ends well": ended.returncode == 0,
        "with one table": ended.stdout.count("accuracy, %") == 1 == said.count("accuracy, %"),
        "the array ends with the whole table": any(
            text.rpartition("accuracy, %")[2].count("conv") >= 6 for name, text in logs.items()
        ),
        "no job shows a traceback": not any("Traceback" in each for each in logs.values()),
    }
    print("\n".join(f"{'yes' if good else 'NO '} {name}" for name, good in checks.items()))
    return all(checks.values())


if __name__ == "__main__":
    sys.exit(main())
