"""Networks of timm, of the user, of all of torchvision, and weights to start from."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hiddenmix.config.errors import ConfigError, UserError
from hiddenmix.config.files import with_digests
from hiddenmix.config.schema import (
    CnnConfig,
    ImportConfig,
    ModelConfig,
    TimmConfig,
    TorchvisionConfig,
)
from hiddenmix.networks.building import bare, build
from hiddenmix.networks.layers import layers_of
from hiddenmix.networks.mixable import stages
from hiddenmix.networks.torchvision_networks import has_small_stem
from hiddenmix.networks.weights import take_weights
from hiddenmix.randomness import default_generators

NETWORK = """
from torch import nn

class MyNet(nn.Sequential):
    def __init__(self, width, classes, shape, fail=False):
        if fail:
            raise KeyError("no such width")
        super().__init__()
        self.stem = nn.Conv2d(shape[0], width, 3)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(width, classes)

def fixed(**others):
    return MyNet(4, 7, (3, 8, 8))

def number(): return 3

constant = 3
"""


def made(config: ModelConfig, shape: tuple[int, int, int] = (3, 32, 32)) -> nn.Module:
    with default_generators(0, "init"):
        return build(config, shape, 10)


def test_regnets_are_built_and_listed() -> None:
    """Their construction looks at values, which meta tensors do not have."""
    config = TorchvisionConfig(arch="regnet_y_400mf")
    assert made(config)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    found = layers_of(config, (3, 32, 32), 10)
    assert [layer.name for layer in stages(found)] == [
        *("stem", "trunk_output.block1", "trunk_output.block2", "trunk_output.block3"),
        "trunk_output",
    ]


LOOKS = {
    "a number of them": "self.conv.weight.detach().std().item()",
    "all as numbers": "self.conv.weight.tolist()",
    "as an array": "self.conv.weight.data.copy_(torch.from_numpy(2 * self.conv.weight.detach().numpy()))",
    "whether one is positive": "1 if (self.conv.weight > 0).any() else 0",
    "copied by name": "self.load_state_dict({k: v.clone() for k, v in self.state_dict().items()})",
}


@pytest.mark.parametrize("look", LOOKS)
def test_networks_that_look_at_their_values_as_they_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looking_net.py").write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n"
        "        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU()\n"
        f"        {LOOKS[look]}\n        self.head = nn.Linear(4, classes)\n"
        "    def forward(self, x): return self.head(self.act(self.conv(x)).mean((2, 3)))\n"
    )
    monkeypatch.delitem(sys.modules, "looking_net", raising=False)
    importlib.invalidate_caches()
    config = ImportConfig(target="looking_net.Net")
    assert made(config)(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    assert [layer.name for layer in stages(layers_of(config, (3, 8, 8), 10))] == ["act"]


@pytest.mark.parametrize(
    ("arch", "arguments", "expected"),
    [
        ("test_resnet", None, ["conv1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"]),
        ("test_vit", {"patch_size": 8}, [*(f"blocks.{n}" for n in range(5)), "blocks", "norm"]),
    ],
)
def test_networks_of_timm(arch: str, arguments: Any, expected: list[str]) -> None:
    config = TimmConfig(arch=arch, arguments=arguments)
    network = made(config, (1, 32, 32)).train()
    assert network(torch.randn(4, 1, 32, 32)).shape == (4, 10)
    assert [layer.name for layer in stages(layers_of(config, (1, 32, 32), 10))] == expected


def test_timms_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"model.arch=test_resnets .*\n.*test_resnet"):
        made(TimmConfig(arch="test_resnets"))
    with pytest.raises(UserError, match=r"(?s)model.arch=test_vit cannot be built.*depht"):
        made(TimmConfig(arch="test_vit", arguments={"depht": 3}))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'timm>=1.0'"):
        made(TimmConfig())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ImportConfig]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_net.py").write_text(NETWORK)
    (tmp_path / "broken_net.py").write_text("import torch\nx = = 3\n")
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    importlib.invalidate_caches()

    def config(target: str, **arguments: object) -> ImportConfig:
        return ImportConfig(target=target, arguments=arguments)

    return config


def test_an_own_network_is_called_with_arguments_classes_and_shape(own: Any) -> None:
    network = made(own("own_net.MyNet", width=5), (1, 8, 8))
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert network.get_submodule("stem").weight.shape == (5, 1, 3, 3)
    given = made(own("own_net.MyNet", width=5, classes=3), (1, 8, 8))
    assert given(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    assert isinstance(made(own("torch.nn.Flatten", start_dim=2)), nn.Flatten)


@pytest.mark.parametrize(
    ("signature", "made_of"),
    [
        ("in_channels, num_classes", (2, 10)),
        ("in_channels=5, num_classes=1000", (5, 10)),  # channels of a layer within, it may be
        ("*, num_classes, in_channels=5", (5, 10)),
    ],
)
def test_classes_and_channels_have_torchs_names_too(
    own: Any, tmp_path: Path, signature: str, made_of: tuple[int, int]
) -> None:
    code = f"from torch.nn import Linear\nmake = lambda {signature}: Linear(in_channels, num_classes)\n"
    (tmp_path / "named_net.py").write_text(code)
    importlib.invalidate_caches()
    sys.modules.pop("named_net", None)
    network = made(own("named_net.make"), (2, 8, 8))
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == made_of
    given = made(own("named_net.make", in_channels=4, num_classes=3), (2, 8, 8))
    assert isinstance(given, nn.Linear)
    assert (given.in_features, given.out_features) == (4, 3)


@pytest.mark.parametrize(
    ("target", "arguments", "says"),
    [
        (
            "own_net.MyNet",
            {},
            r"calling own_net.MyNet failed\n  TypeError: .*'width' \(model.arguments=\{name: value\} ",
        ),
        (
            "own_net.MyNet",
            {"width": 3, "fail": True},
            r"calling own_net.MyNet failed\n  KeyError: .*no such width.* \(own_net.py:7\)",
        ),
        ("own_net.Net", {}, r"model.target=own_net.Net is not allowed\n  allowed: own_net.MyNet"),
        ("own_net.constant", {}, "allowed: own_net.MyNet"),
        ("own_net.number", {}, "made a int\n"),
        ("own_net.deeper.Net", {}, "importing own_net.deeper failed\n  ModuleNotFoundError"),
        ("broken_net.Net", {}, r"SyntaxError: .*\(broken_net.py:2\)"),
    ],
)
def test_mistakes_in_an_own_network_are_two_lines(
    own: Any, target: str, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        made(own(target, **arguments))
    assert len(str(caught.value).splitlines()) == 2


def test_an_own_network_for_other_classes_is_refused(own: Any) -> None:
    with pytest.raises(UserError, match=r"returns a tensor \[batch, 7\] .*\n.*10 classes"):
        layers_of(own("own_net.fixed"), (3, 8, 8), 10)


def test_changed_code_is_not_taken_for_what_was_trained(own: Any, tmp_path: Path) -> None:
    config = own("own_net.MyNet", width=5)
    config.source = "0123456789abcdef"
    with pytest.raises(UserError, match=r"own_net\.MyNet: its code has changed"):
        made(config)


def test_code_that_changed_in_this_process_is_not_taken_for_that_of_its_file(
    own: Any, tmp_path: Path
) -> None:
    """As in a notebook: Python goes on with the module that it imported."""
    config, path = own("own_net.MyNet", width=5), tmp_path / "own_net.py"
    made(with_digests(config))
    path.write_text(NETWORK.replace("stem", "trunk"))
    with pytest.raises(UserError, match=r"since this process imported it\n  restart Python"):
        made(with_digests(config))
    path.write_text(NETWORK + "# a comment\n")
    made(with_digests(config))
    path.write_text(NETWORK.replace("stem", "trunk") + "reloaded = True\n")
    importlib.invalidate_caches()
    importlib.reload(sys.modules["own_net"])
    assert hasattr(made(with_digests(config)), "trunk")


def test_the_size_of_the_images_decides_the_stem() -> None:
    resnet, own = TorchvisionConfig(), TorchvisionConfig(small_stem=False)
    assert has_small_stem(resnet, (3, 64, 64))
    assert not has_small_stem(resnet, (3, 65, 64))
    assert not has_small_stem(own, (3, 32, 32))
    assert has_small_stem(TorchvisionConfig(arch="vgg11"), (3, 224, 224))  # which has no other
    assert made(resnet, (3, 64, 64)).get_submodule("conv1").stride == (1, 1)
    assert made(resnet, (3, 96, 96)).get_submodule("conv1").stride == (2, 2)


SMALL = CnnConfig(channels=[4, 4, 4], width=8)


def test_weights_at_hand_are_the_start(tmp_path: Path) -> None:
    with default_generators(7, "init"):
        stored = build(SMALL, (3, 32, 32), 100)
    path = str(tmp_path / "weights.safetensors")
    save_file({**stored.state_dict(), "extra": torch.zeros(1)}, path)
    fresh = made(SMALL)
    config = CnnConfig(channels=[4, 4, 4], width=8, weights=path)
    network = made(config)
    for name, value in network.state_dict().items():
        head = name.startswith("classifier")
        source = fresh if head or name.endswith("num_batches_tracked") else stored
        assert torch.equal(value, source.state_dict()[name]), name
    assert take_weights(fresh, path) == (
        f"weights of {path}: 20 of 22 tensors; start anew: classifier.linear.weight (10x8 here, 100x8 "
        "there), classifier.linear.bias (10 here, 100 there); no place for 1 tensor of the file"
    )
    # Of a network that is evaluated, the file may be gone.
    Path(path).unlink()
    bare(config, (3, 32, 32), 10)


def test_weights_that_changed_are_not_taken_for_those_recorded(tmp_path: Path) -> None:
    path = str(tmp_path / "weights.safetensors")
    save_file(made(SMALL).state_dict(), path)
    config = with_digests(replace(SMALL, weights=path))
    first = made(config)
    other = {name: value + 1 for name, value in first.state_dict().items()}
    save_file(other, path)
    with pytest.raises(UserError, match=r"weights\.safetensors: the file has changed since\n  put"):
        made(config)
    assert with_digests(config).weights_digest != config.weights_digest
    found = made(with_digests(config)).state_dict()
    assert torch.equal(found["classifier.linear.bias"], other["classifier.linear.bias"])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"other": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"no weight fits .*\n  here classifier.*in the file other"):
        made(CnnConfig(weights=str(path)))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"model.weights=\S+ cannot be read"):
        made(CnnConfig(weights=str(path)))
