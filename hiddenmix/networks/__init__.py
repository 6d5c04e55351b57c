"""The networks: building them, and which of their layers can be mixed."""

from hiddenmix.networks.building import build
from hiddenmix.networks.layers import Layer, check_layers, layers_of, mixable_layers

__all__ = ["Layer", "build", "check_layers", "layers_of", "mixable_layers"]
