"""Sweeps whose jobs another engine runs: refused beforehand, all named, one table, one exit code.

Hydra's own basic launcher stands for the engines: it is handed a sweep's jobs as they are.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.study import attempting, cell_training
from hiddenmix.study.store import Cell, read_study
from hiddenmix.terminal import explain
from hydra_plugins import _hiddenmix_sweep, hiddenmix_elsewhere
from tests.support.commands import ALONE, Command, cells, command

FAST = ("-m", *ALONE, "epochs=1")
BASIC = (*FAST, "hydra/launcher=basic")
JOBLIB = (*FAST, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def dies(monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """Have the job of `alpha` die in the engine."""
    call = _hiddenmix_sweep.Job.__call__

    def job(self: Any, config: Any) -> int:
        if config.alpha == alpha:
            raise RuntimeError("no such partition")
        return call(self, config)

    monkeypatch.setattr(_hiddenmix_sweep.Job, "__call__", job)


def fails(monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    """Have networks of `alpha` fail."""
    train_cell = cell_training.train_cell

    def fail(cell: Cell, *rest: Any) -> Any:
        if cell.config.alpha == alpha:
            raise ValueError("made to fail")
        return train_cell(cell, *rest)

    monkeypatch.setattr(attempting, "train_cell", fail)


def test_the_launching_process_ends_with_one_table(run: Command, tmp_path: Path) -> None:
    ended = run(*BASIC, "alpha=1,2")
    assert ended.code == 0, ended.errors
    assert ended.output.count("accuracy, %") == 1
    assert len(cells(tmp_path)) == 2
    commands = read_study(tmp_path / "outputs/default")["commands"]
    assert [each["job"] for each in commands] == [0, 1]
    # As the user gave it, in the engine's processes too.
    assert {each["command"].split()[-1] for each in commands} == {"alpha=1,2"}


def test_a_job_that_dies_before_it_records_anything_is_named(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(monkeypatch, 2)
    ended = run(*BASIC, "alpha=1,2,3")
    assert ended.code == 1
    assert "failed: job 1 (alpha=2): RuntimeError: no such partition" in ended.output
    assert len(cells(tmp_path)) == 2  # the later one ran


def test_a_job_of_which_the_engine_says_nothing_is_named(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_hiddenmix_sweep.Job, "__call__", lambda *_: 0)
    ended = run(*BASIC, "alpha=1,2")
    assert ended.code == 1
    assert "failed: job 0 (alpha=1): it ended before it recorded a network" in ended.output
    assert "failed: job 1 (alpha=2)" in ended.output


def test_failed_networks_are_named_with_the_place_of_more(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, 1)
    ended = run(*BASIC, "hydra.sweeper.max_batch_size=1", "alpha=1,2")
    assert ended.code == 1
    [line] = [each for each in ended.output.splitlines() if "more in" in each]
    assert re.match(r"failed: digits-cnn-conv1-siamese-a1-s0-\w+: made to fail", line)
    assert Path(line.rstrip(")").rpartition(" ")[2]).is_file()
    assert "1 of 2 networks failed" in ended.output


def test_another_study_of_an_old_format_is_no_matter(run: Command, tmp_path: Path) -> None:
    old = tmp_path / "outputs/old/study.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"format": 1}')
    ended = run(*BASIC, "alpha=1,2")
    assert ended.code == 0, ended.errors
    assert ended.output.count("accuracy, %") == 1


def test_a_command_given_again_tells_nothing_of_its_former_networks(
    run: Command, tmp_path: Path
) -> None:
    assert run(*BASIC, "alpha=1,2").code == 0
    path = tmp_path / "outputs/default/study.json"
    content = json.loads(path.read_text())
    former = content["commands"][0]
    # As it leaves them where code or data were repaired since, with an id and before there were any.
    content["commands"] += [
        {**former, "cells": ["of-other-code-s0"]},
        {key: former[key] for key in former if key != "invocations"} | {"cells": ["older-s0"]},
    ]
    path.write_text(json.dumps(content))
    ended = run(*BASIC, "alpha=1,2")
    assert ended.code == 0, ended.output
    assert "failed" not in ended.output
    assert len(json.loads(path.read_text())["commands"]) == 4


def test_a_mistake_is_refused_before_anything_is_submitted(run: Command, tmp_path: Path) -> None:
    for wrong in ("layer=conv1,conv9", "alpha=1,-1"):
        ended = run(*BASIC, wrong)
        assert ended.code == 2
        assert "is not allowed" in ended.errors
        assert list(tmp_path.iterdir()) == []


def test_a_mistake_that_jobs_alone_can_see(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiddenmix.train.check_jobs", lambda _: None)
    ended = run(*BASIC, "layer=conv1,conv9")
    assert ended.code == 2
    assert ended.errors.startswith("layer=conv9 is not allowed")
    assert ended.output.count("accuracy, %") == 1  # of the other job


def test_another_machine_may_lack_data_and_device(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []

    def job(_: Any, config: Any) -> int:
        handed.append(config)
        return 0

    monkeypatch.setattr(_hiddenmix_sweep.Job, "__call__", job)
    run(*BASIC, "alpha=1,2", "device=cuda")
    run(
        *BASIC,
        "alpha=1,2",
        "dataset=image_folder",
        "dataset.root=/of/the/nodes",
        "dataset.resize=8",
    )
    assert len(handed) == 4


def test_joblib_goes_on_after_a_network_that_fails(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    fails(monkeypatch, 1)
    ended = run(*JOBLIB, "alpha=1,2")
    assert ended.code == 1
    assert "failed: digits-cnn-conv1-siamese-a1-s0-" in ended.output
    assert ended.output.count("accuracy, %") == 1
    assert "1 of 2 networks failed" in ended.output


def test_joblib_goes_on_after_a_mistake(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.setattr("hiddenmix.train.check_jobs", lambda _: None)
    ended = run(*JOBLIB, "layer=conv9,conv1")
    assert ended.code == 2
    assert ended.errors.startswith("layer=conv9 is not allowed")
    assert "Traceback" not in ended.errors
    assert ended.output.count("accuracy, %") == 1
    assert len(cells(tmp_path)) == 1


def test_joblib_is_handed_a_sweep_again_of_which_a_process_was_ended(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = pytest.importorskip("hydra_plugins.hydra_joblib_launcher.joblib_launcher")
    externals = pytest.importorskip("joblib.externals.loky.process_executor")
    launch = plugin.JoblibLauncher.launch
    handed = []

    def breaks(self: Any, jobs: Any, initial_job_idx: int) -> Any:
        handed.append(jobs)
        returns = launch(self, jobs, initial_job_idx)
        if len(handed) == 1:
            raise externals.TerminatedWorkerError("a process was ended")
        return returns

    monkeypatch.setattr(plugin.JoblibLauncher, "launch", breaks)
    ended = run(*JOBLIB, "alpha=1,2")
    assert ended.code == 0, ended.errors
    assert len(handed) == 2
    assert handed[0] == handed[1]
    assert ended.output.count("accuracy, %") == 1
    assert len(cells(tmp_path)) == 2


def test_submitit_waits_for_the_others_of_a_job_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    from submitit.core.core import Job
    from submitit.core.utils import FailedJobError, UncompletedJobError

    class Submitted(Job[Any]):
        state = "OUT_OF_MEMORY"

    def results(job: Any) -> Any:
        if job.job_id == "1":
            raise UncompletedJobError("nothing")
        if job.job_id == "2":
            raise FailedJobError(
                f"trace:\n{'-' * 22}\nTraceback\nImportError: no torch\n{'-' * 22}\n"
            )
        return ["done"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Job, "results", results)
    jobs = [Submitted(tmp_path, each) for each in "012"]
    with hiddenmix_elsewhere._all_awaited("hydra_plugins.hydra_submitit_launcher"):
        first, *died = [each.results()[0] for each in jobs]
    assert first == "done"
    assert Job.results is results
    said = [str(each._return_value) for each in died]
    assert said == [
        "it ended without a result (state OUT_OF_MEMORY); its log: 1_0_log.err",
        "ImportError: no torch; its log: 2_0_log.err",
    ]


@pytest.mark.parametrize("name", ["slurm", "local"])
def test_ready_files(run: Command, name: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    ended = run(f"hydra/launcher={name}", "--cfg", "hydra", "-p", "hydra.launcher")
    assert "submitit_folder: ${hydra.sweep.dir}/.submitit" in ended.output


def test_a_package_that_is_not_installed_is_named() -> None:
    error = ValueError(
        "In 'hydra/launcher/slurm': Could not find 'hydra/launcher/submitit_slurm'\n"
    )
    assert "pip install 'hydra-submitit-launcher>=1.2'" in explain(error)
