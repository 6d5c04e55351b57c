"""Result files to table, statistics, verdict, figures and text. Imports no torch."""

from hiddenmix.report.cells_table import results
from hiddenmix.report.comparison import settings_table
from hiddenmix.report.results import Study, read_curve, read_study
from hiddenmix.report.terminal_table import terminal_table
from hiddenmix.report.writing import write_report, write_summary

__all__ = [
    "Study",
    "read_curve",
    "read_study",
    "results",
    "settings_table",
    "terminal_table",
    "write_report",
    "write_summary",
]
