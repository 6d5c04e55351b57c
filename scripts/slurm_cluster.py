"""A SLURM of one node, on this machine, for scripts/slurm_here.py."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hiddenmix.system import install_extra

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other_port}
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket,cred_expire=10
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd
ReturnToService=2
MinJobAge=3000
KillWait=10
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 CPUs=32 State=UNKNOWN
PartitionName=here Nodes=here Default=YES MaxTime=INFINITE State=UP
"""

# submitit asks `sacct` for the states of its jobs, which needs a data base. This answers for it.
SACCT = """#!{python}
import subprocess

print("JobID|State|NodeList")
lines = subprocess.run(
    ["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True
).stdout.splitlines()
for line in lines:
    job = dict(word.split("=", 1) for word in line.split() if "=" in word)
    name = job["JobId"]
    if "ArrayTaskId" in job:
        number = job["ArrayTaskId"]
        name = job["ArrayJobId"] + "_" + (number if number.isdigit() else "[" + number + "]")
    print(name + "|" + job["JobState"] + "|here")
"""


class SkippedError(Exception):
    """A SLURM cannot be had here."""


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What `condition` comes to, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(0.2)
    return found


def install() -> None:
    """Debian's packages, where the programs are not there."""
    _check_user_and_plugin()
    if all(map(shutil.which, PROGRAMS)):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qy", "--no-install-recommends", "-o", "Acquire::http::Timeout=20"]
    for words in (["update"], ["install", *PACKAGES]):
        command = [*apt, *words]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
            reason = said[-1] if said else error
            raise SkippedError(f"apt-get {' '.join(words)}: {reason}") from error


def _check_user_and_plugin() -> None:
    if os.geteuid() != 0:
        raise SkippedError("needs root")
    if find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        raise SkippedError(f"needs {install_extra('slurm')}")


class Cluster:
    """munged, slurmctld and slurmd with all their files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, list[subprocess.Popen[bytes]]()

    def __enter__(self) -> "Cluster":
        _check_user_and_plugin()
        try:
            self._begin()
        except (TimeoutError, SkippedError) as error:
            self.__exit__()
            said = "\n".join(each.read_text() for each in sorted((self._folder / "log").iterdir()))
            raise SkippedError(f"no SLURM came up: {error}\n{said[-3000:]}") from error
        return self

    def _begin(self) -> None:
        for name in ("run", "log", "state", "spool", "bin"):
            (self._folder / name).mkdir(mode=0o755)
        self._folder.chmod(0o755)
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        configuration = self._folder / "slurm.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=self._folder,
                host=socket.gethostname().partition(".")[0],
                port=_free_port(),
                other_port=_free_port(),
            )
        )
        sacct = self._folder / "bin/sacct"
        sacct.write_text(SACCT.format(python=sys.executable))
        sacct.chmod(0o755)
        os.environ["SLURM_CONF"] = str(configuration)
        os.environ["PATH"] = f"{sacct.parent}:{os.environ['PATH']}"
        run, log = self._folder / "run", self._folder / "log"
        self._start(
            *("munged", "--force", "--foreground", f"--key-file={key}"),
            *(f"--socket={run}/munge.socket", f"--pid-file={run}/munged.pid"),
            *(f"--log-file={log}/munged", f"--seed-file={run}/munged.seed"),
        )
        wait_for("munged", (run / "munge.socket").exists, 20)
        self._start("slurmctld", "-D", "-i")
        self._start("slurmd", "-D", "-N", "here")
        wait_for("an idle node", lambda: "idle" in quiet("sinfo", "-h", "-o", "%T"), 60)

    def _start(self, *command: str) -> None:
        try:
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._started.append(subprocess.Popen(command, **silent))  # type: ignore[call-overload]
        except OSError as error:
            raise SkippedError(f"{command[0]}: {error}") from error

    def __exit__(self, *_: object) -> None:
        if len(self._started) == 3:
            quiet("scancel", "--user=root", "--full")
            with suppress(TimeoutError):
                wait_for("jobs to end", lambda: not quiet("squeue", "-h"), 30)
        for each in reversed(self._started):
            each.terminate()
        for each in self._started:
            try:
                each.wait(20)
            except subprocess.TimeoutExpired:
                each.kill()


def quiet(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])
