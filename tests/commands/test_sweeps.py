"""Sweeps through Hydra's own door: every grid, sweep function and callback is Hydra's own."""

import re
from pathlib import Path
from typing import Any

import pytest
from hydra.experimental.callback import Callback

from tests.support.commands import ALONE, Command, cells, command

FAST = (*ALONE, "epochs=1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def settings(folder: Path) -> set[str]:
    """Layer, mode, alpha and seed of every cell."""
    return {re.sub(r"^digits-cnn-|-\w{8}$", "", cell.name) for cell in cells(folder)}


def experiments(folder: Path, **grids: str) -> str:
    """A folder with an experiment file for each grid, and the flag that names it."""
    (folder / "mine/experiment").mkdir(parents=True)
    for name, grid in grids.items():
        text = f"# @package _global_\nalpha: 0.5\nhydra:\n  sweeper:\n    params:\n      {grid}\n"
        (folder / f"mine/experiment/{name}.yaml").write_text(text)
    return f"--config-dir={folder / 'mine'}"


def test_experiment_files_that_are_swept_over_keep_their_own_grids(
    run: Command, tmp_path: Path
) -> None:
    folder = experiments(tmp_path, a="layer: conv1,conv2", b="mode: siamese,triplet")
    ended = run(folder, "-m", "experiment=a,b", *FAST)
    assert ended.code == 0, ended.errors
    assert settings(tmp_path) == {
        *("conv1-siamese-a0.5-s0", "conv2-siamese-a0.5-s0", "conv1-triplet-a0.5-s0"),
    }


def test_the_command_line_goes_before_a_files_grid(run: Command, tmp_path: Path) -> None:
    folder = experiments(tmp_path, a="layer: conv1,conv2", b="mode: siamese,triplet")
    assert run(folder, "-m", "experiment=a,b", "layer=conv3", *FAST).code == 0
    assert settings(tmp_path) == {"conv3-siamese-a0.5-s0", "conv3-triplet-a0.5-s0"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("studies", [("study=a_${seed}", "seed=1,2"), ("study=a_1,a_2",)])
def test_a_sweep_over_studies_leaves_no_further_one(
    run: Command, tmp_path: Path, studies: tuple[str, ...]
) -> None:
    ended = run("-m", *FAST, *studies)
    assert ended.code == 0, ended.errors
    assert {each.name for each in (tmp_path / "outputs").iterdir()} == {"a_1", "a_2", ".hydra"}
    assert len(list((tmp_path / "outputs/.hydra").glob("*/multirun.yaml"))) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_hydra_in_a_file_is_refused_without_its_warning(
    run: Command, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nstudy: a_${hydra:job.name}\n"
    (tmp_path / "mine/experiment/a.yaml").write_text(text)
    ended = run(*flags, f"--config-dir={tmp_path / 'mine'}", "experiment=a", *FAST)
    assert (ended.code, ended.errors.splitlines()) == (
        2,
        ["${hydra:...} cannot be used in study", "  allowed: ${<key>}, ${now:...}"],
    )
    assert not (tmp_path / "outputs").exists()


def test_all_wrong_keys_are_told_in_the_order_typed(run: Command, tmp_path: Path) -> None:
    for sweep in ((), ("-m", "layer=conv1,conv2")):
        ended = run(*sweep, "epochs=0", "batch_size=1", "alpha=-1")
        assert ended.code == 2
        told = [line.split("=")[0] for line in ended.errors.splitlines()]
        rule = "  allowed: a whole number from 1 to 1000000"
        assert told[::2] == ["epochs", "batch_size", "alpha"]
        assert ended.errors.splitlines()[1] == rule
        assert not (tmp_path / "outputs").exists()


def test_a_grid_without_m_is_refused(run: Command, tmp_path: Path) -> None:
    ended = run(experiments(tmp_path, a="layer: conv1,conv2"), "experiment=a", *FAST)
    assert ended.code == 2
    assert "layer=conv1,conv2" in ended.errors
    assert "add -m" in ended.errors
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        (("alpha=choice(0.5,2)",), {"conv1-siamese-a0.5-s0", "conv1-siamese-a2-s0"}),
        (("mode=2,siamese,4",), {"conv1-siamese-a1-s0", "conv1-4-a1-s0"}),
        (("seed=range(3,5)",), {"conv1-siamese-a1-s3", "conv1-siamese-a1-s4"}),
        (("layer=conv1,[input,conv1]",), {"conv1-siamese-a1-s0", "input+conv1-siamese-a1-s0"}),
        (("hydra.sweeper.max_batch_size=1", "alpha=1,2"), {"conv1-siamese-a1-s0", "conv1-siamese-a2-s0"}),
    ],
)  # fmt: skip
def test_hydras_ways_of_sweeping(
    run: Command, tmp_path: Path, sweep: tuple[str, ...], expected: set[str]
) -> None:
    ended = run("-m", *FAST, *sweep)
    assert ended.code == 0, ended.errors
    assert settings(tmp_path) == expected


def test_a_glob_of_config_files(run: Command, tmp_path: Path) -> None:
    assert run("-m", *FAST, "optimizer=glob(*)").code == 0
    assert len(cells(tmp_path)) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("layer=conv1,conv9",), "layer=conv9 is not allowed"),
        (("alpha=1,abc",), "alpha=abc is not allowed"),
        (("alpha=1,-1",), "alpha=-1.0 is not allowed"),
        (("alpha=interval(0,1)",), "interval"),
        (("threads=1,2",), "threads=[1,2] is not allowed"),
        (("optimizer=sgd,nope",), "optimizer=nope is not allowed"),
    ],
)
def test_what_is_refused_leaves_nothing(
    run: Command, tmp_path: Path, values: tuple[str, ...], words: str
) -> None:
    ended = run("-m", *[each for each in FAST if "threads" not in each], *values)
    assert ended.code == 2
    assert words in ended.errors
    assert len(ended.errors.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


class Witness(Callback):
    """Writes down what it is told."""

    seen: list[str] = []  # noqa: RUF012  # Hydra makes the object

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        self.seen.append("start")

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        self.seen.append("end")

    def on_job_start(self, config: Any, **_: Any) -> None:
        self.seen.append(f"job {config.hydra.job.num}: {config.alpha}")

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        self.seen.append(f"{job_return.status.name} {config.alpha}")


def test_a_users_callbacks_are_told_of_the_sweep_and_its_jobs(run: Command) -> None:
    Witness.seen.clear()
    mine = "+hydra.callbacks.mine._target_=tests.commands.test_sweeps.Witness"
    ended = run("-m", *FAST, "alpha=1.0,2.0", mine)
    assert ended.code == 0, ended.errors
    jobs = ["job 0: 1.0", "job 1: 2.0", "COMPLETED 1.0", "COMPLETED 2.0"]
    assert Witness.seen == ["start", *jobs, "end"]


def test_failed_networks_of_a_sweep_are_its_exit_code(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hiddenmix.study import attempting

    def fail(*_: Any) -> None:
        raise ValueError("made to fail")

    with monkeypatch.context() as patch:
        patch.setattr(attempting, "train_cell", fail)
        ended = run("-m", *FAST, "alpha=1,2")
    assert ended.code == 1
    assert "2 of 2 networks failed" in ended.output
    # Of the next command in this process nothing is left.
    assert run(*FAST).code == 0


def test_a_sweep_that_finds_nothing_is_no_success(run: Command, tmp_path: Path) -> None:
    ended = run("-m", "optimizer=glob(nope*)", *FAST)
    assert ended.code == 2
    assert "nothing to train" in ended.errors
    assert list(tmp_path.iterdir()) == []


def test_flags_between_overrides_and_two_values_of_a_key(run: Command, tmp_path: Path) -> None:
    ended = run(*FAST, "-m", "layer=conv1", "+layer=conv2,conv3", "alpha=1.0")
    assert ended.code == 0, ended.errors
    assert settings(tmp_path) == {"conv2-siamese-a1-s0", "conv3-siamese-a1-s0"}
    assert "note: layer is given twice: conv2,conv3 is taken, conv1 is not" in ended.errors
