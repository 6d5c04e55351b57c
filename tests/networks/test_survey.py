"""Which layers make sense: cuts, bypassed layers, image mixup in disguise, and stages."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from hiddenmix.config.errors import UserError
from hiddenmix.config.schema import CnnConfig, PreactResNet18Config
from hiddenmix.networks.building import build
from hiddenmix.networks.copying import copy_of
from hiddenmix.networks.mixable import all_stages, mixable_layers, reasons, stages
from hiddenmix.networks.survey import Layer, held_constant, survey
from hiddenmix.randomness import default_generators

SHAPE = (3, 8, 8)


class Network(nn.Module):
    """The given modules, and a function of the network and the images as its pass."""

    def __init__(self, run: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> object:
        return self.run(self, x)


def made(build_it: Callable[[], nn.Module]) -> nn.Module:
    with default_generators(0, "init"):
        return build_it()


def conv(inputs: int = 3, outputs: int = 4) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def found(network: nn.Module, shape: tuple[int, int, int] = SHAPE) -> dict[str, Layer]:
    return {layer.name: layer for layer in mixable_layers(network, shape, left=True)}


def named(layers: dict[str, Layer], which: str) -> list[str]:
    return [name for name, layer in layers.items() if getattr(layer, which)]


def residual() -> nn.Module:
    def run(net: Any, x: Tensor) -> Any:
        x = torch.relu(net.stem(x))
        y = net.inner(net.norm(x))
        x = net.add(x + net.drop(y))
        return net.head(x.mean((2, 3)))

    return made(
        lambda: Network(
            run,
            **{"stem": conv(), "norm": nn.Identity(), "inner": conv(4, 4), "drop": nn.Dropout(0.5)},
            **{"add": nn.Identity(), "head": nn.Linear(4, 10)},
        )
    )


def test_cuts_and_bypassed_layers_of_a_residual_network() -> None:
    layers = found(residual())
    # norm gives back the very tensor that also takes the shortcut.
    assert named(layers, "cut") == ["input", "stem", "add", "head"]
    assert [name for name, layer in layers.items() if layer.left] == ["norm", "inner", "drop"]
    assert named(layers, "disguise") == ["stem"]
    assert layers["head"].same_as == "add"  # pooling is linear
    assert {name: layer.depth for name, layer in layers.items()} == {
        **{"input": 0, "stem": 1, "norm": 1, "inner": 2, "drop": 2, "add": 2, "head": 3},
    }
    sizes = {"stem": 3 * 4 * 9 + 4, "inner": 4 * 4 * 9 + 4, "head": 50}
    assert layers["stem"].below == pytest.approx(sizes["stem"] / sum(sizes.values()))
    assert layers["add"].below == pytest.approx(1 - sizes["head"] / sum(sizes.values()))


def test_what_a_bypassed_layer_leaves() -> None:
    """Logits 3 x + x, of which the layer carries the second part: 3/4 of the difference is left."""

    def run(net: Any, x: Tensor) -> Any:
        x = x.flatten(1)
        return 3 * x + net.layer(x)

    network = Network(run, layer=nn.Identity())
    layer = found(network)["layer"]
    assert not layer.cut
    assert layer.left == pytest.approx(0.75, abs=1e-5)


def bottleneck() -> nn.Module:
    """A layer scale and a squeeze-and-excitation gate that start switched off, BatchNorm, a zero head."""

    def run(net: Any, x: Tensor) -> Any:
        x = net.bn(net.stem(net.before(x)))
        y = net.norm(x)
        x = net.block(x + net.scale * net.inner(torch.relu(y)))
        gate = net.gate(torch.sigmoid(net.squeeze(net.pool(torch.relu(x)))))
        return net.head((net.gated(x * gate)).mean((2, 3)))

    def build_it() -> nn.Module:
        network = Network(
            run,
            **{"before": nn.Dropout(0.5), "stem": conv(), "bn": nn.BatchNorm2d(4)},
            **{"norm": nn.Identity(), "inner": conv(4, 4), "block": nn.Identity()},
            **{"pool": nn.AdaptiveAvgPool2d(1), "squeeze": nn.Conv2d(4, 4, 1)},
            **{"gate": nn.Identity(), "gated": nn.Identity(), "head": nn.Linear(4, 10)},
        )
        network.scale = nn.Parameter(torch.full((4, 1, 1), 1e-6))
        for name in ("squeeze", "head"):
            for parameter in network.get_submodule(name).parameters():
                nn.init.zeros_(parameter)
        return network

    return made(build_it)


def test_disguises_are_those_of_the_trained_network() -> None:
    """Dropout hides none, and what starts at zero is none."""
    layers = found(bottleneck())
    assert named(layers, "disguise") == ["before", "stem"]
    assert named(layers, "affine") == ["before", "stem", "bn", "norm"]
    assert reasons(list(layers.values()))["bn"].startswith("image mixup but for the batch's")


def test_a_frozen_batch_norm_in_a_training_network_is_a_disguise() -> None:
    network = bottleneck().train()
    network.get_submodule("bn").eval()
    assert named(found(network), "disguise") == ["before", "stem", "bn", "norm"]


def test_the_network_stays_as_it_was() -> None:
    network = bottleneck().train()
    network.get_submodule("bn").eval()
    network.get_submodule("inner").requires_grad_(False)
    network.get_submodule("stem").weight.grad = torch.ones(4, 3, 3, 3)
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(network.get_submodule("inner"))
    network(torch.randn(2, *SHAPE))  # weight_norm now keeps a tensor with a history

    def state() -> list[object]:
        values = [*network.named_parameters(), *network.named_buffers()]
        tensors = [(name, id(each), each.clone(), each.requires_grad) for name, each in values]
        modes = [(name, module.training) for name, module in network.named_modules()]
        hooks = [len(module._forward_hooks) for module in network.modules()]
        return [*tensors, modes, hooks, torch.get_rng_state().tolist()]

    before = state()
    mixable_layers(network, SHAPE)
    for old, new in zip(before, state(), strict=True):
        if isinstance(old, tuple) and isinstance(new, tuple):
            assert old[:2] == new[:2]
            assert torch.equal(old[2], new[2])
            assert old[3] == new[3]
        else:
            assert old == new


@pytest.mark.parametrize("left", [False, True])
def test_a_class_token_beside_tokens_that_no_head_reads_is_a_cut(left: bool) -> None:
    def run(net: Any, x: Tensor) -> Any:
        tokens = net.stage(x.flatten(2).mT)
        token = net.token(tokens.mean(1, keepdim=True))
        return net.head(net.norm(torch.cat([token, tokens], 1))[:, 0])

    def stage(inputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh())

    modules = {"stage": stage(3), "token": stage(4), "norm": nn.LayerNorm(4)}
    network = made(lambda: Network(run, **modules, head=nn.Linear(4, 10)))
    layers = {layer.name: layer for layer in mixable_layers(network, SHAPE, left=left)}
    outer = [name for name in named(layers, "cut") if "." not in name]
    assert outer == ["input", "stage", "token", "norm", "head"]
    assert layers["token"].left == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions_are_listed(dtype: torch.dtype) -> None:
    network = bottleneck().to(dtype)
    layers = found(network)
    assert next(network.parameters()).dtype == dtype
    assert named(layers, "disguise") == ["before", "stem"]
    assert named(layers, "cut") == ["input", "before", "stem", "bn", "block", "gated", "head"]


def test_a_network_without_parameters_is_listed() -> None:
    network = nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), relu=nn.ReLU(), flat=nn.Flatten()))
    layers = found(network)
    assert named(layers, "disguise") == ["pool"]
    assert [layer.name for layer in stages(list(layers.values()))] == ["relu"]
    assert layers["flat"].same_as == "relu"
    assert {layer.below for layer in layers.values()} == {0.0}


@pytest.mark.parametrize(("many", "step"), [(15, 1), (16, 2), (30, 2), (31, 3), (45, 3)])
def test_of_many_stages_every_second_is_listed_and_the_last(many: int, step: int) -> None:
    names = [f"blocks.{number}" for number in range(many)]
    layers = [Layer(name, (4,), disguise=False) for name in ["input", *names, "norm"]]
    listed = [layer.name for layer in stages(layers)]
    assert listed == [*names[::step], "norm"]
    assert len(listed) <= 16
    assert len(all_stages(layers)) == many + 1
    said = {f"blocks.{n}": f"a stage between blocks.{n - 1} and blocks.{n + 1}" for n in (1, 3)}
    if step == 2:
        assert said.items() <= reasons(layers).items()
    assert len(reasons(layers)) == many + 1 - len(listed)


def test_what_flows_past_without_a_gradient_flows_past() -> None:
    def run(net: Any, x: Tensor) -> Any:
        carried = x.detach().mean((2, 3)).round()
        x = net.layer2(torch.relu(net.layer1(x)))
        return net.head(torch.cat([net.layer3(torch.relu(x)).mean((2, 3)), carried], 1))

    network = made(
        lambda: Network(
            run, layer1=conv(), layer2=conv(4, 4), layer3=conv(4, 4), head=nn.Linear(7, 10)
        )
    )
    assert named(found(network, (3, 1, 1)), "cut") == ["input", "head"]


def test_a_trunk_without_gradients_is_listed_by_numbers() -> None:
    def run(net: Any, x: Tensor) -> Any:
        with torch.no_grad():
            x = torch.relu(net.stem(x))
            x = net.block(x + net.inner(x))
        return net.head(x.mean((2, 3)))

    network = made(
        lambda: Network(
            run, stem=conv(), inner=conv(4, 4), block=nn.Identity(), head=nn.Linear(4, 10)
        )
    )
    layers = found(network)
    assert named(layers, "cut") == ["input", "stem", "block", "head"]
    assert layers["head"].same_as == "block"


def test_the_one_tensor_among_what_a_layer_returns_is_its_map() -> None:
    def run(net: Any, x: Tensor) -> Any:
        x = net.embed(x).flatten(2).transpose(1, 2)
        x = net.norm(x + net.attention(x, x, x, need_weights=False)[0])
        return net.head(x.mean(1))

    network = made(
        lambda: Network(
            run,
            **{"embed": conv(3, 8), "attention": nn.MultiheadAttention(8, 2, batch_first=True)},
            **{"norm": nn.LayerNorm(8), "head": nn.Linear(8, 10)},
        )
    )
    layers = found(network)
    assert layers["attention"].shape == (64, 8)
    assert not layers["attention"].cut
    assert layers["attention"].left
    assert named(layers, "cut") == ["input", "embed", "norm", "head"]
    assert named(found(nn.DataParallel(network)), "cut") == ["input", "embed", "norm", "head"]


def test_why_a_submodule_cannot_be_mixed() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    def run(net: Any, x: Tensor) -> Any:
        first, _ = net.pair(net.twice(net.twice(x.repeat(1, 2, 1, 1))[:, :3]))
        net.table(torch.arange(4))
        windows = net.windows(first.reshape(-1, 4))
        return (
            windows.reshape(len(x), -1)
            + net.mask((x > 0).flatten(1))
            + net.constant(x * 0)[:, 0, 0, :1]
        )

    network = Network(
        run,
        **{"pair": Pair(), "twice": nn.Tanh(), "windows": nn.ReLU(), "unused": nn.ReLU()},
        **{"mask": nn.Identity(), "constant": nn.Identity(), "table": nn.Embedding(5, 4)},
    )
    done = survey(network, SHAPE)
    assert done.refused == {
        "pair": "returns tuple, not one tensor",
        "twice": "runs 2 times",
        "windows": "its first dimension is not the batch",
        "unused": "does not run",
        "mask": "returns bool",
        "constant": "does not depend on the image",
        "table": "does not depend on the image",
    }
    assert [layer.name for layer in done.layers] == ["input"]
    assert done.output == (192,)


def test_a_network_that_refuses_the_images_says_why() -> None:
    with pytest.raises(UserError, match=r"does not accept 1x8x8 images\n.*channels"):
        mixable_layers(residual(), (1, 8, 8))


SMALL: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "cnn": (lambda: build(CnnConfig(channels=[4, 4, 4], width=8), (3, 8, 8), 10), 8),
    "preact_resnet18": (lambda: build(PreactResNet18Config(width=4), (3, 8, 8), 10), 8),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 32),
    "shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), 32),
    "mobilenet": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), 32),
    "vit": (
        lambda: torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=10),
        16,
    ),
}

STAGES = {
    "cnn": ["conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc1"],
    "preact_resnet18": ["layer1", "layer2", "layer3", "layer4", "classifier"],
    "resnet18": ["relu", "maxpool", "layer1", "layer2", "layer3", "layer4"],
    "shufflenet": ["conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"],
    "mobilenet": [*(f"features.{number}" for number in range(12)), "features", "classifier"],
    "vit": ["encoder.layers.encoder_layer_0", "encoder.layers", "encoder"],
}


@pytest.mark.parametrize("name", SMALL)
def test_cuts_by_the_graph_are_cuts_by_numbers(name: str) -> None:
    make, side = SMALL[name]
    network, shape = made(make), (3, side, side)
    layers = mixable_layers(network, shape)
    names = [layer.name for layer in layers if layer.name != "input"]
    held = held_constant(copy_of(network), shape, names)
    assert [layer.name for layer in layers[1:] if layer.cut] == [
        name for name in names if held[name] < 1e-4
    ]
    assert min((share for share in held.values() if share >= 1e-4), default=1.0) > 0.01
    assert [layer.name for layer in stages(layers)] == STAGES[name]
