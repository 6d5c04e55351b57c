"""Evaluators: clean, shifted and adversarial test images, calibration."""

from hiddenmix.evaluation.clean import accuracy
from hiddenmix.evaluation.evaluators import EVALUATORS, SELECTIONS, evaluate, nested

__all__ = ["EVALUATORS", "SELECTIONS", "accuracy", "evaluate", "nested"]
