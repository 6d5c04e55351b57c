"""TensorBoard: what the event files hold, what its own backend makes of them, and, in a real browser,
what a person sees of them."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from hiddenmix.config.schema import (
    AdamConfig,
    CnnConfig,
    Config,
    DatasetConfig,
    PreactResNet18Config,
    SgdConfig,
    TorchvisionConfig,
)
from hiddenmix.data.loading import load
from hiddenmix.networks.building import build
from hiddenmix.study.pictures import feature_maps, image_grid, mixed_pictures
from hiddenmix.study.tensorboard_tracker import EVENTS, TensorBoard, compare
from hiddenmix.study.tracking import Tracked, hyperparameters
from tests.support.commands import HANG, SMALL, Command, command, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

METRICS = {"final/accuracy": 0.9, "adversarial/fgsm_1": 0.25, "shift/noise_0.1": 0.5}

STUDY = {
    "z-plain": Config(layer="none"),
    "a-plain": Config(layer="none", optimizer=SgdConfig(lr=0.2)),
    "input": Config(layer="input"),
    "conv1": Config(layer="conv1", mode="triplet"),
    "conv2": Config(layer="conv2", optimizer=SgdConfig(lr=0.2)),
}
"""Settings of which layer, mode and learning rate vary; alpha is 1 wherever there is one."""


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


@contextmanager
def told(folder: Path, config: Config | None = None, **options: Any) -> Iterator[TensorBoard]:
    """TensorBoard's tracker of the cell in `folder`."""
    parameters = hyperparameters(config, load(config.dataset)) if config is not None else {}
    board = TensorBoard(Tracked(folder.parent, folder, "a setting", parameters, **options))
    yield board
    board.close("done")


def write_cell(folder: Path, config: Config, metrics: Mapping[str, float] = METRICS) -> None:
    """What a training run of `config` writes for TensorBoard."""
    with told(folder, config) as board:
        network = build(config.model, (1, 8, 8), 10)
        board.pictures(mixed_pictures(network, load(config.dataset), config))
        for epoch in (1, 2, 3):
            board.epoch({"epoch": epoch, "loss": 1 / epoch, "test_accuracy": 0.5})
        board.result(metrics, 3)


@dataclass
class Dashboard:
    """What the HParams dashboard gets from TensorBoard."""

    columns: dict[str, Any]
    """Name -> the plugin's HParamInfo; in the order of the dashboard."""

    metrics: set[str]
    rows: dict[str, dict[str, Any]]
    """Run -> name -> value, of hyperparameters and metrics."""

    @property
    def varying(self) -> list[str]:
        """The columns that are shown: the page ticks the first five, those that differ first."""
        return [name for name, column in self.columns.items() if column.differs]


def dashboard(logdir: Path, first: str | None = None) -> Dashboard:
    """TensorBoard's own backend over `logdir`; the cell `first` is read first."""
    found = sorted({path.parent for path in logdir.rglob("events.out.tfevents*")})
    found.sort(key=lambda path: first not in path.parts)
    # TensorBoard names a run as here, by its path from the logdir, which may be ".".
    multiplexer = EventMultiplexer({str(each.relative_to(logdir)): str(each) for each in found})
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(logdir))
    backend = Context(TBContext(data_provider=provider, logdir=str(logdir)))
    question = api_pb2.GetExperimentRequest(hparams_limit=1000)
    experiment = get_experiment.Handler(RequestContext(), backend, "", question).run()
    statuses = api_pb2.Status.values()
    asked = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
    groups = list_session_groups.Handler(RequestContext(), backend, "", asked).run().session_groups
    rows: dict[str, dict[str, Any]] = {}
    for group in groups:
        values = {name: getattr(v, v.WhichOneof("kind")) for name, v in group.hparams.items()}
        rows[group.name] = values | {each.name.tag: each.value for each in group.metric_values}
    return Dashboard(
        columns={info.name: info for info in experiment.hparam_infos},
        metrics={info.name.tag for info in experiment.metric_infos},
        rows=rows,
    )


@pytest.mark.parametrize("first", ["a-plain", "z-plain", "conv1"])
def test_hparams_has_what_varies_whatever_run_is_read_first(tmp_path: Path, first: str) -> None:
    for name, config in STUDY.items():
        write_cell(tmp_path / "cells" / name, config)
    shown = dashboard(tmp_path, first)
    assert shown.varying == ["alpha", "layer", "mode", "optimizer.lr"]
    assert list(shown.columns)[:4] == shown.varying
    rates = shown.columns["optimizer.lr"]
    assert rates.type == api_pb2.DATA_TYPE_FLOAT64
    assert (rates.domain_interval.min_value, rates.domain_interval.max_value) == (0.05, 0.2)
    assert set(shown.columns["mode"].domain_discrete) == {"none", "siamese", "triplet"}
    assert shown.metrics >= set(METRICS)
    rows = {Path(run).parent.name: row for run, row in shown.rows.items()}
    assert rows.keys() == STUDY.keys()
    for name, config in STUDY.items():
        row = rows[name]
        assert {tag: row[tag] for tag in METRICS} == pytest.approx(METRICS)
        assert (row["layer"], row["optimizer.lr"]) == (config.layer, config.optimizer.lr)
        # A plain run has values too: with a blank it would be left out of the plots.
        plain = config.layer == "none"
        assert (row["mode"], row["alpha"]) == (("none", 0.0) if plain else (config.mode, 1.0))


def test_hparams_of_all_studies_and_of_a_single_cell(tmp_path: Path) -> None:
    write_cell(tmp_path / "one/cells/a", Config(layer="none"))
    write_cell(tmp_path / "one/cells/b", Config(layer="conv1", lam="sample"))
    write_cell(tmp_path / "two/cells/a", Config(layer="conv1", model=CnnConfig(width=8)))
    write_cell(tmp_path / "two/cells/b", Config(layer="conv1", batch_size=32))
    together = dashboard(tmp_path)
    assert together.varying == ["alpha", "batch_size", "lam", "layer", "mode", "model.width"]
    assert len(together.rows) == 4
    assert dashboard(tmp_path / "two").varying == ["batch_size", "model.width"]
    alone = dashboard(tmp_path / "one/cells/b")
    [row] = alone.rows.values()
    assert {"alpha", "mode", "layer"} <= alone.columns.keys()
    assert {tag: row.get(tag) for tag in METRICS} == pytest.approx(METRICS)


CHANGES: list[tuple[str, Callable[[Config], Config]]] = [
    ("lam", lambda config: replace(config, lam="sample")),
    ("partners", lambda config: replace(config, partners="independent")),
    ("originals", lambda config: replace(config, originals=1.0)),
    ("operation", lambda config: replace(config, operation="cutmix")),
    ("model.weights_digest", lambda config: replace(config, model=CnnConfig(weights_digest="0a"))),
    (
        "dataset.resize_mode",
        lambda config: replace(config, dataset=DatasetConfig(resize_mode="crop")),
    ),
    ("mode", lambda config: replace(config, mode="triplet")),
    ("alpha", lambda config: replace(config, alpha=0.2)),
    ("layer", lambda config: replace(config, layer=["input", "conv1"])),
    ("seed", lambda config: replace(config, seed=1)),
    ("epochs", lambda config: replace(config, epochs=3)),
    ("batch_size", lambda config: replace(config, batch_size=32)),
    ("precision", lambda config: replace(config, precision="bf16")),
    ("compile", lambda config: replace(config, compile=False)),
    ("optimizer.nesterov", lambda config: replace(config, optimizer=SgdConfig(nesterov=False))),
    ("optimizer.milestones", lambda config: replace(config, optimizer=SgdConfig(milestones=[0.9]))),
    ("model.channels", lambda config: replace(config, model=CnnConfig(channels=[4, 4, 4]))),
    ("model.batch_norm", lambda config: replace(config, model=CnnConfig(batch_norm=False))),
    ("dataset.train_size", lambda config: replace(config, dataset=DatasetConfig(train_size=200))),
    ("dataset.augment", lambda config: replace(config, dataset=DatasetConfig(augment="flip_crop"))),
]


@pytest.mark.parametrize(("key", "change"), CHANGES, ids=[key for key, _ in CHANGES])
def test_each_key_is_a_column_of_one_type(key: str, change: Callable[[Config], Config]) -> None:
    config = Config()
    former, latter = (
        hyperparameters(each, load(each.dataset)) for each in (config, change(config))
    )
    assert {name for name in former if former[name] != latter[name]} == {key}
    assert former.keys() == latter.keys()
    assert {name: type(value) for name, value in former.items() if name != "alpha"} == {
        name: type(value) for name, value in latter.items() if name != "alpha"
    }


def test_hyperparameters_have_their_own_types(tmp_path: Path) -> None:
    configs = {
        "sgd": Config(model=CnnConfig(batch_norm=False)),
        "adam": Config(optimizer=AdamConfig(), layer="none", compile=True),
        "resnet": Config(model=PreactResNet18Config(width=4), layer="input"),
        "vgg": Config(model=TorchvisionConfig(arch="vgg11"), layer="input"),
    }
    for name, config in configs.items():
        with told(tmp_path / name, config) as board:
            board.result(METRICS, 1)
    shown = dashboard(tmp_path)
    types = {
        api_pb2.DATA_TYPE_FLOAT64: float,
        api_pb2.DATA_TYPE_BOOL: bool,
        api_pb2.DATA_TYPE_STRING: str,
    }
    for row in shown.rows.values():
        for name, column in shown.columns.items():
            assert name not in row or type(row[name]) is types[column.type], name
    rows = {Path(run).parent.name: row for run, row in shown.rows.items()}
    assert (rows["sgd"]["optimizer"], rows["adam"]["optimizer"]) == ("sgd", "adam")
    assert rows["sgd"]["model.batch_norm"] is False
    assert rows["adam"]["optimizer.betas"] == "[0.9,0.999]"
    assert (rows["sgd"]["compile"], rows["adam"]["compile"]) == ("auto", "true")
    assert (rows["resnet"]["model"], rows["vgg"]["model"]) == ("preact_resnet18", "vgg11")
    # What means nothing in a plain run, and would not show there that it varies.
    assert not {"lam", "partners", "originals"} & rows["adam"].keys()


def test_image_folders_of_one_name_are_told_apart() -> None:
    """By their content, for their path is no part of what a cell is; and images have a number for
    their size, whether they were resized or not."""
    digits = load(DatasetConfig())
    config = Config(dataset=DatasetConfig(name="image_folder", root="somewhere/pets"))
    found = [
        hyperparameters(config, replace(digits, digest=digest))
        for digest in ("0123456789", "9" * 9)
    ]
    assert [each["dataset"] for each in found] == ["pets 01234567", "pets 99999999"]
    assert [each["dataset.resize"] for each in found] == [8, 8]


def test_the_map_of_a_layer_is_its_own_not_what_the_next_module_makes_of_it() -> None:
    """The ReLU after `conv1.norm` writes in place."""
    config = Config(optimizer=SgdConfig(), layer="conv1.norm")
    config.model = CnnConfig(channels=[4, 6, 8], width=16)
    network = build(config.model, (1, 8, 8), 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    maps = feature_maps(network, "conv1.norm", torch.rand(3, 1, 8, 8))
    assert maps is not None
    assert maps.shape == (3, 4, 8, 8)
    assert float(maps.min()) < 0
    assert network.training
    _, picture = mixed_pictures(network, load(config.dataset), config)
    assert "first 4 of 4 channels" in picture.description
    assert picture.image.shape == (1, 4 * 34, 8 * 34)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("lam", ["batch", "sample"])
@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("siamese", ["original", "partner", "mixture"]),
        ("triplet", ["original", "partner", "partner", "mixture"]),
    ],
)
def test_the_rows_of_the_images_are_what_the_picture_says(
    mode: str, names: list[str], lam: str
) -> None:
    config = Config(layer="conv1", mode=mode, lam=lam, alpha=0.5)
    data = load(config.dataset)
    images, maps = mixed_pictures(build(config.model, (1, 8, 8), 10), data, config)
    assert images.tag == f"mixing/images (rows: {', '.join(names)})"
    assert images.title == maps.title == f"conv1, {mode}, alpha=0.5"
    assert f"`conv1`; mode {mode}, alpha 0.5, seed 0" in images.description
    stated = re.findall(r"- Row (\d): ([\w ]+)(?:, weight (.*))?", images.description)
    assert [int(row) for row, _, _ in stated] == list(range(1, len(names) + 1))
    for name, (_, text, _) in zip(names, stated, strict=True):
        assert name in text
    # Each small image lies in a frame of one pixel, four times as large.
    framed = images.image.reshape(len(names), 34, 8, 34)
    rows = framed[:, 3:33:4, :, 3:33:4].transpose(1, 2)
    torch.testing.assert_close(rows[0], data.train.images[:8, 0] / 255)
    weights = [[float(each) for each in shares.split(", ")] for *_, shares in stated[:-1]]
    assert {len(row) for row in weights} == {8 if lam == "sample" else 1}
    mixture = (torch.tensor(weights)[..., None, None] * rows[:-1]).sum(0)
    torch.testing.assert_close(mixture, rows[-1], rtol=0, atol=0.016)
    for partners in rows[1:-1]:
        assert sorted(partners.sum((1, 2)).tolist()) == pytest.approx(
            sorted(rows[0].sum((1, 2)).tolist())
        )


def test_of_many_images_the_picture_counts_the_partners() -> None:
    config = Config(layer="input", mode="6")
    data = load(config.dataset)
    [picture] = mixed_pictures(build(config.model, (1, 8, 8), 10), data, config)
    assert picture.tag == "mixing/images (rows: original, 5 partners, mixture)"
    assert picture.title == "input, 6 images, alpha=1"
    assert picture.image.shape[1] == 7 * 34


def test_the_picture_of_feature_maps_says_what_it_shows() -> None:
    config = Config(layer="pool1", mode="triplet", alpha=0.5)
    network = build(config.model, (1, 8, 8), 10)
    _, maps = mixed_pictures(network, load(config.dataset), config)
    assert maps.tag == "mixing/mixed feature maps at pool1 (rows: channels)"
    assert "`pool1`; mode triplet, alpha 0.5, seed 0" in maps.description
    assert "- Rows: the first 8 of 32 channels" in maps.description
    assert "- Columns: the samples" in maps.description


@pytest.mark.parametrize(
    ("config", "title", "said"),
    [
        (Config(layer="none"), "none (plain training)", "Nothing is mixed"),
        (Config(layer="input"), "input, siamese, alpha=1", "Mixing at `input`; mode siamese"),
        (Config(layer="fc1"), "fc1, siamese, alpha=1", "mixes its feature maps at `fc1` instead"),
        (
            Config(layer=["conv1", "input"]),
            "conv1+input, siamese, alpha=1",
            "one of `conv1, input`, drawn at each step, here `input`",
        ),
    ],
)
def test_settings_without_a_picture_of_maps(config: Config, title: str, said: str) -> None:
    network = build(config.model, (1, 8, 8), 10)
    [picture] = mixed_pictures(network, load(config.dataset), config)
    assert picture.title == title
    assert said in picture.description


def test_a_resumed_cell_holds_each_epoch_once(tmp_path: Path) -> None:
    lines = [{"epoch": epoch, "loss": float(epoch), "seconds": 1.0} for epoch in (1, 2, 3)]
    with told(tmp_path) as board:
        for line in lines:
            board.epoch(line)
    # Killed after epoch 3, the checkpoint is from after epoch 1.
    with told(tmp_path, lines=lines[:1], state="resumed") as board:
        for epoch in (2, 3, 4):
            board.epoch({"epoch": epoch, "loss": 10.0 * epoch})
    found = events(tmp_path / EVENTS).Scalars("train/loss")
    scalars = [(event.step, event.value) for event in found]
    assert scalars == [(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)]


def test_a_link_leads_no_events_out_of_the_study(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events.out.tfevents.1").touch()
    cell = tmp_path / "cell"
    cell.mkdir()
    (cell / EVENTS).symlink_to(elsewhere)
    with told(cell) as board:
        board.result({"a": 1.0}, 1)
    assert [path.name for path in elsewhere.iterdir()] == ["events.out.tfevents.1"]
    assert (cell / EVENTS).is_dir()


def test_a_cell_shows_scalars_pictures_and_hyperparameters(tmp_path: Path) -> None:
    write_cell(tmp_path, Config(mode="triplet"))
    found = events(tmp_path / EVENTS)
    assert {"train/loss", "test/accuracy", *METRICS} <= set(found.Tags()["scalars"])
    # As tensors: TensorBoard's fast loader drops the descriptions of other images.
    tag = "mixing/images (rows: original, partner, partner, mixture)"
    assert {tag, "mixing/mixed feature maps at conv1 (rows: channels)"} == set(
        found.Tags()["tensors"]
    )
    about = found.SummaryMetadata(tag)
    assert about.plugin_data.plugin_name == "images"
    assert about.display_name == "conv1, triplet, alpha=1"
    assert "- Row 4: their mixture" in about.summary_description
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
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def charts(study: Path) -> dict[str, set[str]]:
    """The charts of a study's comparison, and the lines in each."""
    found: dict[str, set[str]] = {}
    for folder in (study / "comparison").iterdir():
        for tag in events(folder).Tags()["scalars"]:
            found.setdefault(tag, set()).add(folder.name)
    return found


def test_comparison_has_the_whole_study_after_a_smaller_command(
    run: Command, tmp_path: Path
) -> None:
    study = tmp_path / "outputs/default"
    three = {"setting", "image mixup", "plain"}
    assert run("-m", "layer=none,conv1", "alpha=0.2,1", *SMALL).code == 0
    whole = {
        "comparison/digits cnn: none": {"setting"},
        "comparison/digits cnn: input, siamese, alpha=0.2": {"setting", "plain"},
        "comparison/digits cnn: input, siamese, alpha=1": {"setting", "plain"},
        "comparison/digits cnn: conv1, siamese, alpha=0.2": three,
        "comparison/digits cnn: conv1, siamese, alpha=1": three,
    }
    assert charts(study) == whole
    assert run("layer=conv1", "alpha=1", *SMALL).code == 0
    assert charts(study) == whole


def test_comparison_tells_variants_and_networks_apart(run: Command, tmp_path: Path) -> None:
    small = [*SMALL, "baseline=false", "layer=input"]
    assert run("-m", "optimizer.lr=0.01,0.1", *small).code == 0
    other = [each for each in small if not each.startswith("model.")]
    assert run("model=preact_resnet18", "model.width=8", *other).code == 0
    assert charts(tmp_path / "outputs/default") == {
        "comparison/digits cnn: input, siamese, alpha=1, optimizer.lr=0.01": {"setting"},
        "comparison/digits cnn: input, siamese, alpha=1, optimizer.lr=0.1": {"setting"},
        "comparison/digits preact_resnet18: input, siamese, alpha=1": {"setting"},
    }


@pytest.fixture(scope="module", params=["auto", "false"])
def tensorboard(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of a TensorBoard over a study, with its fast loader where there is one, or not."""
    study = tmp_path_factory.mktemp("study")
    for name, config in STUDY.items():
        write_cell(study / "cells" / name, config)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tensorboard.main", "--logdir", str(study)),
            *("--port", "0", "--host", "127.0.0.1", "--load_fast", request.param),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                # It reads the files beside answering.
                wait_for(lambda: len(hparams_rows(found.group(0))) == len(STUDY))
                yield found.group(0)
                break
        else:
            pytest.fail("tensorboard did not start")
    finally:
        process.terminate()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def answer(address: str, question: Mapping[str, Any] | None = None) -> Any:
    """What TensorBoard answers, as JSON, to a GET or to the POST of `question`."""
    request = urllib.request.Request(  # noqa: S310  # loopback
        address,
        data=None if question is None else json.dumps(question).encode(),
        headers={"Content-Type": "application/json"},
    )
    # Past any proxy: on a machine that has one, it would be asked for the page of this one.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request) as found:
        return json.load(found)


def hparams_rows(address: str) -> list[dict[str, Any]]:
    """The rows of the HParams dashboard, as the page itself asks for them."""
    question = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [],
        "startIndex": 0,
        "sliceSize": 100,
    }
    found = answer(f"{address}/data/plugin/hparams/session_groups", question)
    rows: list[dict[str, Any]] = found["sessionGroups"]
    return rows


@pytest.mark.slow
def test_the_page_gets_every_cell_and_every_description(tensorboard: str) -> None:
    rows = {row["name"].split("/")[-2]: row for row in hparams_rows(tensorboard)}
    assert rows.keys() == STUDY.keys()
    assert rows["conv2"]["hparams"]["layer"] == "conv2"
    assert rows["conv2"]["hparams"]["optimizer.lr"] == 0.2
    assert rows["conv2"]["hparams"]["model.batch_norm"] is True
    values = {each["name"]["tag"]: each["value"] for each in rows["conv1"]["metricValues"]}
    assert {tag: values[tag] for tag in METRICS} == pytest.approx(METRICS)
    experiment = answer(f"{tensorboard}/data/plugin/hparams/experiment", {"hparamsLimit": 1000})
    first = [column["name"] for column in experiment["hparamInfos"][:4]]
    assert first == ["alpha", "layer", "mode", "optimizer.lr"]
    pictures = answer(f"{tensorboard}/data/plugin/images/tags")
    for name, config in STUDY.items():
        for about in pictures[f"cells/{name}/{EVENTS}"].values():
            assert about["displayName"].startswith(str(config.layer))
            assert len(about["description"]) > 50


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("tensorboard", ["auto"], indirect=True)  # the page is one
def test_hparams_dashboard_in_a_browser(tensorboard: str, tmp_path: Path) -> None:
    """The page draws its table: many colours and dark text, where an error page is blank."""
    assert CHROMIUM is not None
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            "--no-proxy-server",
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
