"""Trackers: one that breaks costs nothing, and what MLflow and Weights & Biases hold of a cell."""

import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from hiddenmix.config.errors import ConfigError, UserError
from hiddenmix.config.schema import Config
from hiddenmix.study import tracking
from hiddenmix.study.pictures import Picture
from hiddenmix.study.planning import check_requests
from hiddenmix.study.tracking import Tracked, Tracker, Trackers, check_trackers
from tests.support.commands import ALONE, Command, cells, command, wait_for
from tests.support.without_locks import SAID, leave_markers

LINES = [
    {"epoch": epoch, "loss": 1 / epoch, "test_accuracy": 0.1 * epoch, "seconds": 1.0}
    for epoch in (1, 2, 3)
]
PICTURES = [Picture("mixing/images (rows: a)", "title", "text", torch.rand(1, 6, 8))]
PARAMETERS: dict[str, tracking.Value] = {"layer": "conv1", "optimizer.lr": 0.1, "seed": 3}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def cell(study: Path, **options: Any) -> Tracked:
    folder = study / "cells" / "a-s3"
    folder.mkdir(parents=True, exist_ok=True)
    (study / "locks").mkdir(exist_ok=True)
    return Tracked(study, folder, "a", PARAMETERS, **options)


def train(tracker: Tracker, lines: Sequence[dict[str, float]], ended: tracking.Ended) -> None:
    """What a training of so many epochs tells, to its end or a signal."""
    tracker.pictures(PICTURES)
    for line in lines:
        tracker.epoch(line)
    if ended == "done":
        tracker.result({"final/accuracy": 0.9, "outside/far:fog": 0.5}, 3)
    tracker.close(ended)


class Broken:
    """A tracker of which one method fails."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.told: list[str] = []

    def _do(self, method: str) -> None:
        self.told.append(method)
        if method == self.method:
            raise ConnectionError("the server is gone\nfor good")

    def epoch(self, line: object) -> None:
        self._do("epoch")

    def pictures(self, pictures: object) -> None:
        self._do("pictures")

    def result(self, metrics: object, step: int) -> None:
        self._do("result")

    def close(self, ended: object) -> None:
        self._do("close")


@pytest.mark.parametrize("method", ["open", "pictures", "epoch", "result", "close"])
def test_a_tracker_that_breaks_is_said_once_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    made = {"mlflow": Broken(method), "tensorboard": Broken("")}

    def begin(name: str, tracked: Tracked) -> Broken:
        if name == "mlflow" and method == "open":
            raise ConnectionError("the server is gone\nfor good")
        return made[name]

    monkeypatch.setattr(tracking, "_open", begin)
    said: list[str] = []
    with Trackers(["mlflow", "tensorboard"], cell(tmp_path), said.append) as told:
        told.pictures(PICTURES)
        for line in LINES:
            told.epoch(line)
        told.result({}, 3)
    [warned] = said
    assert warned.startswith(
        "warning: a-s3: mlflow failed: the server is gone for good; it is told"
    )
    assert made["tensorboard"].told == ["pictures", *3 * ["epoch"], "result", "close"]
    assert made["mlflow"].told.count(method) == (method != "open")


def test_a_server_that_breaks_in_two_networks_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def begin(name: str, tracked: Tracked) -> Broken:
        asked.append(name)
        return Broken("close" if len(asked) != 2 else "")

    monkeypatch.setattr(tracking, "_open", begin)
    broken: Counter[str] = Counter()
    said: list[str] = []
    for _ in range(6):
        with Trackers(["wandb"], cell(tmp_path), said.append, broken):
            pass
    # The second network goes well; the third and the fourth do not.
    assert len(asked) == 4
    assert [("of the next ones" in line) for line in said] == [False, False, True]


def test_a_tracker_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    class Hanging(Broken):
        def epoch(self, line: object) -> None:
            answered.wait()

    monkeypatch.setattr(tracking, "_open", lambda name, tracked: Hanging(""))
    monkeypatch.setitem(tracking.PATIENCE, "stopped", 0.05)
    said: list[str] = []

    def stopped() -> None:
        with Trackers(["mlflow"], cell(tmp_path), said.append) as told:
            for line in LINES:
                told.epoch(line)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    answered.set()
    assert "mlflow failed: no answer within 0 s" in said[0]


@pytest.mark.parametrize(
    ("error", "ended"), [(None, "done"), (ValueError(), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_how_a_cell_ended_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, ended: str
) -> None:
    ends: list[object] = []

    class Ending(Broken):
        def close(self, ended: object) -> None:
            ends.append(ended)

    monkeypatch.setattr(tracking, "_open", lambda name, tracked: Ending(""))
    told = Trackers(["tensorboard"], cell(tmp_path), print)
    told.__exit__(None if error is None else type(error), error, None)
    assert ends == [ended]


def test_a_missing_package_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    check_trackers(Config())
    with pytest.raises(UserError, match=r"tracker=wandb needs wandb.*\n  pip install 'wandb>="):
        check_trackers(Config(tracker=["tensorboard", "wandb"]))


def test_jobs_of_a_command_have_the_same_trackers(run: Command) -> None:
    with pytest.raises(ConfigError, match="one value for all jobs"):
        check_requests([Config(), Config(tracker="tensorboard")])


@pytest.mark.parametrize("value", ["aim", "[tensorboard,tensorboard]", "null", "[{a: 1}]"])
def test_other_trackers_are_refused(run: Command, tmp_path: Path, value: str) -> None:
    ended = run(*ALONE, f"tracker={value}")
    assert ended.code == 2
    assert "allowed: tensorboard, mlflow, wandb, a list such as [tensorboard,ml" in ended.errors
    assert not (tmp_path / "outputs").exists()


def test_without_trackers_nothing_is_left_for_one(run: Command, tmp_path: Path) -> None:
    ended = run(*ALONE, "tracker=[]")
    assert ended.code == 0
    assert "TensorBoard" not in ended.output
    [folder] = cells(tmp_path)
    assert not (folder / "tb").exists()
    assert not (tmp_path / "outputs/default/comparison").exists()
    # No part of what the network is.
    assert "1 already there" in run(*ALONE, "tracker=tensorboard").output


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client of a store of files, which is there at once."""
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs(client: Any) -> list[Any]:
    """The runs of the study, oldest first."""
    experiment = client.get_experiment_by_name("hiddenmix-study")
    return list(client.search_runs([experiment.experiment_id], order_by=["start_time ASC"]))


def losses(client: Any, run: Any) -> list[tuple[int, float]]:
    history = client.get_metric_history(run.info.run_id, "train/loss")
    return [(metric.step, metric.value) for metric in history]


def test_mlflow_has_each_epoch_once_after_a_resume(tmp_path: Path, mlflow: Any) -> None:
    from hiddenmix.study.mlflow_tracker import MLflow

    study = tmp_path / "study"
    train(MLflow(cell(study)), LINES[:2], "stopped")
    [run] = runs(mlflow)
    assert run.info.status == "KILLED"
    # The checkpoint is from after epoch 1: epoch 2 comes again, and is known.
    again = [{**LINES[1], "loss": 7.0}, LINES[2]]
    train(MLflow(cell(study, lines=LINES[:1], state="resumed")), again, "done")
    [run] = runs(mlflow)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "a-s3"
    assert losses(mlflow, run) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert run.data.params == {"layer": "conv1", "optimizer.lr": "0.1", "seed": "3"}
    assert run.data.metrics["final/accuracy"] == 0.9
    assert run.data.metrics["outside/far:fog"] == 0.5
    assert run.data.tags["hiddenmix.setting"] == "a"
    assert [each.path for each in mlflow.list_artifacts(run.info.run_id, "mixing")] == [
        "mixing/1.png"
    ]
    # What the run lacks, since it was killed before it was written, is added.
    mlflow.update_run(run.info.run_id, "RUNNING")
    more = [*LINES, {**LINES[2], "epoch": 4}]
    train(MLflow(cell(study, lines=more, state="resumed")), [], "failed")
    assert [step for step, _ in losses(mlflow, run)] == [1, 2, 3, 4]
    assert runs(mlflow)[0].info.status == "FAILED"


@pytest.mark.filterwarnings(SAID)
def test_mlflow_waits_for_no_lock_that_a_crashed_machine_left(
    tmp_path: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiddenmix.study.mlflow_tracker import MLflow

    study = tmp_path / "study"
    with monkeypatch.context() as patch:
        leave_markers(patch, study / "locks" / "mlflow.lock")
        tracker = MLflow(cell(study))
    train(tracker, [], "done")
    assert len(runs(mlflow)) == 1


def test_mlflow_an_evaluation_is_added_to_the_run(tmp_path: Path, mlflow: Any) -> None:
    from hiddenmix.study.mlflow_tracker import MLflow

    study = tmp_path / "study"
    train(MLflow(cell(study)), LINES, "done")
    board = MLflow(cell(study, lines=LINES, state="done"))
    board.result({"shift/noise_0.1": 0.25}, 4)
    board.close("done")
    [run] = runs(mlflow)
    assert (run.info.status, run.data.metrics["shift/noise_0.1"]) == ("FINISHED", 0.25)
    assert [step for step, _ in losses(mlflow, run)] == [1, 2, 3]


def test_mlflow_a_training_that_begins_anew_is_a_run_of_its_own(
    tmp_path: Path, mlflow: Any
) -> None:
    from hiddenmix.study.mlflow_tracker import MLflow

    study = tmp_path / "study"
    killed = MLflow(cell(study))
    killed.epoch(LINES[0])  # and then SIGKILL, before any checkpoint
    train(MLflow(cell(study)), LINES, "done")
    assert [run.info.status for run in runs(mlflow)] == ["KILLED", "FINISHED"]
    kept = (study / "cells/a-s3/mlflow_run").read_text()
    assert kept.endswith(f" {runs(mlflow)[1].info.run_id}")
    assert str(tmp_path) not in kept
    # A run that is gone does no harm.
    mlflow.delete_run(runs(mlflow)[1].info.run_id)
    train(MLflow(cell(study, lines=LINES, state="resumed")), [], "done")
    assert losses(mlflow, runs(mlflow)[-1]) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")
def test_mlflow_store_of_a_study(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ended = run(*ALONE, "tracker=mlflow")
    assert ended.code == 0
    assert "warning" not in ended.output
    assert "mlflow ui --backend-store-uri sqlite:///outputs/default/mlflow/ml" in ended.output
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/outputs/default/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("hiddenmix-default")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert [step for step, _ in losses(client, found)] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def records(file: Path) -> Iterator[Any]:
    """What an offline run of Weights & Biases holds: a log of LevelDB's format, of its protobufs."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    content, place = file.read_bytes(), 7
    whole = b""
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # the whole, or its last part
            yield Record.FromString(whole)
            whole = b""


@dataclass
class Offline:
    """What the only offline run of the cell holds."""

    about: Any = None
    history: dict[int, dict[str, str]] = field(default_factory=dict)
    """Values as JSON, by step."""

    summary: dict[str, str] = field(default_factory=dict)
    code: int | None = None


def offline(study: Path) -> Offline:
    [file] = (study / "cells/a-s3/wandb").glob("offline-run-*/*.wandb")
    # Its own process writes it, and ends it a moment after `finish` has returned.
    wait_for(lambda: any(each.WhichOneof("record_type") == "exit" for each in records(file)))
    found = Offline()
    for record in records(file):
        match record.WhichOneof("record_type"):
            case "run":
                found.about = record.run
            case "history":
                items = {".".join(each.nested_key): each.value_json for each in record.history.item}
                step = int(items["_step"])
                assert step not in found.history
                found.history[step] = items
            case "summary":
                for each in record.summary.update:
                    found.summary[each.key or ".".join(each.nested_key)] = each.value_json
            case "exit":
                found.code = record.exit.exit_code
    return found


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user without a key."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")


@pytest.mark.usefixtures("wandb")
def test_weights_and_biases_offline_has_each_epoch_once_after_a_resume(tmp_path: Path) -> None:
    from hiddenmix.study.wandb_tracker import WeightsAndBiases

    train(WeightsAndBiases(cell(tmp_path)), LINES[:2], "stopped")
    begun = offline(tmp_path)
    assert (sorted(begun.history), begun.code) == ([0, 1, 2], 1)
    assert "mixing/images (rows: a).path" in begun.history[0]
    again = [{**LINES[1], "loss": 7.0}, LINES[2]]
    train(WeightsAndBiases(cell(tmp_path, lines=LINES[:1], state="resumed")), again, "done")
    whole = offline(tmp_path)
    about = whole.about
    assert about.run_id == begun.about.run_id
    assert (about.display_name, about.run_group) == ("a-s3", "a")
    assert about.project == f"hiddenmix-{tmp_path.name}"
    config = {each.key: each.value_json for each in about.config.update}
    assert {key: config[key] for key in ("layer", "seed")} == {"layer": '"conv1"', "seed": "3"}
    found = {step: float(items["train/loss"]) for step, items in whole.history.items()}
    assert found == {1: 1.0, 2: 7.0, 3: 1 / 3}
    assert (whole.summary["final/accuracy"], whole.code) == ("0.9", 0)
