"""Where a command's results lie, whatever Hydra does with the working directory."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ALONE, Command, cells, command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_results_are_in_the_same_place_with_hydras_chdir(
    run: Command, tmp_path: Path, sweep: tuple[str, ...]
) -> None:
    ended = run(*sweep, *ALONE, "layer=none", "hydra.job.chdir=true")
    assert ended.code == 0, ended.errors
    assert Path.cwd() == tmp_path
    assert len(cells(tmp_path)) == 1
    assert not [path for path in tmp_path.rglob("cells") if path.parent.parent.parent != tmp_path]
    printed = re.findall(r"outputs/\S+", ended.output)
    assert len(printed) >= 4
    assert all(Path(path.rstrip(":,")).exists() for path in printed)
    # It is the same network as without.
    assert "already there" in run(*ALONE, "layer=none").output


def test_bytes_that_are_no_text_are_refused_before_anything_is_written(
    run: Command, tmp_path: Path
) -> None:
    """As Python reads `データ` where the locale is not UTF-8, or a name in Latin-1 where it is."""
    ended = run(*ALONE, "dataset.title=\udce3\udc83\udc87")
    assert ended.code == 2
    assert "is not UTF-8 text here\n  set PYTHONUTF8=1" in ended.errors
    assert len(ended.errors.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []
