"""Pictures of the mixing, for TensorBoard."""

import torch
from torch import Tensor, nn

from hiddenmix import mixing, randomness
from hiddenmix.config import Config, layers
from hiddenmix.data import Data, normalise
from hiddenmix.study.cells import is_plain

PICTURED = 8
"""Samples in TensorBoard's picture of a mixed batch."""


Pictures = tuple[Tensor, Tensor, Tensor | None]


def mixed_pictures(network: nn.Module, data: Data, config: Config) -> Pictures:
    """Partner images, mixed images and mixed feature maps of a few training images, for TensorBoard.

    Draws from a stream of its own and leaves the network, its BatchNorm statistics included, as it was.
    """
    count = min(PICTURED, len(data.train.images))
    generator = randomness.stream(config.seed, "picture")
    draw = mixing.draw(generator, count, mode=config.mode, alpha=config.alpha, lam=config.lam).to(
        data.train.images.device
    )
    pixels = data.train.images[:count].float() / 255
    partners = torch.stack([pixels[row] for row in draw.index])
    if is_plain(config):
        return pixels[None], pixels, None
    layer = layers(config)[-1]
    maps: list[Tensor] = []
    if layer != "input":
        hook = network.get_submodule(layer).register_forward_hook(
            # A copy, for the next module may write in place.
            lambda module, args, output: maps.append(output.clone())
        )
        training = network.training
        try:
            with torch.no_grad():
                network.eval()(normalise(data.train.images[:count], data.mean, data.std))
        finally:
            hook.remove()
            network.train(training)
    mixed_maps = mixing.mix(maps[0].contiguous(), draw) if maps else None
    return partners, mixing.mix(pixels, draw), mixed_maps
