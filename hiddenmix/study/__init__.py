"""One study: its plan, cells, files on disk, checkpoints, and the run that trains what lacks."""

from hiddenmix.study.cells import model_name
from hiddenmix.study.devices import choose_device
from hiddenmix.study.loaded_data import load_data
from hiddenmix.study.measuring import add_evaluation
from hiddenmix.study.planning import check_requests
from hiddenmix.study.running import run
from hiddenmix.study.store import Cell, check_study, read_study, study_locked

__all__ = [
    "Cell",
    "add_evaluation",
    "check_requests",
    "check_study",
    "choose_device",
    "load_data",
    "model_name",
    "read_study",
    "run",
    "study_locked",
]
