"""Building a network from its configuration, for the images and classes of a data set."""

from torch import nn

from hiddenmix.config import (
    CnnConfig,
    ConfigError,
    ImportConfig,
    ModelConfig,
    PreactResNet18Config,
    TimmConfig,
    TorchvisionConfig,
    UserError,
    allowed,
    with_digests,
)
from hiddenmix.networks.cnn import Cnn
from hiddenmix.networks.imported import imported_network
from hiddenmix.networks.preact_resnet18 import PreactResNet18
from hiddenmix.networks.projections import mend_projections
from hiddenmix.networks.timm_networks import timm_network
from hiddenmix.networks.torchvision_networks import torchvision_network
from hiddenmix.networks.weights import take_weights


def build(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network for images of `shape` (C, H, W) and `classes` classes, on the CPU, as training starts.

    Initial weights come from torch's default generator, which the caller lends to a stream, or where
    they fit from `config.weights`. Raises `ConfigError` for an unknown network and `UserError` where
    the network does not accept images of that shape, or files are missing or others than recorded.
    """
    network = bare(config, shape, classes)
    if config.weights is not None:
        if config.weights_digest not in (None, with_digests(config).weights_digest):
            raise UserError(
                f"model.weights={config.weights}: the file has changed since\n"
                "  put it back as it was, or train again in a new command"
            )
        take_weights(network, config.weights)
    return network


def bare(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`build` without the weights of a file, for a network that gets its own."""
    network = _bare(config, shape, classes)
    mend_projections(network)
    return network


def _bare(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    match config:
        case CnnConfig():
            return Cnn(config, shape, classes)
        case PreactResNet18Config():
            return PreactResNet18(config, shape[0], classes)
        case TorchvisionConfig():
            return torchvision_network(config, shape, classes)
        case TimmConfig():
            return timm_network(config, shape, classes)
        case ImportConfig():
            return imported_network(config, shape, classes)
        case _:
            raise ConfigError("model.name", config.name, allowed("model.name"))
