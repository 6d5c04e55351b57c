"""The networks, and which of their layers can be mixed.

A layer is named by its dotted submodule name, as in `network.get_submodule`; `input` is the network's
input. The built-in networks end each stage after the non-linearity, because a convolution is affine:
mixing its bare output equals mixing its input (design of the study, "image mixup in disguise").
"""

import difflib
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix.config import (
    CnnConfig,
    ConfigError,
    ModelConfig,
    PreactResNet18Config,
    TorchvisionConfig,
    UserError,
)

SMALLEST_SIDE = 8
"""Height and width in pixels from which the built-in networks work (three poolings halve it)."""


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
            return _torchvision(config, shape, classes)
        case _:
            raise ConfigError("model.name", config.name, "cnn, preact_resnet18, torchvision")


class Cnn(nn.Sequential):
    """Three 3x3 convolution stages with max pooling and one fully connected stage.

    Stages: conv1, pool1, conv2, pool2, conv3, pool3, fc1, classifier; a convolution stage is
    convolution -> [BatchNorm] -> ReLU, so `conv1` names the map after the non-linearity and
    `conv1.conv` the bare convolution. Input [B, C, H, W] with H, W >= 8, output logits [B, classes].
    """

    def __init__(self, config: CnnConfig, shape: tuple[int, int, int], classes: int) -> None:
        inputs, height, width = shape
        if min(height, width) < SMALLEST_SIDE:
            raise UserError(
                f"model=cnn does not accept {inputs}x{height}x{width} images\n"
                f"  allowed: a height and width of at least {SMALLEST_SIDE} pixels"
            )
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for number, outputs in enumerate(config.channels, start=1):
            stages[f"conv{number}"] = _conv_stage(inputs, outputs, config.batch_norm)
            stages[f"pool{number}"] = nn.MaxPool2d(2)
            inputs = outputs
        features = inputs * (height // 8) * (width // 8)
        fc1: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        classifier: OrderedDict[str, nn.Module] = OrderedDict()
        if config.dropout > 0:
            fc1["dropout"] = nn.Dropout(config.dropout)
            classifier["dropout"] = nn.Dropout(config.dropout)
        fc1["linear"] = nn.Linear(features, config.width, bias=not config.batch_norm)
        if config.batch_norm:
            fc1["norm"] = nn.BatchNorm1d(config.width)
        fc1["relu"] = nn.ReLU()
        classifier["linear"] = nn.Linear(config.width, classes)
        stages["fc1"] = nn.Sequential(fc1)
        stages["classifier"] = nn.Sequential(classifier)
        super().__init__(stages)


def _conv_stage(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    stage: OrderedDict[str, nn.Module] = OrderedDict()
    stage["conv"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm)
    if batch_norm:
        stage["norm"] = nn.BatchNorm2d(outputs)
    # In place: one map less to write and to keep, and BatchNorm keeps its input, not its output.
    stage["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(stage)


class PreactBlock(nn.Module):
    """Pre-activation residual block: (BatchNorm -> ReLU -> 3x3 convolution) twice plus a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x), inplace=True)
        # The projection takes the activated map, the identity the raw one (He et al. 2016, fig. 4e).
        carried = x if self.shortcut is None else self.shortcut(activated)
        y = self.conv1(activated)
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        return torch.add(y, carried)


class PreactResNet18(nn.Module):
    """Pre-activation ResNet-18 for small images: He et al. 2016, "Identity Mappings".

    `layer1` .. `layer4` name the outputs of the four stages, as in Manifold Mixup; the stem `conv1`
    is a bare convolution, so mixing there is image mixup in disguise.
    """

    def __init__(self, config: PreactResNet18Config, channels: int, classes: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(PreactBlock(width, width, 1), PreactBlock(width, width, 1))
        self.layer2 = self._stage(width, 2 * width)
        self.layer3 = self._stage(2 * width, 4 * width)
        self.layer4 = self._stage(4 * width, 8 * width)
        self.norm = nn.BatchNorm2d(8 * width)
        self.classifier = nn.Linear(8 * width, classes)

    @staticmethod
    def _stage(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(PreactBlock(inputs, outputs, 2), PreactBlock(outputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        x = F.relu(self.norm(x), inplace=True).mean(dim=(2, 3))
        logits: Tensor = self.classifier(x)
        return logits


def _torchvision(config: TorchvisionConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    from torchvision import models

    names = models.list_models(module=models)
    if config.arch not in names:
        near = difflib.get_close_matches(config.arch, names, n=5, cutoff=0.3) or names[:5]
        raise ConfigError("model.arch", config.arch, ", ".join(near) + f" (of {len(names)})")
    channels, height, width = shape
    options: dict[str, object] = {"weights": None, "num_classes": classes}
    if config.arch in ("googlenet", "inception_v3"):
        # Auxiliary heads would make the training output a tuple.
        options |= {"aux_logits": False, "init_weights": True}
    if config.arch.startswith("vit_"):
        options["image_size"] = height
    try:
        network: nn.Module = models.get_model(config.arch, **options)
    except ValueError as error:
        raise UserError(
            f"model.arch={config.arch} does not accept {height}x{width} images: {error}"
        ) from error
    if isinstance(network, models.ResNet) and config.small_stem:
        stem = network.conv1
        network.conv1 = nn.Conv2d(stem.in_channels, stem.out_channels, 3, 1, 1, bias=False)
        network.maxpool = nn.Identity()
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            first = nn.Conv2d(
                channels,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]  # stored as tuple[int, ...]
                module.stride,  # type: ignore[arg-type]
                module.padding,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, first)
            return


@dataclass(frozen=True)
class Layer:
    """A place where a network can be mixed."""

    name: str
    """Dotted submodule name, or `input`."""

    shape: tuple[int, ...]
    """Shape of its output without the batch dimension."""

    disguise: bool
    """Whether the map up to here is affine, so that mixing here is image mixup in disguise."""


def mixable_layers(network: nn.Module, shape: tuple[int, int, int]) -> list[Layer]:
    """The layers of `network` that run exactly once in a forward pass and return one batch tensor.

    One forward pass in evaluation mode, on three Gaussian images x, x' and 0.3 x + 0.7 x' of `shape`
    (C, H, W), both finds the layers and tests numerically whether h(sum w x) = sum w h(x) holds. The
    training mode comes back afterwards. Raises `UserError` where the network refuses the shape.
    """
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(2, *shape, generator=generator)
    images = torch.cat([pair, 0.3 * pair[:1] + 0.7 * pair[1:]])
    images = images.to(next(network.parameters()).device)
    found: dict[str, list[Layer | None]] = {}

    def listen(name: str) -> None:
        def hook(module: nn.Module, args: object, output: object) -> None:
            found.setdefault(name, []).append(_layer(name, output))

        handles.append(network.get_submodule(name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    training = network.training
    try:
        for name, _ in network.named_modules():
            if name:
                listen(name)
        network.eval()
        with torch.no_grad():
            network(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, shape))
        reason = str(error).splitlines()[0]
        raise UserError(f"the network does not accept {size} images\n  {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    order = [Layer("input", shape, False)]
    once = [results[0] for results in found.values() if len(results) == 1]
    return order + [layer for layer in once if layer is not None]


def _layer(name: str, output: object) -> Layer | None:
    if not isinstance(output, Tensor) or not output.is_floating_point() or len(output) != 3:
        return None
    first, second, mixed = output.double().unbind()
    distance = (0.3 * first + 0.7 * second - mixed).abs().max()
    # float32 rounding through a deep affine stack stays far below 1e-4 of the map's own range.
    scale = (first - second).abs().max()
    return Layer(name, tuple(output.shape[1:]), bool(distance <= 1e-4 * scale))


def check_layers(names: list[str], available: list[Layer]) -> list[Layer]:
    """The layers called `names`; raises `ConfigError` with the available names for any other."""
    by_name = {layer.name: layer for layer in available}
    for name in names:
        if name not in by_name:
            stages = [key for key in by_name if "." not in key] or list(by_name)
            if "." in name or name in {key.split(".")[0] for key in by_name}:
                stages = list(by_name)
            text = ", ".join(["none", *stages[:60]]) + ("\u2026" if len(stages) > 60 else "")
            if "." in name:
                text += " (what runs once in a pass and returns one map)"
            raise ConfigError("layer", name, text)
    return [by_name[name] for name in names]
