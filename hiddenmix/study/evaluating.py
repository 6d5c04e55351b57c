"""Evaluations added to a study's finished networks, without training."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.text import Text

from hiddenmix import evaluation
from hiddenmix.config import UserError, counted, from_plain, layers, show
from hiddenmix.data import Data
from hiddenmix.study.added_evaluation import (
    OtherDataError,
    add_evaluation,
    check_data,
    dropped,
    lacking,
)
from hiddenmix.study.devices import choose_device
from hiddenmix.study.distances import measure_distances, write_table
from hiddenmix.study.finished import code_of
from hiddenmix.study.loaded_data import LoadedData
from hiddenmix.study.planning import check_images
from hiddenmix.study.store import Cell, check_study, read_results, read_study, study_locked
from hiddenmix.system import Interrupts
from hiddenmix.terminal import clean, make_console, study_folder

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
    distances: bool = False,
) -> int:
    """Measure the finished cells of a study in full, where they lack it, and write its report, which is
    recorded as a look at its verdicts.

    `root`: where the data are now; `targets`: what `dataset=import` and `model=import` may import,
    since a study may come from others; `outside`: outside sets instead of those of the cells' own
    configurations; `images`: at most so many test images; `distances`: measure how far mixing at layers
    is from mixing images instead. Returns the exit code: 1 if a network could
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
    for _, found in cells:
        classes = found["data"].get("classes")
        check_images("--images", images, len(classes) if isinstance(classes, list) else 1)
    loaded = LoadedData(console, chosen)
    LoadedData.clear()
    codes = {0}
    told: Counter[str] = Counter()
    mixed = _mixed_layers(cells)
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
                note = (
                    "refused: its data or network come from code that is imported only where it is "
                    f"named: {names}"
                )
                if not told[note]:
                    say(f"[{number}/{len(cells)}] {cell.folder.name}: {note}")
                told[note] += 1
                continue
            if distances:
                work = partial(_measure, loaded, chosen, mixed[repr(config.model)], images)
            else:
                work = partial(_evaluate, loaded, chosen, say, told, outside is not None)
            code, note = _attempt(cell, found, work)
            codes.add(code)
            if code != 2 or not told[note]:  # what is wrong with the data is so for all networks
                say(f"[{number}/{len(cells)}] {cell.folder.name}: {note}")
            told[note] += code == 2
        for note, times in told.items():
            if times > 1 and note.startswith("refused"):
                say(f"{counted(times - 1, 'more network')}: refused for the same reason")
        LoadedData.clear()
        # Imported here: pandas and scipy take a second that no refused command should wait for.
        from hiddenmix.report import write_report

        if distances:
            with study_locked(folder):
                write_table(folder, [cell for cell, _ in cells])
        say(f"report: {write_report(folder)}")
    return max(codes)


_Work = Callable[[Cell, dict[str, Any]], str]
"""What is done to a finished cell; its result is given, and what is said of it returned."""


def _attempt(cell: Cell, found: dict[str, Any], work: _Work) -> tuple[int, str]:
    """Do `work` while holding the cell; the exit code, and what is said of it."""
    with cell.locked(timeout=_PATIENCE) as mine:
        if not mine:
            return 1, "not measured: another process holds it"
        try:
            # Another process may have evaluated it meanwhile.
            return 0, work(cell, cell.result() or found)
        except (OtherDataError, UserError) as error:
            return 2, f"refused: {clean(error)}"
        except (OSError, ValueError, RuntimeError) as error:
            return 1, f"failed: {clean(error)}"


def _evaluate(
    loaded: LoadedData,
    device: torch.device,
    say: Callable[[str], None],
    told: Counter[str],
    named: bool,
    cell: Cell,
    result: dict[str, Any],
) -> str:
    """Measure one finished cell where it lacks something. Lines in `told` are not said again. `named`:
    the outside sets are those of this command. Raises `UserError` for one of them that does not fit."""
    sets, unknown = partial(loaded.outside, cell.config), ""
    try:
        lacks = lacking(cell, result, True, sets)
    except UserError as error:
        if named:
            raise
        lacks = None
        unknown = f"; whether its outside sets have changed is not known: {clean(error)}"
    if lacks is None:
        if result["evaluated"].get("attack", 1) == evaluation.ATTACK:
            return f"already evaluated{unknown}"
        add_evaluation(cell, result, _data(loaded, cell), device, [], ("adversarial",), say)
        return f"attacked anew, as by a former version before{unknown}"
    data = _data(loaded, cell)
    for line in loaded.outside_remarks(cell.config):
        if not told[line]:
            say(line)
        told[line] += 1
    new = add_evaluation(cell, result, data, device, sets(), lacks, say)
    return f"evaluated{dropped(result, new)}"


def _data(loaded: LoadedData, cell: Cell) -> Data:
    """A cell's data. Raises `UserError`, which says how to name another place."""
    dataset = cell.config.dataset
    place = Path(dataset.root or "data").expanduser()
    if dataset.name in ("image_folder", "arrays") and not place.exists():
        raise UserError(
            f"its data are no longer at {show(dataset.root)}: add --dataset-root <where they are now>"
        )
    return loaded.get(cell.config)


def _measure(
    loaded: LoadedData,
    device: torch.device,
    mixed: set[str],
    images: int | None,
    cell: Cell,
    result: dict[str, Any],
) -> str:
    data = _data(loaded, cell)
    check_data(cell, data)
    return measure_distances(cell, result, data, device, mixed, images)


def _mixed_layers(cells: Sequence[tuple[Cell, dict[str, Any]]]) -> dict[str, set[str]]:
    """Where the study mixes each kind of network."""
    found: dict[str, set[str]] = {}
    for cell, _ in cells:
        found.setdefault(repr(cell.config.model), set()).update(layers(cell.config))
    return found


def _finished(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The finished cells and their results; `say` is told of those that cannot be used."""
    if not (folder / "cells").is_dir():
        raise UserError(
            f"{show(folder)} is no study{study_folder(folder)}\n"
            "  expected: outputs/<study>, with cells/"
        )
    read_study(folder)
    for place, content in read_results(folder).items():
        result = place / "result.json"
        if content is None:
            say(f"{result} is damaged or of another version, and left out")
            continue
        try:
            cell = Cell(folder, from_plain(content["config"]), content["data"]["digest"])
        except UserError as error:
            say(f"{result} is left out: {clean(error)}")
            continue
        if cell.folder != place:
            say(f"{result} is left out: it belongs to the cell {clean(cell.id)}")
            continue
        yield cell, content
