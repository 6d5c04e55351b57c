"""Result files to table, statistics, verdict, figures and text. Imports no torch."""

from hiddenmix.report.cells_table import results
from hiddenmix.report.comparison import image_mixing, settings_table
from hiddenmix.report.fields import usable
from hiddenmix.report.findings import Findings, find
from hiddenmix.report.past_looks import look_text, record_looks
from hiddenmix.report.reading import Study, read_curve, read_study
from hiddenmix.report.sequential import looks
from hiddenmix.report.terminal_tables import terminal_table, terminal_verdicts
from hiddenmix.report.tuned import (
    Side,
    Trial,
    Tuned,
    Tuning,
    compare_tuned,
    setting_text,
    terminal_tuned,
)
from hiddenmix.report.tuned_writing import former_looks, write_tuned
from hiddenmix.report.writing import write, write_report, write_summary

__all__ = [
    "Findings",
    "Side",
    "Study",
    "Trial",
    "Tuned",
    "Tuning",
    "compare_tuned",
    "find",
    "former_looks",
    "image_mixing",
    "look_text",
    "looks",
    "read_curve",
    "read_study",
    "record_looks",
    "results",
    "setting_text",
    "settings_table",
    "terminal_table",
    "terminal_tuned",
    "terminal_verdicts",
    "usable",
    "write",
    "write_report",
    "write_summary",
    "write_tuned",
]
