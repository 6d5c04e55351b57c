"""TensorBoard: what the event files hold, and, in a real browser, what a person sees of them."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hiddenmix.config.schema import CnnConfig, Config, SgdConfig
from hiddenmix.data.loading import load
from hiddenmix.networks.building import build
from hiddenmix.study.pictures import mixed_pictures
from hiddenmix.study.tracking import CellBoard, clear, compare, image_grid
from tests.support.commands import HANG

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def write_cell(folder: Path, layer: str, seed: int, accuracy: float) -> None:
    with CellBoard(folder) as board:
        partners = torch.rand(2, 4, 1, 8, 8)
        board.pictures(partners, partners.mean(0), torch.rand(4, 16, 8, 8))
        for epoch in (1, 2, 3):
            board.epoch({"epoch": epoch, "loss": 1 / epoch, "test_accuracy": accuracy})
        parameters = {"layer": layer, "mode": "siamese", "alpha": 1.0, "seed": seed}
        board.result(parameters, {"final/accuracy": accuracy, "shift/noise_0.1": 0.5}, 3)


def test_the_picture_of_a_layer_is_its_own_map_not_what_the_next_module_makes_of_it() -> None:
    """The ReLU after `conv1.norm` writes in place."""
    config = Config(optimizer=SgdConfig(), layer="conv1.norm")
    config.model = CnnConfig(channels=[4, 6, 8], width=16)
    network = build(config.model, (1, 8, 8), 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    partners, mixed, maps = mixed_pictures(network, load(config.dataset), config)
    assert partners.shape == (2, 8, 1, 8, 8)
    assert mixed.shape == (8, 1, 8, 8)
    assert maps is not None
    assert maps.shape == (8, 4, 8, 8)
    assert float(maps.min()) < 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_resumed_cell_holds_each_epoch_once(tmp_path: Path) -> None:
    lines = [{"epoch": epoch, "loss": float(epoch), "seconds": 1.0} for epoch in (1, 2, 3)]
    with CellBoard(tmp_path) as board:
        for line in lines:
            board.epoch(line)
    # Killed after epoch 3, the checkpoint is from after epoch 1.
    clear(tmp_path)
    with CellBoard(tmp_path) as board:
        board.replay(lines[:1])
        for epoch in (2, 3, 4):
            board.epoch({"epoch": epoch, "loss": 10.0 * epoch})
    scalars = [(event.step, event.value) for event in events(tmp_path).Scalars("train/loss")]
    assert scalars == [(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)]


def test_a_cell_shows_scalars_pictures_and_hyperparameters(tmp_path: Path) -> None:
    write_cell(tmp_path, "conv1", 0, 0.9)
    found = events(tmp_path)
    assert {"train/loss", "test/accuracy", "final/accuracy", "shift/noise_0.1"} <= set(
        found.Tags()["scalars"]
    )
    assert set(found.Tags()["images"]) == {"mixing/input", "mixing/feature_maps"}
    assert found.PluginTagToContent("hparams")


def test_comparison_is_written_afresh(tmp_path: Path) -> None:
    for last in (0.5, 0.7):
        compare(tmp_path / "c", {"s": {"setting": {1: 0.1, 2: last}, "image mixup": {1: 0.2}}})
    values = [event.value for event in events(tmp_path / "c" / "setting").Scalars("comparison/s")]
    assert values == pytest.approx([0.1, 0.7])


def test_grid_places_images_row_by_row() -> None:
    images = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 1, 40, 40) / 6
    grid = image_grid(images, 3)
    assert grid.shape == (1, 2 * 42, 3 * 42)
    centres = grid[0, 21::42, 21::42]
    torch.testing.assert_close(centres, torch.arange(6.0).reshape(2, 3) / 6)
    assert image_grid(torch.rand(2, 1, 8, 8), 2).shape == (1, 34, 68)


@pytest.fixture
def tensorboard(tmp_path: Path) -> Iterator[str]:
    """The address of a TensorBoard over three cells."""
    for number, layer in enumerate(("none", "input", "conv1")):
        write_cell(tmp_path / "cells" / layer, layer, number, 0.5 + number / 10)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)),
            *("--port", "0", "--host", "127.0.0.1", "--load_fast", "false"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found.group(0)
                break
        else:
            pytest.fail("tensorboard did not start")
    finally:
        process.terminate()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def hparams_rows(address: str) -> list[dict[str, Any]]:
    """The rows of the HParams dashboard, as the page itself asks for them."""
    question = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [],
        "startIndex": 0,
        "sliceSize": 100,
    }
    request = urllib.request.Request(  # noqa: S310  # loopback
        f"{address}/data/plugin/hparams/session_groups",
        data=json.dumps(question).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        rows: list[dict[str, Any]] = json.load(answer)["sessionGroups"]
    return rows


@pytest.mark.slow
def test_hparams_dashboard_has_every_cell(tensorboard: str) -> None:
    rows = hparams_rows(tensorboard)
    layers = {row["hparams"]["layer"]: row for row in rows}
    assert set(layers) == {"none", "input", "conv1"}
    assert layers["conv1"]["hparams"] == {
        "layer": "conv1",
        "mode": "siamese",
        "alpha": 1.0,
        "seed": 2.0,
    }
    values = {each["name"]["tag"]: each["value"] for each in layers["conv1"]["metricValues"]}
    assert values == pytest.approx({"final/accuracy": 0.7, "shift/noise_0.1": 0.5})


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_hparams_dashboard_in_a_browser(tensorboard: str, tmp_path: Path) -> None:
    """The page draws its table: many colours and dark text, where an error page is blank."""
    assert CHROMIUM is not None
    hparams_rows(tensorboard)  # loaded by now, so that the page's first question has its answer
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            *("--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--window-size=1500,1000", "--virtual-time-budget=30000"),
            *(f"--screenshot={picture}", f"{tensorboard}/#hparams"),
        ],
        capture_output=True,
        timeout=HANG,
        check=True,
    )
    # The table lies right of the hyperparameters and below the two bars.
    with Image.open(picture) as page:
        table = np.asarray(page.convert("L"))[150:400, 320:]
    rows_with_text = (table < 100).any(axis=1)
    lines = int((np.diff(rows_with_text.astype(int)) == 1).sum())
    assert lines >= 3, "fewer lines of text than there are cells"
