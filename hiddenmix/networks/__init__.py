"""The networks: building them, which of their layers can be mixed, and where it makes sense."""

from hiddenmix.networks.building import bare, build
from hiddenmix.networks.layers import (
    bypassed,
    check_layers,
    layers_of,
    survey_of,
    weights_text,
)
from hiddenmix.networks.stages import all_stages, listed, mixable_layers, reasons, stages
from hiddenmix.networks.survey import Layer, Survey
from hiddenmix.networks.torchvision_networks import has_small_stem, is_residual

__all__ = [
    "Layer",
    "Survey",
    "all_stages",
    "bare",
    "build",
    "bypassed",
    "check_layers",
    "has_small_stem",
    "is_residual",
    "layers_of",
    "listed",
    "mixable_layers",
    "reasons",
    "stages",
    "survey_of",
    "weights_text",
]
