"""The operating system: whole files, locks, signals, memory, processes, the checkout. Loads no torch."""

from hiddenmix.system import atomic
from hiddenmix.system.checkout import changed_code, commit
from hiddenmix.system.extras import install_extra
from hiddenmix.system.interrupts import Interrupted, Interrupts
from hiddenmix.system.locks import PATIENCE, LockError, PatienceError, hold
from hiddenmix.system.memory import (
    free_memory,
    keep_freed_memory,
    own_memory,
    physical_memory,
)
from hiddenmix.system.processes import context, cores, start_server, stop_server

__all__ = [
    "PATIENCE",
    "Interrupted",
    "Interrupts",
    "LockError",
    "PatienceError",
    "atomic",
    "changed_code",
    "commit",
    "context",
    "cores",
    "free_memory",
    "hold",
    "install_extra",
    "keep_freed_memory",
    "own_memory",
    "physical_memory",
    "start_server",
    "stop_server",
]
