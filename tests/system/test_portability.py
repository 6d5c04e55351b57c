"""Other systems than Linux, as far as Linux can play them: a Python without what they lack."""

import subprocess
import sys
from multiprocessing import reduction
from pathlib import Path

import pytest
import torch

from hiddenmix.config.errors import ConfigError
from hiddenmix.config.schema import Config
from hiddenmix.study.planning import check_requests
from hiddenmix.study.workers import how_many
from tests.support.commands import ALONE, latest

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


@pytest.mark.slow
def test_the_command_needs_nothing_that_is_linux_alone(tmp_path: Path) -> None:
    settings = [each for each in ALONE if not each.startswith("workers")]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *latest([*settings, "repeats=2"])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "[2/2] digits-cnn-conv1" in done.stdout


def test_workers_where_open_files_cannot_be_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(reduction, "DupFd")
    assert how_many(Config(), torch.device("cpu"), 5) == 1
    with pytest.raises(
        ConfigError, match="workers=2 is not allowed\n  allowed: auto or 1, on this"
    ):
        check_requests([Config(workers=2)])
