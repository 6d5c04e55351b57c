"""Other systems than Linux, as far as Linux can play them: a Python without what they lack."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ALONE

# What macOS or Windows lack, of what Linux has. What others need of it, such as torch, loads before.
ELSEWHERE = """
import os, signal, sys
import torch, multiprocessing.reduction, psutil, joblib, filelock
import tensorboard.summary.writer.event_file_writer
for name in ("sysconf", "sysconf_names", "fchmod", "sched_getaffinity", "sched_setaffinity",
             "memfd_create", "posix_fadvise", "fork", "O_DIRECTORY", "sendfile"):
    delattr(os, name)
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP"):
    delattr(signal, name)
del multiprocessing.reduction.DupFd
sys.modules["fcntl"] = sys.modules["resource"] = None
sys.argv[0] = "hiddenmix-train"
from hiddenmix.train import main
main()
"""


def elsewhere(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_needs_nothing_that_is_linux_alone(tmp_path: Path) -> None:
    settings = [each for each in ALONE if not each.startswith("workers")]
    refused = elsewhere(tmp_path, *settings, "workers=2")
    assert refused.returncode == 2
    assert refused.stderr == "workers=2 is not allowed\n  allowed: auto or 1, on this system\n"
    assert not (tmp_path / "outputs").exists()
    done = elsewhere(tmp_path, *settings, "repeats=2")
    assert done.returncode == 0, done.stderr
    assert "[2/2] digits-cnn-conv1" in done.stdout
    assert done.stderr == ""
