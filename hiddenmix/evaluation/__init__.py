"""Evaluators: clean, shifted, adversarial and outside test images, calibration."""

from hiddenmix.evaluation.clean import accuracy
from hiddenmix.evaluation.evaluators import EVALUATORS, SELECTIONS, answers, numbers
from hiddenmix.evaluation.measuring import Value
from hiddenmix.evaluation.outside import outside

__all__ = ["EVALUATORS", "SELECTIONS", "Value", "accuracy", "answers", "numbers", "outside"]
