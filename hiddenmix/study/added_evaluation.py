"""Evaluations added to a finished network: what it lacks, and its new result."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch

from hiddenmix import evaluation, networks
from hiddenmix.config import Config, trackers
from hiddenmix.data import Data, OutsideSet
from hiddenmix.report import read_curve
from hiddenmix.study import measuring, predictions
from hiddenmix.study.finished import stored_network
from hiddenmix.study.result import about, headline
from hiddenmix.study.store import Cell
from hiddenmix.study.tracking import Trackers, tracked


class OtherDataError(ValueError):
    """The data at hand are not those that a network was trained on."""


def lacking(
    cell: Cell, result: Mapping[str, Any], full: bool, outside: Callable[[], list[OutsideSet]]
) -> tuple[str, ...] | None:
    """The evaluators that a finished cell must still pass for what is asked of it; None for none.

    `full`: whether more than the clean test is asked for. `outside` opens the outside sets asked for,
    and is called where the result has sets of the same names: their content must be the same too. Where
    the predictions are gone, all that the result holds is measured again.
    """
    kept = predictions.read(cell.folder, result.get("predictions"))
    has_full = isinstance(result.get("evaluated"), dict)
    if kept is not None and not full:
        return None
    if kept is not None and has_full and _same(cell.config, result["evaluated"], kept, outside):
        return None
    rest = tuple(name for name in evaluation.SELECTIONS["full"] if name != "clean")
    if kept is None:
        return ("clean", *rest) if full or has_full else ("clean",)
    return rest


def _same(
    config: Config,
    evaluated: Mapping[str, Any],
    kept: Collection[str],
    outside: Callable[[], list[OutsideSet]],
) -> bool:
    """Whether what is asked for was measured on the same images, and the answers are there."""
    if config.evaluation_images != evaluated.get("images"):
        return False
    if config.dataset.outside is None:
        return True
    had, names = evaluated.get("outside", {}), sorted(config.dataset.outside)
    answered = {name.split("/")[1].partition(":")[0] for name in kept if "outside/" in name}
    if names != sorted(had) or not answered.issuperset(names):
        return False
    return not names or had == {each.name: each.digest for each in outside()}


def add_evaluation(
    cell: Cell,
    result: dict[str, Any],
    data: Data,
    device: torch.device,
    outside: list[OutsideSet],
    lacks: tuple[str, ...],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure a finished cell's stored network with the evaluators `lacks`, and write predictions and
    result. What the other evaluators found stays as it was.

    Raises `OtherDataError` for data that the cell was not trained on, `OSError` or `ValueError` where
    the weights cannot be read or are not the result's own.
    """
    check_data(cell, data)
    shape = data.test.shape
    network = stored_network(cell.folder, cell.config, result, shape, len(data.classes))
    layout = networks.layout_of(cell.config.model, shape, len(data.classes))
    network = network.to(device, memory_format=layout)  # type: ignore[call-overload]
    which, config = "full" if set(lacks) - {"clean"} else "clean", cell.config
    if which == "full" and config.evaluation != "full":
        # Nothing new is asked for: what is there is measured again, on the same images.
        config = replace(config, evaluation_images=result["evaluated"].get("images"))
    attacks = lacks == ("adversarial",)  # of a former version: all else is as it is asked for
    outside = [] if attacks else outside
    numbers, answers = measuring.measure(network, data, config, which, outside, lacks)
    kept = predictions.read(cell.folder, result.get("predictions")) or {}
    stale = [f"{name}/" for name in lacks] + ["subset"] if which == "full" else []
    whole = dict(result)
    if which == "full":
        former = result.get("evaluated") or {"images": config.evaluation_images}
        fits = former.get("images") == numbers["evaluated"]["images"]
        if attacks or (config.dataset.outside is None and fits):
            # None is asked for, and what is there fits: it stays.
            stays = {key: former[key] for key in former if key.startswith("outside")}
            numbers["evaluated"] |= {"outside": {}} | stays
        else:
            stale.append("outside/")
            whole.pop("outside", None)
    for name, values in kept.items():
        if name not in answers and not name.startswith(tuple(stale)):
            answers[name] = torch.from_numpy(values)
    whole |= numbers
    whole["predictions"] = predictions.write(
        cell.folder, answers, len(data.classes), about(cell, data)
    )
    cell.finish(whole)
    about_cell = tracked(cell, data, list(read_curve(cell.folder)), "done")
    with Trackers(trackers(cell.config), about_cell, say) as told:
        told.result(headline(whole), cell.config.epochs + 1)
    return whole


def check_data(cell: Cell, data: Data) -> None:
    """Raise `OtherDataError` for data that the cell was not trained on."""
    if data.digest != cell.data:
        raise OtherDataError(
            f"its data are other ones: their content is {data.digest[:8]} (training and test images "
            f"together), where the network was trained on {cell.data[:8]}"
        )


def dropped(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What an added evaluation took out of a result, to be appended to a line; else empty."""
    lost = [name for name in before.get("outside", {}) if name not in after.get("outside", {})]
    had, has = (each.get("evaluated", {}).get("outside", {}) for each in (before, after))
    other = [name for name in has if had.get(name, has[name]) != has[name]]
    said = f"; no longer in its result: outside {', '.join(lost)}" if lost else ""
    return said + (f"; replaced by other images: outside {', '.join(other)}" if other else "")
