"""The networks: building them, which of their layers can be mixed, and where it makes sense."""

from hiddenmix.networks.building import build
from hiddenmix.networks.layers import bypassed, check_layers, layers_of, survey_of
from hiddenmix.networks.stages import reasons, stages
from hiddenmix.networks.survey import Layer, Survey, mixable_layers

__all__ = [
    "Layer",
    "Survey",
    "build",
    "bypassed",
    "check_layers",
    "layers_of",
    "mixable_layers",
    "reasons",
    "stages",
    "survey_of",
]
