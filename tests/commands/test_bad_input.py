"""Every row of the table in bad_input.py."""

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiddenmix import evaluate
from hiddenmix.report.__main__ import main as report
from tests.support.bad_input import ROWS, STUDY, make_images
from tests.support.bad_values import Bad, Before, Gets
from tests.support.commands import Command, Ended, at_step, cells, command, outcome, undisturbed

PLACES = {"outputs", "images", "home"}
"""Where the study lies, the images with their cache, and the user's cache."""

PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "evaluate": evaluate.main,
    "report": report,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return command(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def made() -> dict[Before, Path]:
    """Working directories of each kind, which the first row that needs one makes."""
    return {}


def arrange(row: Bad, folder: Path, run: Command, made: dict[Before, Path], store: Path) -> None:
    """Lay out in `folder` what the row begins with."""
    if row.before is Before.IMAGES:
        make_images(folder)
    elif row.before is not Before.NOTHING:
        if row.before not in made:
            with pytest.MonkeyPatch.context() as patch:
                if row.before is Before.INTERRUPTED:
                    at_step(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))
                assert run(*STUDY).code == (143 if row.before is Before.INTERRUPTED else 0)
            made[row.before] = store / row.before.name
            shutil.move(folder / "outputs", made[row.before])
        shutil.copytree(made[row.before], folder / "outputs", symlinks=True)
    if row.prepare is not None:
        in_study = row.before in (Before.FINISHED, Before.INTERRUPTED)
        row.prepare(cells(folder)[0] if in_study else folder)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def given(row: Bad, run: Command, capsys: Any) -> Ended:
    if row.program == "train":
        in_study = row.before in (Before.FINISHED, Before.INTERRUPTED)
        return run(*(STUDY if in_study else ()), *row.arguments)
    capsys.readouterr()
    code = PROGRAMS[row.program](list(row.arguments))
    said = capsys.readouterr()
    return Ended(code, said.out, said.err)


@pytest.mark.filterwarnings("default::RuntimeWarning")  # the cache that cannot be written
@pytest.mark.parametrize("row", ROWS, ids=[row.name[:60] for row in ROWS])
def test_bad_input(
    row: Bad,
    run: Command,
    made: dict[Before, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: Any,
) -> None:
    arrange(row, tmp_path, run, made, tmp_path_factory.getbasetemp())
    before = tree(tmp_path)
    ended = given(row, run, capsys)
    said = ended.output + ended.errors
    assert re.search(row.says, said), said
    assert "Traceback" not in said
    assert not (tmp_path / "executed").exists()
    if row.gets is Gets.REFUSED:
        assert ended.code == 2
        assert 1 <= len(ended.errors.splitlines()) <= 2
        written = {path for path in tree(tmp_path) - before if ".hiddenmix" not in path}
        assert written == set()
    else:
        assert ended.code == (1 if row.gets is Gets.FAILED else 0), said
        assert {Path(path).parts[0] for path in tree(tmp_path) - before} <= PLACES
    if row.same:
        assert outcome(tmp_path / "outputs/default") == undisturbed(run, *STUDY)


def test_the_table_is_long_enough() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60
