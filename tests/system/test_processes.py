"""The server of the workers, and what it outlives."""

import signal
import subprocess
import sys

import pytest

CODE = """
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from hiddenmix.system import start_server, stop_server

start_server()
for process in (forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid):
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    print(*[line for line in status if "SigIgn" in line])
stop_server()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_helpers_outlive_the_signals_that_are_sent_to_all_processes_of_a_job() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        ignored = int(line.split()[1], 16)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP):
            assert ignored & 1 << (number - 1)
