"""One study: its plan, cells, files on disk, checkpoints, and the run that trains what lacks."""

from hiddenmix.study.cells import model_name
from hiddenmix.study.command import PartOfSweep
from hiddenmix.study.evaluating import evaluate_study
from hiddenmix.study.finished import FinishedNetwork, load
from hiddenmix.study.from_python import run
from hiddenmix.study.loaded_data import load_data
from hiddenmix.study.planning import check_requests
from hiddenmix.study.running import check_elsewhere, conclude_elsewhere, run_command
from hiddenmix.study.store import Cell
from hiddenmix.study.tuning import tune
from hiddenmix.study.tuning_space import Request

__all__ = [
    "Cell",
    "FinishedNetwork",
    "PartOfSweep",
    "Request",
    "check_elsewhere",
    "check_requests",
    "conclude_elsewhere",
    "evaluate_study",
    "load",
    "load_data",
    "model_name",
    "run",
    "run_command",
    "tune",
]
