"""Processes beside this one: how they are started, and how many pay."""

import multiprocessing
import sys
from collections.abc import Sequence
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


def start_server(modules: Sequence[str]) -> None:
    """Let the server of `context` import `modules` while this process goes on with other things."""
    if context().get_start_method() == "forkserver" and sys.platform != "win32":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def cores() -> int:
    """Physical cores that this process may use; affinity and a container's share are counted."""
    from joblib import cpu_count

    return int(cpu_count(only_physical_cores=True))
