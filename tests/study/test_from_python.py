"""`hiddenmix.run` and `hiddenmix.load`: the command and its networks from Python."""

import json
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

import hiddenmix
from hiddenmix.config import CnnConfig, Config, DatasetConfig
from hiddenmix.data import prepare, read
from hiddenmix.study import attempting, from_python
from tests.support.commands import ALONE

FAST = [each for each in ALONE if not each.startswith(("epochs", "workers"))] + ["epochs=1"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sweep_gives_the_studys_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = hiddenmix.run([*FAST, "layer=none,conv1", "mode=triplet"], study="mine", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert list(table["layer"]) == ["conv1", "none"]
    pd.testing.assert_frame_equal(table, hiddenmix.results("outputs/mine"))
    again = hiddenmix.run([*FAST, "layer=none,conv1", "mode=triplet"], study="mine")
    assert "2 networks, 2 already there, 0 to train" in capsys.readouterr().out
    pd.testing.assert_frame_equal(again, table)
    recorded = json.loads(Path("outputs/mine/study.json").read_text())["commands"][0]["command"]
    assert recorded.startswith("python -m hiddenmix.train -m dataset.train_size=200 ")
    assert recorded.endswith("layer=none,conv1 mode=triplet study=mine")


def test_a_configuration_is_as_good_as_overrides() -> None:
    """Numbers and sequences are of the command line's types."""
    config = Config(
        dataset=DatasetConfig(train_size=200),
        model=CnnConfig(channels=(4, 4, 4), width=8.0),  # type: ignore[arg-type]
        alpha=1,
        epochs=1,
        repeats=1.0,
        batch_size=50,
        baseline=False,
    )
    table = hiddenmix.run(config, study="a", quiet=True)
    other = hiddenmix.run(FAST, study="b", quiet=True)
    assert list(table["cell"]) == list(other["cell"])
    assert list(table["accuracy"]) == list(other["accuracy"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["layer=conv9"], "layer=conv9 is not allowed"),
        (["alpah=1"], "alpah is no key"),
        (["alpha=x"], "alpha=x is not allowed"),
        (["model=nope"], "model=nope is not allowed"),
        (["layer=[conv1"], "layer"),
        ([], "nothing"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_written(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    if not overrides:
        with pytest.raises(hiddenmix.UserError, match=words):
            hiddenmix.run([Config(), Config()][:0])
        return
    with pytest.raises(hiddenmix.UserError, match=words):
        hiddenmix.run(overrides)
    assert list(tmp_path.iterdir()) == []


def test_two_threads_train_what_one_would() -> None:
    alone = [hiddenmix.run([*FAST, f"seed={s}"], study="one", quiet=True) for s in (0, 1)][-1]
    found: dict[int, pd.DataFrame] = {}

    def train(seed: int) -> None:
        found[seed] = hiddenmix.run([*FAST, f"seed={seed}"], study="two", quiet=True)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = max(found.values(), key=len)
    columns = ["cell", "accuracy", "nll"]
    pd.testing.assert_frame_equal(both[columns], alone[columns])


def test_networks_that_fail_are_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("made to fail")

    monkeypatch.setattr(attempting, "train_cell", fail)
    with pytest.warns(RuntimeWarning, match="1 of 1 network failed: digits-cnn-conv1-.*made to"):
        hiddenmix.run(FAST, quiet=True)


def test_a_finished_network_is_loaded_with_all_it_needs() -> None:
    table = hiddenmix.run(FAST, study="mine", quiet=True)
    network = hiddenmix.load(Path("outputs/mine/cells") / table["cell"][0])
    data = prepare(read(DatasetConfig()), DatasetConfig())
    assert not network.training
    assert network.classes == [str(digit) for digit in range(10)]
    assert network.shape == (1, 8, 8)
    with torch.no_grad():
        bytes_in = network(data.test.images)
        floats_in = network(data.test.images / 255)
    torch.testing.assert_close(bytes_in, floats_in)
    right = (bytes_in.argmax(1) == data.test.labels).float().mean()
    assert float(right) == pytest.approx(table["accuracy"][0])
    with pytest.raises(ValueError, match=r"expects \[B, C, H, W\] with C = 1"):
        network(torch.zeros(1, 3, 8, 8))
    with pytest.raises(TypeError, match="expects uint8"):
        network(torch.zeros(1, 1, 8, 8, dtype=torch.int64))


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(hiddenmix.UserError, match="no finished network"):
        hiddenmix.load("nowhere")
    table = hiddenmix.run(FAST, study="mine", quiet=True)
    cell = Path("outputs/mine/cells") / table["cell"][0]
    weights = cell / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(hiddenmix.UserError, match="damaged"):
        hiddenmix.load(cell)


def test_commas_sweep_in_keys_that_hold_text_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str | None]] = []

    def note(configs: list[Config], *_: object, **__: object) -> int:
        asked.append([each.dataset.title for each in configs])
        raise hiddenmix.UserError("seen")

    monkeypatch.setattr(from_python, "run_command", note)
    with pytest.raises(hiddenmix.UserError, match="seen"):
        hiddenmix.run([*FAST, "dataset.title=my set,other"])
    assert asked == [["my set", "other"]]
