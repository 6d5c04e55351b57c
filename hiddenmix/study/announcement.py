"""What a training command says before it trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hiddenmix import data as data_room
from hiddenmix import networks
from hiddenmix.config import layers
from hiddenmix.networks import layers_of
from hiddenmix.study.devices import device_name
from hiddenmix.study.planning import Plan
from hiddenmix.study.store import Cell
from hiddenmix.terminal import Display
from hiddenmix.training import choose_form


def announce(display: Display, study: Path, cells: list[Cell], device: torch.device) -> None:
    results = [found for cell in cells if (found := cell.result()) is not None]
    there = len(results)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    display.say(
        f"study {study}: {len(cells)} networks, {there} already there, {len(cells) - there} to "
        f"train on {device_name(device)}{threads}"
    )
    here = _hardware({"device": device_name(device), "threads": torch.get_num_threads()})
    others = {_hardware(found["environment"]) for found in results} - {here}
    if others:
        display.say(
            f"warning: networks already there were trained on {', '.join(sorted(others))}, which "
            "rounds differently: the same setting and seed would not give the same network here"
        )
    for line in dict.fromkeys(choose_form(cell.config, device).text for cell in cells):
        display.say(line)


def _hardware(environment: Mapping[str, Any]) -> str:
    """What decides how sums are rounded."""
    device, threads = environment.get("device", "an unknown device"), environment.get("threads")
    return f"{device} ({threads} threads)" if device == "cpu" else str(device)


def warn_of_disguises(display: Display, plan: Plan) -> None:
    warned = set()
    for config in plan.requested.values():
        names = [name for name in layers(config) if name not in ("none", "input")]
        key = (repr(config.model), repr(config.dataset), tuple(names))
        if not names or key in warned:
            continue
        warned.add(key)
        description = data_room.describe(config.dataset)
        available = layers_of(config.model, description.shape, description.classes)
        for layer in networks.check_layers(names, available):
            if layer.disguise:
                display.say(
                    f"warning: layer={layer.name} is image mixup in disguise: up to there the "
                    "network is affine, so mixing its map equals mixing the image"
                )
