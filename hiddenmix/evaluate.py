"""`python -m hiddenmix.evaluate outputs/<study>`: add what finished cells lack, without retraining."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hiddenmix.config import UserError, from_plain, show
from hiddenmix.terminal import VERSION, clean, guarded

if TYPE_CHECKING:
    from hiddenmix.study import Cell


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m hiddenmix.evaluate",
        description="Measure the finished cells of a study on shifted and adversarial test images; "
        "what is measured already is skipped.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, such as outputs/default")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:<number>")
    parser.add_argument("--dataset-root", help="the data's folder, if it has moved since")
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options.study, options.device, options.dataset_root))


def _finished(folder: Path, say: Callable[[str], None]) -> Iterator[tuple["Cell", dict[str, Any]]]:
    """The finished cells and their results; `say` is told of those that cannot be used."""
    from hiddenmix.study import Cell, read_study

    if not (folder / "cells").is_dir():
        raise UserError(f"{show(folder)} is no study\n  expected: outputs/<study>, with cells/")
    read_study(folder)
    for result in sorted((folder / "cells").glob("*/result.json")):
        content = Cell.read(result)
        if content is None:
            say(f"{result} is damaged or of another version, and left out")
            continue
        try:
            cell = Cell(folder, from_plain(content["config"]))
        except UserError as error:
            say(f"{result} is left out: {clean(error)}")
            continue
        if cell.folder != result.parent:
            say(f"{result} is left out: it belongs to the cell {clean(cell.id)}")
            continue
        yield cell, content


def _run(folder: Path, device_name: str, root: str | None) -> int:
    from hiddenmix import data as data_room
    from hiddenmix.report import write_report
    from hiddenmix.study import add_evaluation, check_study, choose_device, study_locked
    from hiddenmix.system import Interrupts

    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    device = choose_device(device_name, 0)
    cells = list(_finished(folder, say))
    if not cells:
        raise UserError(f"{show(folder)} holds no finished cells to evaluate")
    data: dict[str, data_room.Data] = {}
    check_study(folder.resolve())
    failed = 0
    with Interrupts().installed():
        for number, (cell, found) in enumerate(cells, start=1):
            config = cell.config
            if root is not None:
                config.dataset.root = root
            key = repr(config.dataset)
            note = "already evaluated"
            with cell.locked(timeout=60) as mine:
                now = cell.result() or found  # another process may have evaluated it meanwhile
                if not mine:
                    note = "another process holds it"
                elif not {"shift", "adversarial"} <= now.keys():
                    if key not in data:
                        data[key] = data_room.load(config.dataset).to(device)
                    try:
                        add_evaluation(cell, now, data[key], device)
                        note = "evaluated"
                    except (OSError, ValueError, RuntimeError) as error:
                        failed += 1
                        note = f"failed: {clean(error)}"
            say(f"[{number}/{len(cells)}] {cell.folder.name}: {note}")
        with study_locked(folder):
            say(f"report: {write_report(folder)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
