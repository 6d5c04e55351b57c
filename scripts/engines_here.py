"""A study that submitit, joblib and Ray run on this machine, while a process that trains is killed.

python scripts/engines_here.py              # all three; those that are not installed are skipped
python scripts/engines_here.py joblib       # local (submitit), joblib or ray

Nine networks (six settings and their baselines) are trained undisturbed in one process, and through each
launcher. joblib is handed the sweep again; the others name the job that was killed, and the same command
goes on. Weights, results, metrics and TensorBoard's scalars of every network must be those of the
undisturbed study, to the bit. Exit code 0 if they are.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from disturbed_study import Disturbed
from slurm_cluster import wait_for

from hiddenmix.system import install_extra

ENGINES = {
    "local": ("submitit", ["hydra/launcher=local"]),
    "joblib": ("joblib", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"]),
    "ray": ("ray", ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=3"]),
}
"""The plugin's name, and what chooses it; joblib and Ray with three jobs at once."""


def disturbed(studies: Disturbed, name: str) -> bool:
    """Run a study through an engine, killing a process of it."""
    command = studies.command(name, "workers=1", *ENGINES[name][1])
    studies.hold()
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        try:
            trainers = wait_for("a checkpoint", lambda: studies.trainers(name))
            os.kill(trainers[0], signal.SIGKILL)
            studies.let_go()
            said = process.communicate(timeout=600)[0]
        finally:
            process.kill()
    named = [line for line in said.splitlines() if line.startswith("failed: ")]
    print("\n".join([f"{name} ended with {process.returncode}", *named]), flush=True)
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(f"the same command again with {again.returncode}", flush=True)
    expected = 0 if name == "joblib" else 1
    checks = {
        "the killed job is named": any(each.startswith("failed: job ") for each in named)
        or not expected,
        "exit codes": (process.returncode, again.returncode) == (expected, 0),
        "one table each": said.count("accuracy, %") == again.stdout.count("accuracy, %") == 1,
        "the undisturbed study": studies.same(name),
    }
    print(
        "\n".join(f"{'yes' if good else 'NO '} {what}" for what, good in checks.items()), flush=True
    )
    return all(checks.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="of local, joblib, ray")
    engines = parser.parse_args().engines or list(ENGINES)
    folder = Path(tempfile.mkdtemp(prefix="engines-here-"))
    began = time.monotonic()
    studies = Disturbed(folder)
    good = []
    for name in engines:
        if find_spec(f"hydra_plugins.hydra_{ENGINES[name][0]}_launcher") is None:
            print(f"skipped: {name}: needs {install_extra(ENGINES[name][0])}")
        else:
            good.append(disturbed(studies, name))
    print(f"{'as it should be' if all(good) else 'WRONG'}, in {time.monotonic() - began:.0f} s")
    if all(good):
        shutil.rmtree(folder)
    else:
        print(f"what there is lies in {folder}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
