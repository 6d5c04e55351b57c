"""MLflow: a run for each cell, in a SQLite store of the study's own or at MLFLOW_TRACKING_URI."""

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, ViewType
from mlflow.exceptions import MlflowException

from hiddenmix.study import locks
from hiddenmix.study.pictures import Picture
from hiddenmix.study.tracking import SCALARS, Ended, Tracked, moments
from hiddenmix.system import atomic

FOLDER = "mlflow"
"""Below the study's folder: the store, and what runs leave beside their numbers."""

_FLUSH_SECONDS = 5.0
"""A store on a disk takes as long for one epoch as for a hundred."""

_MANY = 1000
"""Metrics that MLflow takes at once."""

_URI = "MLFLOW_TRACKING_URI"

_STATUS: dict[Ended, str] = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


def store_uri(study: Path) -> str:
    """The store of a study: MLflow's own environment variable, or a file of the study's."""
    own = (study / FOLDER / "mlflow.db").absolute()
    return os.environ.get(_URI) or f"sqlite:///{own}"


def _place() -> str:
    """Which store that is, in a word: a study may be moved, and an address may hold a password."""
    uri = os.environ.get(_URI)
    return hashlib.sha256(uri.encode()).hexdigest()[:16] if uri else "study"


class MLflow:
    """The MLflow run of one cell, as `Tracker`. Its id stays in the cell's folder: a training that goes
    on from a checkpoint goes on with its run, to which it adds the epochs that it lacks. One that begins
    anew has a run of its own."""

    def __init__(self, cell: Tracked) -> None:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._cell = cell
        self._waiting: list[Metric] = []
        self._flushed = time.monotonic()
        uri = store_uri(cell.study)
        # Several processes must neither make the store nor the experiment twice.
        with locks.locked(cell.study / "locks" / "mlflow.lock"):
            self._client = MlflowClient(tracking_uri=uri)
            known = self._continued()
            self._run = known or self._begun()
        self._new = known is None
        self._replay()

    def _continued(self) -> str | None:
        """The run that the training goes on with, if there is one."""
        place, _, run = self._kept().partition(" ")
        if place != _place() or not run:
            return None
        try:
            found = self._client.get_run(run)
        except MlflowException:  # deleted since
            return None
        if self._cell.state == "new":
            if found.info.status == "RUNNING":  # killed before its first checkpoint
                self._client.set_terminated(run, "KILLED")
            return None
        if found.info.lifecycle_stage != "active":
            return None
        if self._cell.state != "done":
            self._client.update_run(run, "RUNNING")
        return run

    def _begun(self) -> str:
        name = f"hiddenmix-{self._cell.study.name}"
        found = self._client.search_experiments(
            view_type=ViewType.ALL, filter_string=f"name = '{name}'"
        )
        if found:
            if found[0].lifecycle_stage != "active":
                self._client.restore_experiment(found[0].experiment_id)
            experiment = found[0].experiment_id
        else:
            artifacts = (self._cell.study / FOLDER / "artifacts").absolute().as_uri()
            experiment = self._client.create_experiment(
                name, None if os.environ.get(_URI) else artifacts
            )
        tags = {"hiddenmix.cell": self._cell.folder.name, "hiddenmix.setting": self._cell.setting}
        run: str = self._client.create_run(
            experiment, run_name=self._cell.folder.name, tags=tags
        ).info.run_id
        parameters = self._cell.parameters.items()
        self._client.log_batch(run, params=[Param(key, str(value)) for key, value in parameters])
        atomic.write_text(self._cell.folder / "mlflow_run", f"{_place()} {run}")
        return run

    def _kept(self) -> str:
        try:
            return (self._cell.folder / "mlflow_run").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def _replay(self) -> None:
        history = self._client.get_metric_history(self._run, SCALARS["loss"])
        has = {metric.step for metric in history}
        for line, at in moments(self._cell.lines):
            if int(line["epoch"]) not in has:
                self._scalars(line, at)
        self._logged = has | {int(line["epoch"]) for line in self._cell.lines}

    def _scalars(self, line: Mapping[str, float], at: float) -> None:
        values = {tag: line[key] for key, tag in SCALARS.items() if key in line}
        self._add(values, int(line["epoch"]), at)

    def _add(self, values: Mapping[str, float], step: int, at: float) -> None:
        self._waiting += [
            Metric(tag, float(value), int(at * 1000), step) for tag, value in values.items()
        ]
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run, metrics=self._waiting[:_MANY])
            del self._waiting[:_MANY]
        self._flushed = time.monotonic()

    def epoch(self, line: Mapping[str, float]) -> None:
        # Killed after its last checkpoint, the training repeats epochs that the run has.
        if int(line["epoch"]) not in self._logged:
            self._scalars(line, time.time())

    def pictures(self, pictures: Sequence[Picture]) -> None:
        if self._new:
            for number, picture in enumerate(pictures, 1):
                pixels = picture.image.permute(1, 2, 0).mul(255).byte().numpy()
                self._client.log_image(self._run, pixels, artifact_file=f"mixing/{number}.png")

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        self._add(metrics, step, time.time())

    def close(self, ended: Ended) -> None:
        self._flush()
        if self._cell.state != "done":
            self._client.set_terminated(self._run, _STATUS[ended])
