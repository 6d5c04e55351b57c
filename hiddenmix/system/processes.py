"""Processes beside this one: how they are started, and how many pay."""

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the former is not there on Windows
    from multiprocessing.context import ForkServerContext, SpawnContext


def context() -> "ForkServerContext | SpawnContext":
    """How processes are started: by a server that holds torch and no threads, where there are servers.

    A plain fork would copy a process whose threads may hold locks; a fresh interpreter takes seconds
    and its own copy of torch.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def start_server() -> None:
    """Let the server of `context` import `preload` while this process goes on with other things."""
    if context().get_start_method() != "forkserver" or sys.platform == "win32":
        return
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["hiddenmix.system.preload"])
    # A Ctrl-C, and what SLURM sends to all processes of a step, reach the server too, and Python's
    # tracker of semaphores; they are for the workers to answer, once they have their handlers.
    here = threading.current_thread() is threading.main_thread()
    names = ("SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP") if here else ()
    spared = [getattr(signal, name) for name in names if hasattr(signal, name)]
    former = {number: signal.signal(number, signal.SIG_IGN) for number in spared}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def stop_server() -> None:
    """End the server, which would else import what nobody needs any more and keep a pipe open."""
    if (loaded := sys.modules.get("multiprocessing.forkserver")) is not None:
        server = getattr(loaded, "_forkserver", None)  # nothing else knows its process
        number = getattr(server, "_forkserver_pid", None)
        if number is not None:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)


def cores() -> int:
    """Physical cores that this process may use; affinity and a container's share are counted."""
    from joblib import cpu_count

    return int(cpu_count(only_physical_cores=True))
