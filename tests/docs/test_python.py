"""The Python of README.md and docs/ runs, and prints what stands below it. loops.md has its own test,
which compares each example with the training written by hand (tests/mixing/test_loops.py), and so has
classify.py, which needs a study (tests/commands/test_own_data.py)."""

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hiddenmix
from tests.docs.pages import PAGES, blocks
from tests.support.commands import SMALL

EXAMPLES = [
    pytest.param(
        block.text, after.text if after.language == "text" else None, id=f"{page.stem}-{at}"
    )
    for page in PAGES
    if page.stem != "loops"
    for at, (block, after) in enumerate(pairwise([*blocks(page), *blocks(page)[:1]]))
    if block.language == "python" and "# classify.py" not in block.text
]


class Network(torch.nn.Module):
    """What README.md calls `network`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(48, 8), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.layer1(images))


def small_run(request: list[str], **options: Any) -> Any:
    """`hiddenmix.run` of networks of seconds."""
    from hiddenmix.study import run

    return run([*request, *SMALL], quiet=True, **options)


@pytest.mark.parametrize(("text", "printed"), EXAMPLES)
def test_an_example_runs(
    text: str, printed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hiddenmix, "run", small_run, raising=False)
    scope = {
        **{"hiddenmix": hiddenmix, "generator": np.random.default_rng(0), "network": Network()},
        **{"images": torch.randn(4, 3, 4, 4), "labels": torch.tensor([0, 1, 2, 0])},
    }
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(text, scope)  # noqa: S102
    if "loss" in scope:
        assert torch.isfinite(scope["loss"])  # type: ignore[arg-type]
    if printed is None:
        assert said.getvalue() == ""
        return
    number = r"\d+\.\d+"
    assert re.sub(number, "", said.getvalue()) == re.sub(number, "", printed)
    ours = [float(each) for each in re.findall(number, said.getvalue())]
    assert ours == pytest.approx([float(each) for each in re.findall(number, printed)], abs=0.02)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
    assert sum(printed is not None for _, printed in (each.values for each in EXAMPLES)) >= 2
