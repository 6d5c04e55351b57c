"""What a person sees at the terminal: the door of every command, and the progress of a run."""

from hiddenmix.terminal.command_line import VERSION, guarded
from hiddenmix.terminal.display import Display, duration, interactive, make_console
from hiddenmix.terminal.text import clean, leaks_text

__all__ = [
    "VERSION",
    "Display",
    "clean",
    "duration",
    "guarded",
    "interactive",
    "leaks_text",
    "make_console",
]
