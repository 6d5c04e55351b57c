"""`model=preact_resnet18`: the pre-activation ResNet-18 of the mixup papers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiddenmix.config import PreactResNet18Config


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
