"""Networks, and the layers at which they can be mixed."""

import numpy as np
import pytest
import torch
from torch import nn

import hiddenmix
from hiddenmix.config.errors import ConfigError, UserError
from hiddenmix.config.schema import CnnConfig, ModelConfig, PreactResNet18Config, TorchvisionConfig
from hiddenmix.networks.building import build
from hiddenmix.networks.layers import check_layers
from hiddenmix.networks.mixable import mixable_layers
from hiddenmix.randomness import default_generators


def made(config: ModelConfig, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    with default_generators(0, "init"):
        return build(config, shape, classes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (32, 32), (64, 40)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_cnn_takes_any_size_from_8(channels: int, size: tuple[int, int], batch_norm: bool) -> None:
    config = CnnConfig(channels=[4, 5, 6], width=7, batch_norm=batch_norm, dropout=0.1)
    network = made(config, (channels, *size), 3)
    assert network(torch.randn(2, channels, *size)).shape == (2, 3)
    stages = ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc1", "classifier"]
    assert [name for name, _ in network.named_children()] == stages
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert len(norms) == (4 if batch_norm else 0)
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == 2


def test_cnn_refuses_images_that_three_poolings_leave_nothing_of() -> None:
    with pytest.raises(UserError, match=r"(?s)1x7x7.*at least 8"):
        made(CnnConfig(), (1, 7, 7))


def test_preact_resnet18_is_the_network_of_the_mixup_papers() -> None:
    network = made(PreactResNet18Config(), (3, 32, 32))
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    # 11.17 M parameters, as the usual CIFAR version; the final BatchNorm adds 2 x 512.
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_172_170
    shapes = {layer.name: layer.shape for layer in mixable_layers(network, (3, 32, 32))}
    assert shapes["layer1"] == (64, 32, 32)
    assert shapes["layer4"] == (512, 4, 4)


def test_disguises_of_the_built_in_networks() -> None:
    cnn = mixable_layers(made(CnnConfig(), (1, 8, 8)), (1, 8, 8))
    assert [layer.name for layer in cnn if layer.disguise] == ["conv1.conv"]
    # BatchNorm sees another batch where the images are mixed.
    assert [layer.name for layer in cnn if layer.affine] == ["conv1.conv", "conv1.norm"]
    resnet = mixable_layers(made(PreactResNet18Config(width=4), (3, 32, 32)), (3, 32, 32))
    assert [layer.name for layer in resnet if layer.disguise] == ["conv1"]
    assert [layer.name for layer in resnet if layer.affine] == ["conv1", "layer1.0.norm1"]


def test_torchvision_resnet_layers() -> None:
    network = made(TorchvisionConfig(arch="resnet18"), (3, 32, 32))
    layers = mixable_layers(network, (3, 32, 32))
    by_name = {layer.name: layer for layer in layers}
    assert by_name["conv1"].disguise
    assert by_name["bn1"].affine
    assert not by_name["bn1"].disguise
    assert not by_name["layer1"].disguise
    assert not by_name["layer2"].disguise
    # The stem for small images keeps their size.
    assert by_name["layer1"].shape == (64, 32, 32)
    # relu is called once in the stem; a block's relu is called twice.
    assert "layer1.0.relu" not in by_name
    for wrong in ("layer1.0.relu", "layer9"):
        with pytest.raises(ConfigError, match="layer1"):
            check_layers([wrong], layers)
    network.train()
    draw = hiddenmix.draw(np.random.default_rng(0), 4)
    with (
        pytest.raises(RuntimeError, match="more than once"),
        hiddenmix.mixing_at(network, "layer1.0.relu", draw),
    ):
        network(torch.randn(4, 3, 32, 32))


def test_looking_for_layers_leaves_the_network_as_it_was() -> None:
    network = made(TorchvisionConfig(arch="resnet18"), (3, 32, 32)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mixable_layers(network, (3, 32, 32))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(("small_stem", "side", "left"), [(True, 32, 32), (False, 64, 16)])
def test_small_stem_is_an_option(small_stem: bool, side: int, left: int) -> None:
    network = made(TorchvisionConfig(arch="resnet18", small_stem=small_stem), (3, side, side))
    shapes = {layer.name: layer.shape for layer in mixable_layers(network, (3, side, side))}
    assert shapes["layer1"] == (64, left, left)


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_other_torchvision_networks_take_grey_images(arch: str) -> None:
    network = made(TorchvisionConfig(arch=arch), (1, 64, 64), 7)
    assert network.eval()(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert len(mixable_layers(network, (1, 64, 64))) > 10


def test_unknown_and_unfit_torchvision_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.arch=resnet19 .*\n.*resnet18"):
        made(TorchvisionConfig(arch="resnet19"), (3, 32, 32))
    # A segmentation network is no classification network.
    with pytest.raises(ConfigError, match=r"model\.arch"):
        made(TorchvisionConfig(arch="fcn_resnet50"), (3, 32, 32))
    alexnet = made(TorchvisionConfig(arch="alexnet"), (3, 32, 32))
    with pytest.raises(UserError, match="does not accept 3x32x32"):
        mixable_layers(alexnet, (3, 32, 32))


def test_library_face_mixes_a_torchvision_network_in_an_own_loop() -> None:
    """The README's example, with data of its own."""
    from torchvision.models import resnet18

    with default_generators(0, "init"):
        network = resnet18(num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    generator = np.random.default_rng(0)
    images, labels = torch.randn(8, 3, 32, 32), torch.randint(10, (8,))
    loader = [(images, labels)] * 3
    losses = []
    for images, labels in loader:
        draw = hiddenmix.draw(generator, len(images), mode="triplet", alpha=1.0)
        with hiddenmix.mixing_at(network, "layer1", draw):
            logits = network(images)
        loss = hiddenmix.mixed_cross_entropy(logits, labels, draw)

        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
