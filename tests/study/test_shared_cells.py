"""Networks that several jobs of a command share: measured as all of them ask, or refused beforehand."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiddenmix.config import Config, ConfigError, DatasetConfig, configurations
from hiddenmix.study.planning import check_requests, check_shared, make_plan
from hiddenmix.study.running import check_elsewhere
from tests.support.commands import ALONE, Command, cells, command

CLEAN = Config(layer="none", repeats=1, baseline=False)
FULL = replace(CLEAN, evaluation="full", evaluation_images=100)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def outside(**sets: str) -> Config:
    return replace(FULL, dataset=DatasetConfig(outside=sets))


def one(*jobs: Config) -> Config:
    [cell] = make_plan((job, "") for job in jobs).cells.values()
    return cell


def test_the_full_evaluation_of_one_job_is_that_of_the_network() -> None:
    ignored = replace(CLEAN, evaluation_images=7)
    for jobs in ([CLEAN, FULL], [FULL, CLEAN], [ignored, FULL]):
        cell = one(*jobs)
        assert (cell.evaluation, cell.evaluation_images) == ("full", 100)
    assert one(CLEAN, ignored).evaluation == "clean"
    assert one(CLEAN, replace(CLEAN, checkpoint_seconds=5)).checkpoint_seconds == 5


def test_baselines_are_measured_as_the_settings_that_share_them() -> None:
    jobs = [Config(repeats=2), replace(FULL, layer="conv2", baseline=True)]
    found = [
        (cell.layer, cell.seed, cell.evaluation)
        for cell in make_plan((job, "") for job in jobs).cells.values()
    ]
    assert sorted(found) == [
        *(("conv1", 0, "clean"), ("conv1", 1, "clean"), ("conv2", 0, "full")),
        *(("input", 0, "full"), ("input", 1, "clean")),
        *(("none", 0, "full"), ("none", 1, "clean")),
    ]


def test_outside_sets_of_all_jobs_are_measured() -> None:
    cell = one(CLEAN, outside(far="a"), FULL, outside(near="b", far="a/"))
    assert cell.dataset.outside == {"far": "a", "near": "b"}
    assert one(CLEAN, FULL).dataset.outside is None


CONTRADICTIONS = [
    ("evaluation_images", "[100,200]", [FULL, replace(FULL, evaluation_images=200)]),
    ("evaluation_images", "[100,null]", [FULL, CLEAN, replace(FULL, evaluation_images=None)]),
    ("evaluate_every", "[null,2]", [CLEAN, replace(CLEAN, evaluate_every=2)]),
    ("margin", "[0.5,1.0]", [CLEAN, replace(CLEAN, margin=1.0)]),
    ("dataset.outside.far", "[a,b]", [outside(far="a"), outside(far="b")]),
]


@pytest.mark.parametrize("check", [check_requests, check_elsewhere])
@pytest.mark.parametrize(("key", "values", "jobs"), CONTRADICTIONS)
def test_contradictions_are_refused_in_two_lines(
    check: Callable[[list[Config]], None], key: str, values: str, jobs: list[Config]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(jobs)
    first, second = str(caught.value).splitlines()
    assert first == f"{key}={values} is not allowed"
    assert second.endswith(
        "one value for all jobs that share a network, such as digits-cnn-none-s0"
    )


@pytest.mark.parametrize("others", [{"study": "b"}, {"seed": 1}, {"epochs": 2}, {"layer": "conv1"}])
def test_networks_that_are_not_shared_may_differ(others: dict[str, Any]) -> None:
    for _, _, jobs in CONTRADICTIONS:
        alone = [replace(each, baseline=False) for each in jobs]
        check_shared([*alone[:-1], replace(alone[-1], **others)])


def test_an_engine_s_jobs_measure_the_same_outside_sets() -> None:
    """The later one would replace what the earlier one measured."""
    check_elsewhere([CLEAN, FULL, outside(far="a"), outside(far="a")])
    with pytest.raises(ConfigError, match=r"dataset\.outside=\[\[far\],\[near\]\] is not allowed"):
        check_elsewhere([outside(far="a"), outside(near="b")])
    check_shared([outside(far="a"), outside(near="b")])


@pytest.mark.parametrize("data", ["cifar", "digits", "fashion"])
def test_the_published_studies_ask_for_one_thing(data: str) -> None:
    names = f"experiment=answer_{data},answer_{data}_originals"
    jobs = configurations([names])
    assert len({each.originals for each in jobs}) == 2
    check_shared(jobs)


ENGINES = ((), ("hydra/launcher=basic",))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_part_of_a_sweep_is_dropped(
    run: Command, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    ended = run("-m", *ALONE, "epochs=1", "evaluation=clean,full", "evaluation_images=20", *engine)
    assert ended.code == 0, ended.errors
    [cell] = cells(tmp_path)
    result = json.loads((cell / "result.json").read_text())
    assert result["evaluated"]["images"] == 20
    assert result["shift"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sweep_that_contradicts_itself_leaves_nothing(
    run: Command, tmp_path: Path, engine: tuple[str, ...]
) -> None:
    ended = run("-m", *ALONE, "evaluate_every=1,2", *engine)
    assert ended.code == 2
    assert ended.errors.startswith("evaluate_every=[1,2] is not allowed\n")
    assert ended.errors.count("\n") == 2
    assert list(tmp_path.iterdir()) == []
