"""`mixing_distance.json` of a finished network, and `mixing_distance.csv` of its study.

Of plainly trained networks: before and after training, at the input, the stages, and wherever the study
mixes; and how the rest of the network reads mixed maps there. Of networks trained with mixing: after
training, at their own hidden layers; of CutMix, which is no sum, nothing.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiddenmix import evaluation, networks, randomness
from hiddenmix.config import Config, layers
from hiddenmix.data import Data
from hiddenmix.study.cells import is_plain
from hiddenmix.study.finished import stored_network
from hiddenmix.study.measuring import subset
from hiddenmix.study.store import Cell
from hiddenmix.system import atomic

NAME = "mixing_distance.json"
TABLE = "mixing_distance.csv"

IMAGES = 512
"""Test images that are mixed unless another number is asked for, a fixed stratified subset; more where
there are more classes."""

_SETTLING = 128
"""Training images that give BatchNorm its statistics before training."""

_COLUMNS = (
    *("cell", "test_images", "layer", "images", "weights"),
    *("initial_distance", "distance", "initial_batch_distance", "batch_distance"),
    *("cross_entropy", "kl", "total_variation", "in_classes"),
)


def measure_distances(
    cell: Cell,
    result: Mapping[str, Any],
    data: Data,
    device: torch.device,
    mixed: Iterable[str],
    images: int | None,
) -> str:
    """Measure a finished cell and write its file, unless that is there; returns in words what was done.

    `mixed`: where the study mixes networks like this one. `images`: at most so many test images. Raises
    `OSError` or `ValueError` where the weights cannot be read, and `UserError` where the network cannot
    be built.
    """
    config, test = cell.config, data.test
    shape = test.shape
    names = _layers(config, shape, len(data.classes), mixed)
    if not names:
        return "nothing to measure: no mixup of feature maps"
    chosen = subset(test.labels, images or max(IMAGES, len(data.classes)))
    pictures, labels = test.images, test.labels
    if chosen is not None:
        pictures, labels = pictures[chosen], labels[chosen]
    about = {
        "format": 1,
        "cell": cell.id,
        "weights": result.get("weights"),
        "test_images": len(labels),
        "layers": names,
    }
    former = _read(cell.folder)
    if {key: former.get(key) for key in about} == about:
        return "already measured"
    given = (pictures, labels, data.mean, data.std)
    rows: dict[str, dict[str, float]] = {}

    def add(network: nn.Module, prefix: str) -> None:
        for middle, batch in (("", False), ("batch_", True)):
            pairs = evaluation.mixing_distance(
                network, *given, layers=names, batch_statistics=batch
            )
            for name, value in pairs:
                rows.setdefault(name.rpartition("/")[0], {})[f"{prefix}{middle}distance"] = value

    network = stored_network(cell.folder, config, dict(result), shape, len(data.classes)).to(device)
    network.train()  # as training does: which BatchNorm normalises by the batch is the network's matter
    add(network, "")
    if is_plain(config):
        for name, value in evaluation.label_consistency(network, *given, layers=names):
            place, _, last = name.rpartition("/")
            rows[place][last] = value
        add(_initial(config, data, device), "initial_")
    found = [_row(place, values) for place, values in rows.items()]
    atomic.write_json(cell.folder / NAME, about | {"rows": found})
    return "measured"


def _layers(
    config: Config, shape: tuple[int, int, int], classes: int, mixed: Iterable[str]
) -> list[str]:
    """Where a network is measured, in the order in which they run."""
    available = networks.layers_of(config.model, shape, classes)
    if is_plain(config):
        wanted = {"input", *mixed, *(each.name for each in networks.stages(available))}
    else:
        wanted = set(layers(config)) - {"input"} if config.operation == "mixup" else set()
    return [each.name for each in available if each.name in wanted]


def _initial(config: Config, data: Data, device: torch.device) -> nn.Module:
    """The network as its training began, with BatchNorm's statistics of training images."""
    shape = data.test.shape
    with randomness.default_generators(config.seed, "init"):
        network = networks.build(config.model, shape, len(data.classes)).to(device)
    network.train()
    train = data.train
    chosen = subset(train.labels, max(_SETTLING, len(data.classes)))
    pictures = train.images if chosen is None else train.images[chosen]
    evaluation.take_statistics(network, pictures, data.mean, data.std)
    return network


def _row(place: str, values: Mapping[str, float]) -> dict[str, Any]:
    layer, images, weights = place.rsplit("/", 2)
    row: dict[str, Any] = {"layer": layer, "images": int(images), "weights": weights}
    return row | {name: value for name, value in values.items() if math.isfinite(value)}


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_table(study: Path, cells: Sequence[Cell]) -> None:
    """Write the study's table: a row for each network, layer, number of images and kind of weights.
    Numbers have six digits; blank is what was not measured."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for cell in cells:
        found, result = _read(cell.folder), cell.result() or {}
        if found.get("weights") != result.get("weights"):
            continue  # of a network that was trained again since
        same = {"cell": cell.id, "test_images": found.get("test_images")}
        for row in found.get("rows", ()):
            rounded = {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
            table.writerow(same | rounded)
    atomic.write_text(study / TABLE, text.getvalue())
