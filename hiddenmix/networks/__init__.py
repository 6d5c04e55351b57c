"""The networks: building them, which of their layers can be mixed, and where it makes sense."""

from hiddenmix.networks.building import bare, build
from hiddenmix.networks.layers import (
    bypassed,
    check_layers,
    layers_of,
    layout_of,
    survey_of,
    weights_text,
)
from hiddenmix.networks.mixable import (
    all_stages,
    behind_first_convolution,
    listed,
    mixable_layers,
    reasons,
    stages,
)
from hiddenmix.networks.survey import Layer, Survey
from hiddenmix.networks.torchvision_networks import has_small_stem, stem_text

__all__ = [
    "Layer",
    "Survey",
    "all_stages",
    "bare",
    "behind_first_convolution",
    "build",
    "bypassed",
    "check_layers",
    "has_small_stem",
    "layers_of",
    "layout_of",
    "listed",
    "mixable_layers",
    "reasons",
    "stages",
    "stem_text",
    "survey_of",
    "weights_text",
]
