"""`model=cnn`: three convolution stages and a fully connected one."""

from collections import OrderedDict

from torch import nn

from hiddenmix.config import CnnConfig, UserError

SMALLEST_SIDE = 8
"""Height and width in pixels from which the network works: three poolings halve it."""


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
