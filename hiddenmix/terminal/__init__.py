"""What a person sees at the terminal: the door of every command, and the progress of a run."""

from hiddenmix.terminal.arguments import as_hydra_reads, quoted_text
from hiddenmix.terminal.command_line import VERSION, explain, guarded, prepare, told_or_run
from hiddenmix.terminal.display import Display, duration, interactive, make_console
from hiddenmix.terminal.text import clean, leaks_text

__all__ = [
    "VERSION",
    "Display",
    "as_hydra_reads",
    "clean",
    "duration",
    "explain",
    "guarded",
    "interactive",
    "leaks_text",
    "make_console",
    "prepare",
    "quoted_text",
    "told_or_run",
]
