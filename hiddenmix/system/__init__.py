"""The operating system: files that are whole or absent, signals, memory. Imports no torch."""

from hiddenmix.system import atomic
from hiddenmix.system.interrupts import Interrupted, Interrupts
from hiddenmix.system.memory import keep_freed_memory, physical_memory

__all__ = ["Interrupted", "Interrupts", "atomic", "keep_freed_memory", "physical_memory"]
