"""Evaluations added to a study's finished networks, without training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.text import Text

from hiddenmix.config import UserError, from_plain, show
from hiddenmix.study.devices import choose_device
from hiddenmix.study.finished import code_of
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.measuring import OtherDataError, add_evaluation, dropped, lacking
from hiddenmix.study.store import Cell, check_study, read_study, study_locked
from hiddenmix.system import Interrupts
from hiddenmix.terminal import clean, make_console

_PATIENCE = 60
"""Seconds that are waited for a cell which another process holds."""


def evaluate_study(
    folder: Path,
    device: str = "auto",
    *,
    root: str | None = None,
    targets: Sequence[str] = (),
    outside: Mapping[str, str] | None = None,
    images: int | None = None,
) -> int:
    """Measure the finished cells of a study in full, where they lack it, and write its report.

    `root`: where the data are now; `targets`: what `dataset=import` and `model=import` may import,
    since a study may come from others; `outside`: outside sets instead of those of the cells' own
    configurations; `images`: at most so many test images. Returns the exit code: 1 if a network could
    not be measured, 2 if the data are not those that it was trained on. Raises `UserError`.
    """
    console = make_console()

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    chosen = choose_device(device, 0)
    cells = list(_finished(folder, say))
    if not cells:
        raise UserError(f"{show(folder)} holds no finished cells to evaluate")
    check_study(folder.resolve())
    loaded = LoadedData(console, chosen)
    LoadedData.clear()
    codes = {0}
    with Interrupts().installed():
        for number, (cell, found) in enumerate(cells, start=1):
            config = cell.config
            config.evaluation = "full"
            config.dataset.root = root if root is not None else config.dataset.root
            config.dataset.outside = (
                dict(outside) if outside is not None else config.dataset.outside
            )
            config.evaluation_images = images if images is not None else config.evaluation_images
            if foreign := sorted(code_of(config) - set(targets)):
                codes.add(2)
                names = " ".join(f"--target {show(each)}" for each in foreign)
                say(
                    f"[{number}/{len(cells)}] {cell.folder.name}: refused: its data or network come "
                    f"from code that is imported only where it is named: {names}"
                )
                continue
            code, note = _evaluate(cell, found, loaded, chosen)
            codes.add(code)
            say(f"[{number}/{len(cells)}] {cell.folder.name}: {note}")
        LoadedData.clear()
        # Imported here: pandas and scipy take a second that no refused command should wait for.
        from hiddenmix.report import write_report

        with study_locked(folder):
            say(f"report: {write_report(folder)}")
    return max(codes)


def _evaluate(
    cell: Cell, found: dict[str, Any], loaded: LoadedData, device: torch.device
) -> tuple[int, str]:
    """Measure one finished cell where it lacks something; the exit code, and what is said of it."""
    sets = partial(loaded.outside, cell.config)
    note = "already evaluated"
    with cell.locked(timeout=_PATIENCE) as mine:
        if not mine:
            return 0, "another process holds it"
        now = cell.result() or found  # another process may have evaluated it meanwhile
        lacks = None
        try:
            lacks = lacking(cell, now, True, sets)
        except UserError as error:
            note += f"; whether its outside sets have changed is not known: {clean(error)}"
        if lacks is None:
            return 0, note
        try:
            new = add_evaluation(cell, now, loaded.get(cell.config), device, sets(), lacks)
        except (OtherDataError, UserError) as error:
            return 2, f"refused: {clean(error)}"
        except (OSError, ValueError, RuntimeError) as error:
            return 1, f"failed: {clean(error)}"
        return 0, f"evaluated{dropped(now, new)}"


def _finished(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The finished cells and their results; `say` is told of those that cannot be used."""
    if not (folder / "cells").is_dir():
        raise UserError(f"{show(folder)} is no study\n  expected: outputs/<study>, with cells/")
    read_study(folder)
    for result in sorted((folder / "cells").glob("*/result.json")):
        content = Cell.read(result)
        if content is None:
            say(f"{result} is damaged or of another version, and left out")
            continue
        try:
            cell = Cell(folder, from_plain(content["config"]), content["data"]["digest"])
        except UserError as error:
            say(f"{result} is left out: {clean(error)}")
            continue
        if cell.folder != result.parent:
            say(f"{result} is left out: it belongs to the cell {clean(cell.id)}")
            continue
        yield cell, content
