"""Networks are looked at as they train: their own modes, precisions, layouts and lazy modules."""

import importlib
import sys
from collections import UserDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiddenmix.config.errors import UserError
from hiddenmix.config.schema import CnnConfig, ImportConfig
from hiddenmix.networks.building import build
from hiddenmix.networks.layers import layers_of, layout_of
from hiddenmix.networks.mixable import mixable_layers
from hiddenmix.networks.survey import Layer, survey
from hiddenmix.randomness import default_generators

SHAPE = (3, 8, 8)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.GELU()
        self.head = nn.Linear(4, 10)

    def maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.act(self.bn(self.conv(x)))
        return maps

    def forward(self, x: Tensor) -> Any:
        return self.head(self.maps(x).mean((2, 3)))


def made(build_it: Callable[[], nn.Module]) -> nn.Module:
    with default_generators(0, "init"):
        return build_it()


def disguises(layers: list[Layer]) -> list[str]:
    return [layer.name for layer in layers if layer.disguise]


IMPORTED = """
import torch
from torch import nn
from tests.networks.test_as_trained import Network

class Kept(Network):
    def train(self, mode=True):
        super().train(mode)
        self.bn.eval()  # returns nothing, as one may forget

class Thawed(Network):
    def __init__(self):
        super().__init__()
        self.bn.eval()

class Viewing(Network):
    def forward(self, x):
        return self.head(self.maps(x).view(len(x), -1)[:, :4])

class ViewingInEvaluation(Network):
    def forward(self, x):
        x = self.maps(x)
        return self.head((x.flatten(1) if self.training else x.view(len(x), -1))[:, :4])

class Lazy(Network):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.head = nn.LazyConv2d(4, 3), nn.LazyLinear(classes)

class Unused(Network):
    def __init__(self):
        super().__init__()
        self.other = nn.LazyLinear(3)
"""


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "as_trained_net.py").write_text(IMPORTED)
    importlib.invalidate_caches()
    yield lambda name: ImportConfig(target=f"as_trained_net.{name}")
    sys.modules.pop("as_trained_net", None)


def test_modes_are_those_that_training_brings_about(imported: Any) -> None:
    """Training calls `train()`: it thaws what was frozen at the start, unless that is overridden."""
    assert disguises(layers_of(imported("Kept"), SHAPE, 10)) == ["conv", "bn"]
    assert disguises(layers_of(imported("Thawed"), SHAPE, 10)) == ["conv"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_within_a_network_hides_no_disguise(dtype: torch.dtype) -> None:
    class Cast(Network):
        def forward(self, x: Tensor) -> Any:
            with torch.autocast("cpu", dtype=dtype):
                return super().forward(x).float()

    network = made(Cast)
    layers = {layer.name: layer for layer in mixable_layers(network, SHAPE)}
    assert disguises(list(layers.values())) == ["conv"]
    assert [name for name, layer in layers.items() if layer.affine] == ["conv", "bn"]
    assert all(layer.cut for layer in layers.values())
    # Nor is a nonlinearity one that is 0.3 % off, which a tolerance for bfloat16 would let pass.
    network.bn = nn.Tanh()
    with torch.no_grad():
        network.get_parameter("conv.weight").mul_(0.1)
        network.get_parameter("conv.bias").zero_()
    assert disguises(mixable_layers(network, SHAPE)) == ["conv"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_in_a_network_of_its_own_is_listed(dtype: torch.dtype) -> None:
    class Half(Network):
        def forward(self, x: Tensor) -> Any:
            maps = self.conv(x.to(dtype)).to(torch.float32)
            return self.head(self.act(self.bn(maps)).mean((2, 3)))

    network = made(Half)
    network.get_submodule("conv").to(dtype)
    layers = mixable_layers(network, SHAPE, left=True)
    assert disguises(layers) == ["conv"]
    assert [layer.name for layer in layers if layer.cut] == ["input", "conv", "bn", "act", "head"]
    assert network.get_parameter("conv.weight").dtype == dtype


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "normed", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm]
)
def test_spectral_norm_hides_no_disguise(normed: Any) -> None:
    """Its power iteration goes on in every training pass, but no further than one in a step."""
    network = made(Network)
    network.conv = normed(network.get_submodule("conv"), n_power_iterations=1)
    for name, value in network.named_buffers():
        if name.endswith(("_u", "_v")):  # far from converged
            value.copy_(nn.functional.normalize(torch.arange(1.0, len(value) + 1) ** 4, dim=0))
    before = {name: value.clone() for name, value in network.named_buffers()}
    assert "conv" in disguises(mixable_layers(network, SHAPE))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_what_is_initialised_by_the_first_batch_is_so_once() -> None:
    class FirstBatch(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.tensor(False))
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            if not self.seen:
                self.scale.data.copy_(1 / x.detach().std((0, 2, 3))[:, None, None])
                self.seen = torch.tensor(True)
            return x * self.scale

    network = made(Network)
    network.bn = FirstBatch()
    assert disguises(mixable_layers(network, SHAPE)) == ["conv", "bn"]


def test_the_layout_is_one_in_which_the_network_runs(imported: Any) -> None:
    assert layout_of(CnnConfig(channels=[4, 4, 4], width=8), SHAPE, 10) == torch.channels_last
    assert layout_of(imported("Kept"), SHAPE, 10) == torch.channels_last
    assert layout_of(imported("Viewing"), SHAPE, 10) == torch.contiguous_format
    assert layout_of(imported("ViewingInEvaluation"), SHAPE, 10) == torch.contiguous_format
    # Where it runs in neither, its layers say why.
    assert layout_of(imported("Kept"), (1, 8, 8), 10) == torch.channels_last


def test_lazy_modules_are_given_their_sizes(imported: Any) -> None:
    config = imported("Lazy")
    first, second = (made(lambda: build(config, SHAPE, 10)) for _ in range(2))
    assert first.get_parameter("conv.weight").shape == (4, 3, 3, 3)
    assert first.training
    assert first.get_buffer("bn.num_batches_tracked") == 0
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert disguises(layers_of(config, SHAPE, 10)) == ["conv"]
    # Of one's own, a copy is.
    network = Network()
    network.head = nn.LazyLinear(10)
    assert disguises(mixable_layers(network, SHAPE)) == ["conv"]
    assert isinstance(network.head, nn.LazyLinear)


def test_a_lazy_module_that_does_not_run_is_named(imported: Any) -> None:
    with pytest.raises(
        UserError, match=r"other\.weight has no value: .*lazy module\b.*\n"
    ) as found:
        layers_of(imported("Unused"), SHAPE, 10)
    assert len(str(found.value).splitlines()) == 2


class Closed(Mapping[str, Any]):
    """A mapping that is not made of one."""

    def __init__(self, first: str, value: Any) -> None:
        self._inside = {first: value}

    def __getitem__(self, key: str) -> Any:
        return self._inside[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inside)

    def __len__(self) -> int:
        return len(self._inside)


Named = namedtuple("Named", ["maps", "rest"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"maps": x, "ids": torch.arange(3)},
        lambda x: UserDict(maps=x),
        lambda x: Named(x, [None]),
        lambda x: Closed("maps", x),
    ],
)
def test_a_layer_is_listed_if_what_it_returns_can_be_replaced(wrap: Any) -> None:
    class Wrapping(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return wrap(x.tanh())

    class Wrapped(Network):
        def forward(self, x: Tensor) -> Any:
            found = self.bn(self.conv(x))
            maps = found[0] if isinstance(found, tuple) else found["maps"]
            return self.head(self.act(maps).mean((2, 3)))

    network = made(Wrapped)
    network.bn = Wrapping()
    done = survey(network, SHAPE)
    names = [layer.name for layer in done.layers]
    if isinstance(wrap(torch.ones(1)), Closed):
        assert done.refused == {"bn": "returns Closed, which cannot be made anew"}
        assert names == ["input", "conv", "act", "head"]
    else:
        assert names == ["input", "conv", "bn", "act", "head"]


def test_complex_maps_are_listed_as_they_can_be_mixed() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            spectrum: Tensor = torch.fft.fft2(x)
            return spectrum

    class Spectral(Network):
        def forward(self, x: Tensor) -> Any:
            return self.head(self.act(self.bn(self.conv(x)).abs()).mean((2, 3)))

    network = made(Spectral)
    network.bn = Spectrum()
    layers = {layer.name: layer for layer in mixable_layers(network, SHAPE)}
    assert disguises(list(layers.values())) == ["conv", "bn"]
    assert layers["bn"].cut
