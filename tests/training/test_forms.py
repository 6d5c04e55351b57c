"""The form of a training: chosen, and explained in a line."""

import pytest
import torch

from hiddenmix.config.schema import Config
from hiddenmix.training.forms import choose_form


@pytest.mark.parametrize(
    ("asked", "device", "compiled"),
    [("auto", "cpu", False), (True, "cpu", True), (False, "cpu", False), ("auto", "cuda", False)],
)
def test_the_form_is_chosen_and_explained_in_a_line(
    asked: object, device: str, compiled: bool
) -> None:
    form = choose_form(Config(compile=asked, precision="bf16"), torch.device(device))
    assert form.compiled is compiled
    assert form.text.startswith("form: compiled" if compiled else "form: eager")
    assert "channels_last, bf16: " in form.text
    assert "\n" not in form.text
