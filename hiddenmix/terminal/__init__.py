"""What a person sees at the terminal: the door of every command, and the progress of a run."""

from hiddenmix.terminal.arguments import as_hydra_reads, decimal_commas, given_twice, layer_text
from hiddenmix.terminal.command_line import VERSION, guarded, prepare, told_or_run
from hiddenmix.terminal.display import Display, duration, interactive, make_console
from hiddenmix.terminal.explaining import explain
from hiddenmix.terminal.hints import unknown_flag
from hiddenmix.terminal.own_files import without_config_dir
from hiddenmix.terminal.parsing import Parser, study_folder
from hiddenmix.terminal.signs import as_flags, plain
from hiddenmix.terminal.text import clean, leaks_text

__all__ = [
    "VERSION",
    "Display",
    "Parser",
    "as_flags",
    "as_hydra_reads",
    "clean",
    "decimal_commas",
    "duration",
    "explain",
    "given_twice",
    "guarded",
    "interactive",
    "layer_text",
    "leaks_text",
    "make_console",
    "plain",
    "prepare",
    "study_folder",
    "told_or_run",
    "unknown_flag",
    "without_config_dir",
]
