"""What is said of a layer before training depends on the operation: convolutions move no boxes."""

import dataclasses

import pytest
from rich.console import Console

from hiddenmix.config.schema import Config
from hiddenmix.study.announcement import warn_of_layers
from hiddenmix.study.planning import Plan
from hiddenmix.terminal import Display


@pytest.mark.parametrize(
    ("operation", "words"),
    [("mixup", "is image mixup in disguise"), ("cutmix", "CutMix there is close to image CutMix")],
)
def test_a_bare_convolution(operation: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = dataclasses.replace(Config(), layer="conv1.conv", operation=operation)
    warn_of_layers(Display(Console(width=200), 1), Plan({"one": config}, {}))
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("warning: layer=conv1.conv")
    assert words in said
    assert said.count("warning") == 1
