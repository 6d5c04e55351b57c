"""Building a network from its configuration, for the images and classes of a data set."""

from torch import nn

from hiddenmix.config import (
    CnnConfig,
    ConfigError,
    ModelConfig,
    PreactResNet18Config,
    TorchvisionConfig,
)
from hiddenmix.networks.cnn import Cnn
from hiddenmix.networks.preact_resnet18 import PreactResNet18
from hiddenmix.networks.torchvision_networks import torchvision_network


def build(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """An untrained network for images of `shape` (C, H, W) and `classes` classes, on the CPU.

    Initial weights come from torch's default generator; the caller lends it to a stream.
    Raises `ConfigError` for an unknown torchvision network and `UserError` where the network does
    not accept images of that shape.
    """
    match config:
        case CnnConfig():
            return Cnn(config, shape, classes)
        case PreactResNet18Config():
            return PreactResNet18(config, shape[0], classes)
        case TorchvisionConfig():
            return torchvision_network(config, shape, classes)
        case _:
            raise ConfigError("model.name", config.name, "cnn, preact_resnet18, torchvision")
