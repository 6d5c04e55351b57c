"""The numbers of a finished network: its result, its predictions, and evaluations added later."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hiddenmix import evaluation, networks, randomness
from hiddenmix.config import Config, layers, trackers
from hiddenmix.data import Data, OutsideSet, stratified
from hiddenmix.report import read_curve
from hiddenmix.study import predictions
from hiddenmix.study.cells import (
    data_title,
    image_mixup,
    is_plain,
    model_name,
    plain,
    setting_key,
    two_images,
)
from hiddenmix.study.command import Run
from hiddenmix.study.environment import environment, trained_in
from hiddenmix.study.finished import stored_network
from hiddenmix.study.planning import check_images
from hiddenmix.study.saving import Saver
from hiddenmix.study.store import FORMAT, Cell
from hiddenmix.study.tracking import Trackers, tracked

EVALUATION_SHARE = 0.05
"""Share of the training time that the test curve may take where `evaluate_every` is null."""

Measured = tuple[dict[str, Any], dict[str, Tensor]]
"""Numbers, nested as in `result.json`, and a value for each test image, by name."""


class OtherDataError(ValueError):
    """The data at hand are not those that a network was trained on."""


def curve_point(network: nn.Module, data: Data, config: Config) -> dict[str, float]:
    point: dict[str, float] = {}
    for name, split in (("test", data.test), ("validation", data.validation)):
        if split is not None:
            accuracy, nll = evaluation.accuracy(
                network,
                split.images,
                split.labels,
                data.mean,
                data.std,
                precision=config.precision,
            )
            point |= {f"{name}_accuracy": accuracy, f"{name}_nll": nll}
    return point


def evaluation_interval(data: Data) -> int:
    """Epochs between points of the test curve, so that they cost at most `EVALUATION_SHARE`.

    Counted in images, not in measured time, so that every run has the same points: a training step
    costs about three forward passes.
    """
    measured = len(data.test.images) + (len(data.validation.images) if data.validation else 0)
    return max(1, math.ceil(measured / (3 * EVALUATION_SHARE * len(data.train.images))))


def finished_result(network: nn.Module, data: Data, run: Run, saver: Saver) -> dict[str, Any]:
    """The finished training's result; its predictions are written."""
    cell, config, metrics = saver.cell, saver.cell.config, saver.metrics
    mixing_keys = (None, None) if is_plain(config) else (config.mode, config.alpha)
    seconds = math.fsum(line["seconds"] for line in metrics)
    images = len(data.train.images) * config.epochs
    result: dict[str, Any] = {
        "format": FORMAT,
        "status": "done",
        "cell": cell.id,
        "setting": setting_key(config, data.digest),
        "baseline": None if is_plain(config) else setting_key(image_mixup(config), data.digest),
        "two_images": None if is_plain(config) else setting_key(two_images(config), data.digest),
        "plain": setting_key(plain(config), data.digest),
        "dataset": config.dataset.name,
        "title": data_title(config),
        "model": model_name(config),
        "layer": "+".join(layers(config)),
        **layer_facts(config, data),
        "mode": mixing_keys[0],
        "alpha": mixing_keys[1],
        "seed": config.seed,
        "epochs": config.epochs,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "train_size": len(data.train.images),
        "test_size": len(data.test.images),
        "data": {
            "digest": data.digest,
            "classes": data.classes,
            "mean": data.mean.tolist(),
            "std": data.std.tolist(),
            "leaks": data.leaks.as_dict(),
        },
    }
    if config.evaluation == "full":
        # It may take longer than the training: not even SIGKILL shall cost both.
        saver.save()
    with saver.measurement(run.interrupts):
        numbers, answers = measure(network, data, config, config.evaluation, run.outside(config))
    if not {"nll", "ece"} <= numbers["test"].keys():
        raise FloatingPointError(
            "the trained network's outputs are not finite; lower optimizer.lr, or use "
            "precision=float32"
        )
    result |= numbers
    result["predictions"] = predictions.write(
        cell.folder, answers, len(data.classes), about(cell, data)
    )
    return result | {
        "train": {
            "loss": metrics[-1]["loss"],
            "seconds": round(seconds, 3),
            "images_per_second": round(images / max(seconds, 1e-9), 1),
        },
        "environment": trained_in(saver.environments),
        "config": asdict(config),
        "command": run.command,
    }


def layer_facts(config: Config, data: Data) -> dict[str, Any]:
    """All layers that can be mixed, in the order in which the network executes them; of the setting's,
    those where mixing is image mixup in disguise, and those that images flow past, with the share of
    the difference between two of them that is left in the logits."""
    shape = data.test.shape
    classes, names = len(data.classes), layers(config)
    available = networks.layers_of(config.model, shape, classes)
    left = networks.bypassed(config.model, shape, classes, names)
    return {
        "layers": [each.name for each in available],
        "disguised": [each.name for each in available if each.disguise and each.name in names],
        "bypassed": {name: round(share, 4) for name, share in left.items()},
    }


def about(cell: Cell, data: Data) -> dict[str, str]:
    """What the files of a cell say of themselves: enough to use them without the study."""
    told = {
        "version": environment()["hiddenmix"],
        "cell": cell.id,
        "data": data.digest,
        "classes": data.classes,
        "shape": list(data.test.images.shape[1:]),
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }
    # One key: safetensors writes several in an order that changes from call to call.
    return {"hiddenmix": json.dumps(told)}


def measure(
    network: nn.Module,
    data: Data,
    config: Config,
    which: str,
    outside: list[OutsideSet],
    lacking: tuple[str, ...] = (),
) -> Measured:
    """The evaluations that `which` (`clean` or `full`) selects, or those of `lacking` alone."""
    names = lacking or evaluation.SELECTIONS[which]
    test, precision = data.test, config.precision
    few = subset(test.labels, config.evaluation_images) if which == "full" else None
    pairs: list[tuple[str, evaluation.Value]] = [("label", test.labels.cpu())]
    for name in names:
        chosen = few if name != "clean" else None
        images, labels = test.images, test.labels
        if chosen is not None:
            images, labels = images[chosen], labels[chosen]
        evaluator = evaluation.EVALUATORS[name]
        pairs += evaluator(network, images, labels, data.mean, data.std, precision=precision)
    if data.validation is not None and "clean" in names:
        split = data.validation
        accuracy, nll = evaluation.accuracy(
            network, split.images, split.labels, data.mean, data.std, precision=precision
        )
        pairs += [("validation/accuracy", accuracy), ("validation/nll", nll)]
    if which == "full":
        conditions = _conditions(outside, config.evaluation_images)
        pairs += evaluation.outside(network, conditions, data.mean, data.std, precision=precision)
        if few is not None:
            pairs.append(("subset", few.cpu()))
    numbers = evaluation.numbers(pairs)
    if which == "full":
        numbers["evaluated"] = {
            "images": config.evaluation_images,
            "attack": evaluation.ATTACK,
            "outside": {each.name: each.digest for each in outside},
        }
        known = {each.name: each.in_training for each in outside if each.in_training}
        numbers["evaluated"] |= {"outside_in_training": known} if known else {}
    return numbers, evaluation.answers(pairs)


def subset(labels: Tensor, size: int | None) -> Tensor | None:
    """Positions of a fixed stratified subset of a test set, the same for all networks; None: all.

    Raises `ConfigError` for fewer images than the test set has classes.
    """
    if size is None or size >= len(labels):
        return None
    check_images("evaluation_images", size, len(labels.unique()))
    keys = randomness.stream(0, "subset").random(len(labels))
    chosen = stratified(labels.cpu().numpy(), size, keys)
    return torch.from_numpy(np.flatnonzero(chosen)).to(labels.device)


def _conditions(sets: list[OutsideSet], size: int | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    for each in sets:
        for condition in each.conditions:
            found = each.images(condition)
            chosen = subset(found.labels, size)
            images, labels = found.images, found.labels
            if chosen is not None:
                images, labels = images[chosen], labels[chosen]
            yield f"{each.name}:{condition}" if condition else each.name, images, labels


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
    numbers, answers = measure(network, data, config, which, outside, lacks)
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


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a result that trackers show, by tag."""
    tags = {
        f"final/{name}": value
        for name, value in result["test"].items()
        if not isinstance(value, list)
    }
    for family in ("shift", "adversarial", "outside"):
        for name, values in result.get(family, {}).items():
            tags[f"{family}/{name}"] = values["accuracy"]
    return tags
