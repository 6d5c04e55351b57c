"""What a training command says before it trains."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hiddenmix import data as data_room
from hiddenmix import networks
from hiddenmix.config import (
    Config,
    ImportConfig,
    UserError,
    counted,
    from_plain,
    layers,
)
from hiddenmix.data import Whole
from hiddenmix.networks import layers_of
from hiddenmix.study.cells import cell_id, data_title, model_name
from hiddenmix.study.devices import device_name
from hiddenmix.study.planning import Plan
from hiddenmix.study.store import Cell, read_results
from hiddenmix.terminal import Display, leaks_text

_Stored = Mapping[str, Mapping[str, Any]]
"""The study's results, by the names of their folders."""


def announce(
    display: Display,
    study: Path,
    cells: list[Cell],
    device: torch.device,
    workers: int,
    data: Sequence[tuple[Whole, str, int]],
    forms: Iterable[str],
) -> None:
    """Say what will be trained, where, by how many `workers`, in which `forms`, and on which `data`,
    each with its title and the number of images that are trained on."""
    stored = {
        folder.name: found
        for folder, found in read_results(study).items()
        if found is not None and found.get("cell") == folder.name
    }
    results = [stored[cell.id] for cell in cells if cell.id in stored]
    there = len(results)
    display.say(
        f"study {study}: {counted(len(cells), 'network')}, {there} already there, "
        f"{len(cells) - there} to train on {device_name(device)}{_hands(device, workers)}"
    )
    for whole, title, _ in {id(each[0]): each for each in data}.values():
        train, test = len(whole.train.labels), len(whole.test.labels)
        parts = sorted({size for each, _, size in data if each is whole})
        part = "" if parts == [train] else f"{' or '.join(f'{size:,}' for size in parts)} of "
        display.say(
            f"data {title}: {part}{train:,} training and {counted(test, 'test image')} of "
            f"{counted(len(whole.classes), 'class')}; {leaks_text(whole.leaks.as_dict(), test)}"
            f"{'; ' if whole.skipped else ''}{whole.skipped}"
        )
        for remark in whole.remarks:
            display.say(f"data {title}: {remark}")
    _warn_of_other_data(display, stored, cells)
    _warn_of_other_code(display, stored, cells)
    _warn_of_other_margin(display, stored, cells)
    if any(
        each.config.evaluation == "clean" and each.config.evaluation_images is not None
        for each in cells
    ):
        display.say(
            "note: evaluation_images does nothing with evaluation=clean, which takes all images"
        )
    here = _hardware({"device": device_name(device), "threads": torch.get_num_threads()})
    others = {text for found in results for text in _trained_on(found["environment"])} - {here}
    if others:
        display.say(
            f"warning: networks already there were trained on {', '.join(sorted(others))}, which "
            "rounds differently: the same setting and seed would not give the same network here"
        )
    for line in dict.fromkeys(forms):
        display.say(line)


def _hands(device: torch.device, workers: int) -> str:
    threads = torch.get_num_threads()
    each = counted(threads, "thread")
    if device.type != "cpu":
        return f", {workers} workers" if workers > 1 else ""
    return f", {workers} workers of {each}" if workers > 1 else f", {each}"


def _warn_of_other_data(display: Display, stored: _Stored, cells: list[Cell]) -> None:
    """Name the networks of the study that were trained on another version of the same data."""
    ours = {(cell.config.dataset.name, data_title(cell.config)): cell.data for cell in cells}
    others: dict[tuple[str, str], list[str]] = {}
    for name, found in stored.items():
        digest = found["data"]["digest"]
        mine = ours.get((found["dataset"], found.get("title", found["dataset"])))
        if mine not in (None, digest):
            others.setdefault((digest, str(mine)), []).append(name)
    for (digest, mine), names in others.items():
        display.say(
            f"warning: {counted(len(names), 'network')} of this study, such as {names[0]}, "
            f"{'was' if len(names) == 1 else 'were'} trained on another version of the data "
            f"({digest[:8]}, here {mine[:8]}); networks of both are never compared"
        )


def _warn_of_other_code(display: Display, stored: _Stored, cells: list[Cell]) -> None:
    """Say how many of the networks to train were there already, made by the code as it was before."""
    models = {repr(each.config.model): each.config.model for each in cells}
    own = {each.target: each.source for each in models.values() if isinstance(each, ImportConfig)}
    if not own:
        return
    lacking = {cell.id for cell in cells} - stored.keys()
    former: dict[str, dict[str, str]] = {target: {} for target in own}
    for name, found in stored.items():
        if found["model"] not in own:
            continue
        try:
            config = from_plain(found["config"])
        except UserError:
            continue  # of another version of this program
        if isinstance(config.model, ImportConfig):
            config.model = replace(config.model, source=own[config.model.target])
            if (same := cell_id(config, found["data"]["digest"])) in lacking:
                former[config.model.target].setdefault(same, name)
    for target, names in former.items():
        if names:
            first = next(iter(names.values()))
            display.say(
                f"warning: the code of {target} has changed since: "
                f"{counted(len(names), 'network')} of this study, such as {first}, "
                f"{'is' if len(names) == 1 else 'are'} trained again"
            )


def _warn_of_other_margin(display: Display, stored: _Stored, cells: list[Cell]) -> None:
    """Name the margin of the study's networks where this command has another one."""
    margins = [each["config"].get("margin", Config().margin) for each in stored.values()]
    here = cells[0].config.margin
    if others := sorted({each for each in margins if each != here}):
        count = sum(each != here for each in margins)
        display.say(
            f"warning: margin={here:g} here, but {counted(count, 'network')} of this study "
            f"{'has' if count == 1 else 'have'} margin={', '.join(f'{each:g}' for each in others)}; "
            "verdicts take that of most, python -m hiddenmix.report --margin another"
        )


def _trained_on(environment: Mapping[str, Any]) -> list[str]:
    """What a network was trained on, in turn where it was resumed elsewhere."""
    earlier = environment.get("resumed_from")
    parts = earlier if isinstance(earlier, list) else []
    return [_hardware(each) for each in (*parts, environment) if isinstance(each, dict)]


def _hardware(environment: Mapping[str, Any]) -> str:
    """What decides how sums are rounded."""
    device, threads = environment.get("device", "an unknown device"), environment.get("threads")
    return f"{device} ({threads} threads)" if device == "cpu" else str(device)


def _tell_of_network(display: Display, config: Config, told: set[object]) -> None:
    """Say what the images and a file of weights make of the network, once for each."""
    if (key := (repr(config.model), repr(config.dataset))) in told:
        return
    told.add(key)
    description = data_room.describe(config.dataset)
    shape, classes = description.shape, description.classes
    if text := networks.stem_text(config.model, shape):
        display.say(text)
    for channels in sorted(networks.survey_of(config.model, shape, classes).exposed):
        display.say(
            f"warning: {model_name(config)} computes a 1x1 convolution with a stride over {channels} "
            "channels by a function of its own: on CPUs oneDNN's gradient of it is wrong; as an "
            "nn.Conv2d it would be mended"
        )
    if text := networks.weights_text(config.model, shape, classes):
        display.say(text)


def warn_of_layers(display: Display, plan: Plan) -> None:
    """Name what mixing at the requested layers is, where it is not what one may think."""
    warned: set[object] = set()
    for config in plan.requested.values():
        _tell_of_network(display, config, warned)
        names = [name for name in layers(config) if name not in ("none", "input")]
        cut = config.operation == "cutmix"
        key = (repr(config.model), repr(config.dataset), tuple(names), cut)
        if not names or key in warned:
            continue
        warned.add(key)
        description = data_room.describe(config.dataset)
        available = layers_of(config.model, description.shape, description.classes)
        for layer in networks.check_layers(names, available):
            if layer.disguise and cut:
                display.say(
                    f"warning: layer={layer.name} is affine in the image: CutMix there is close to image "
                    "CutMix, and no verdict is judged there"
                )
            elif layer.disguise:
                display.say(
                    f"warning: layer={layer.name} is image mixup in disguise: up to there the "
                    "network is affine, so mixing its map equals mixing the image"
                )
            elif layer.affine and not cut:
                display.say(
                    f"warning: layer={layer.name} is image mixup but for the batch's statistics: up to "
                    "there the network is affine in evaluation mode"
                )
        shape, classes = description.shape, description.classes
        for name, left in networks.bypassed(config.model, shape, classes, names).items():
            display.say(
                f"warning: layer={name} is bypassed: the unmixed image flows past it while its label is "
                f"mixed; with both maps equal there, {left:.2f} of the difference between two images is "
                "left in the logits (python -m hiddenmix.layers lists layers that take it whole)"
            )
