"""Evaluators: clean, shifted, adversarial and outside test images, calibration, mixed maps."""

from hiddenmix.evaluation.adversarial import ATTACK
from hiddenmix.evaluation.clean import accuracy
from hiddenmix.evaluation.evaluators import EVALUATORS, SELECTIONS, answers, numbers
from hiddenmix.evaluation.measuring import Value
from hiddenmix.evaluation.mixed_maps import label_consistency, mixing_distance, take_statistics
from hiddenmix.evaluation.outside_sets import outside

__all__ = [
    "ATTACK",
    "EVALUATORS",
    "SELECTIONS",
    "Value",
    "accuracy",
    "answers",
    "label_consistency",
    "mixing_distance",
    "numbers",
    "outside",
    "take_statistics",
]
