"""A real SLURM of one node on this machine, and a study on it that is killed, stopped and queued again.

python scripts/slurm_here.py              # needs root, and Debian's packages slurm-wlm and munge
python scripts/slurm_here.py --install    # installs those first; says "skipped" where that cannot be done

Nine networks (six settings and their baselines) are trained undisturbed in one process. Meanwhile SLURM
trains them twice at the same time: as an array of jobs with the plain command, and through
hydra/launcher=slurm. Of each, one job is killed and one is brought to its time limit, where it is queued
again. Weights, results, metrics and TensorBoard's scalars of every network must be those of the
undisturbed study, to the bit. Exit code 0 if they are, 75 if the machine was too slow to tell. Takes some
two minutes on two cores.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from disturbed_study import Disturbed
from slurm_cluster import PACKAGES, Cluster, SkippedError, install, output, wait_for

TOO_SLOW = 75
"""The exit code EX_TEMPFAIL of sysexits.h."""

STUDIES = ("array", "launcher")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

SUBMITTED = "outputs/launcher/hydra/*/.submitit/*/*.out"
"""The logs of submitit's jobs."""


def jobs(name: str) -> list[dict[str, str]]:
    """All that SLURM knows of the jobs of one name."""
    lines = output("scontrol", "show", "job", "--oneliner").splitlines()
    found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return [each for each in found if each.get("JobName") == name]


def job_with(process: int) -> str:
    """The number of the array's job that a process belongs to; "" where it belongs to none."""
    try:
        text = Path(f"/proc/{process}/environ").read_text()
    except (OSError, ValueError):
        return ""
    known = dict(each.split("=", 1) for each in text.split("\0") if "=" in each)
    # The mere SLURM_JOB_ID may stand for the whole array.
    return "_".join(known.get(f"SLURM_ARRAY_{each}_ID", "") for each in ("JOB", "TASK")).strip("_")


def two_jobs(studies: Disturbed, name: str) -> list[str]:
    """The numbers of two jobs of a study that train a network which has a checkpoint; [] before."""
    found = sorted({job_with(each) for each in studies.trainers(name)} - {""})
    return found[:2] if len(found) > 1 else []


def kill(job: str) -> None:
    """End every Python process of a job at once, as a machine without memory does."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if job_with(int(folder.name)) == job and "python" in (folder / "exe").readlink().name:
                os.kill(int(folder.name), signal.SIGKILL)


def queued_again(job: str) -> bool:
    return "Restarts=0" not in output("scontrol", "show", "job", "--oneliner", job).split()


def all_over(name: str) -> bool:
    return all(each["JobState"] in OVER for each in jobs(name))


def disturb(studies: Disturbed) -> None:
    """Kill a job of each study, bring another to its time limit, and let the others go on."""
    limited = {}
    for name in STUDIES:
        killed, other = wait_for(f"checkpoints in {name}", partial(two_jobs, studies, name))
        kill(killed)
        # SLURM looks every 30 seconds, and warns of what ends within 30 more than the 5 asked for.
        output("scontrol", "update", f"JobId={other}", "EndTime=now+40")
        limited[name] = other
        print(f"{name}: job {killed} is killed, job {other} ends soon", flush=True)
    for name, job in limited.items():
        wait_for(f"job {job} to be queued again", partial(queued_again, job), 120)
        print(f"{name}: job {job} is queued again", flush=True)
        output("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    studies.let_go()
    for name in STUDIES:
        wait_for(f"the end of {name}", partial(all_over, name))


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
    except TimeoutError as error:
        print(
            f"given up after {time.monotonic() - began:.0f} s: {error}\nwhat there is lies in {folder}"
        )
        return TOO_SLOW
    print(f"{'as it should be' if good else 'WRONG'}, in {time.monotonic() - began:.0f} s")
    if good:
        shutil.rmtree(folder)
    else:
        print(f"what there is lies in {folder}")
    return 0 if good else 1


def disturbed(folder: Path) -> bool:
    print(output("sinfo", "--version"))
    studies = Disturbed(folder)

    # The plain command, twice; a job that a signal stopped (128 + 10) goes back into the queue.
    plain = f"srun {shlex.join(studies.command('array', 'workers=2'))}"
    own = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    requeued = f"{plain}; code=$?; [ $code -eq 138 ] && scontrol requeue {own}; exit $code"
    output(
        *("sbatch", "--array=0-1", "--job-name=array", "--time=60", "--signal=USR1@5"),
        *("--open-mode=append", "--output=array-%a.txt", f"--wrap={requeued}"),
    )
    launcher = studies.command(
        *("launcher", "workers=1", "hydra/launcher=slurm", "hydra.launcher.timeout_min=60"),
        *("hydra.launcher.signal_delay_s=5", "hydra.launcher.cpus_per_task=1"),
        "hydra.launcher.name=launcher",
    )
    with (
        (folder / "launcher.txt").open("w") as log,
        subprocess.Popen(launcher, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            disturb(studies)
            first = process.wait(300)
        finally:
            process.kill()
    said = (folder / "launcher.txt").read_text()
    named = [line for line in said.splitlines() if line.startswith("failed: ")]
    print("\n".join([f"the launcher's command ended with {first} and", *named]), flush=True)
    ended = subprocess.run(launcher, capture_output=True, text=True, check=False)
    print(f"the same command again ended with {ended.returncode} and\n{ended.stdout}{ended.stderr}")
    array = [each.read_text() for each in folder.glob("array-*.txt")]
    logs = [*array, *(each.read_text() for each in folder.glob(SUBMITTED))]
    resumed = sum(each.count(": resumed after") for each in logs)
    print(f"networks resumed from a checkpoint: {resumed}")
    checks = {
        "the array is the undisturbed study": studies.same("array"),
        "the launcher's is the undisturbed study": studies.same("launcher"),
        "networks were resumed": resumed >= 4,
        "the killed job is named": first == 1 and any("without a result" in line for line in named),
        "the same command ends well": ended.returncode == 0,
        "with one table": ended.stdout.count("accuracy, %") == 1 == said.count("accuracy, %"),
        "the array ends with the whole table": any(
            text.rpartition("accuracy, %")[2].count("conv") >= 6 for text in array
        ),
        "no job shows a traceback": not any("Traceback" in each for each in logs),
    }
    print("\n".join(f"{'yes' if good else 'NO '} {name}" for name, good in checks.items()))
    return all(checks.values())


if __name__ == "__main__":
    sys.exit(main())
