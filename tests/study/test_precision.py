"""A study of precision=bf16 is measured in bfloat16 too, whatever is measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from hiddenmix.evaluation.measuring import Measurement
from tests.support.commands import ALONE, cells, command


def test_everything_is_measured_in_the_precision_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Test curve, clean, shifted and adversarial images, validation and outside sets."""
    images, labels = np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8), np.arange(20) % 10
    np.savez(tmp_path / "far.npz", x_test=images, y_test=labels)
    inner = Measurement.logits
    passes: list[tuple[int, str]] = []

    def logits(self: Measurement, pixels: Tensor) -> Tensor:
        passes.append((len(self.images), self.precision))
        return inner(self, pixels)

    monkeypatch.setattr(Measurement, "logits", logits)
    ended = command(tmp_path, monkeypatch, capsys)(
        *(*ALONE, "precision=bf16", "evaluation=full", "evaluation_images=30"),
        *("evaluate_every=1", "dataset.validation=0.2", "dataset.outside={far: far.npz}"),
    )
    assert ended.code == 0, ended.errors
    # 360 test images and 30 of them, those held out for validation, and the outside set.
    assert {count for count, _ in passes} == {360, 30, 287, 20}
    assert {precision for _, precision in passes} == {"bf16"}
    [cell] = cells(tmp_path)
    assert json.loads((cell / "result.json").read_text())["config"]["precision"] == "bf16"
