"""Checkpoints: whatever happens to the files, the newest good state is loaded, or none."""

import errno
import io
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from hiddenmix.study import checkpoints
from hiddenmix.study.checkpoints import CURRENT, PREVIOUS
from hiddenmix.system import atomic
from tests.support.commands import (
    ALONE,
    Command,
    at_step,
    cells,
    command,
    counted_steps,
    outcome,
    undisturbed,
)

CELL = "digits-cnn-none-s0-01234567"


def state(number: int) -> dict[str, Any]:
    """A state of about 100 kB that is recognised by its numbers."""
    weights = torch.arange(25_000, dtype=torch.float32) + number
    return {"training": {"network": {"weights": weights}, "epoch": number}, "metrics": []}


def same(loaded: dict[str, Any] | None, number: int) -> bool:
    assert loaded is not None
    expected = state(number)["training"]
    return loaded["training"]["epoch"] == number and torch.equal(
        loaded["training"]["network"]["weights"], expected["network"]["weights"]
    )


class Warnings(list[str]):
    """Collects what `load` warns of."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds state 1 as the previous checkpoint and state 2 as the current one."""
    checkpoints.save(tmp_path, CELL, state(1))
    checkpoints.save(tmp_path, CELL, state(2))
    return tmp_path


def test_a_cell_of_any_script_knows_its_own(tmp_path: Path) -> None:
    """Named by a module or a layer of it."""
    warned = Warnings()
    checkpoints.save(tmp_path, "digits-réseau.Net-层-siamese-a1-s0-01234567", state(1))
    found = checkpoints.load(tmp_path, "digits-réseau.Net-层-siamese-a1-s0-01234567", warned)
    assert same(found, 1)
    assert not warned


def test_the_newest_state_is_loaded_and_the_one_before_kept(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {CURRENT, PREVIOUS}
    warned = Warnings()
    assert same(checkpoints.load(folder, CELL, warned), 2)
    (folder / CURRENT).unlink()  # as a kill between the two renames leaves it
    assert same(checkpoints.load(folder, CELL, warned), 1)
    assert not warned
    checkpoints.remove(folder)
    assert checkpoints.load(folder, CELL, warned) is None
    assert not warned
    assert list(folder.iterdir()) == []


def test_any_cut_falls_back(folder: Path) -> None:
    whole = (folder / CURRENT).read_bytes()
    cuts = range(0, len(whole), 1024)
    assert len(cuts) > 90
    for cut in cuts:
        (folder / CURRENT).write_bytes(whole[:cut])
        warned = Warnings()
        assert same(checkpoints.load(folder, CELL, warned), 1)
        assert len(warned) == 1
        assert "is not used: it is damaged" in warned[0]
    previous = (folder / PREVIOUS).read_bytes()
    for cut in cuts:
        (folder / PREVIOUS).write_bytes(previous[:cut])
        warned = Warnings()
        assert checkpoints.load(folder, CELL, warned) is None
        assert len(warned) == 2


def test_any_flipped_bit_falls_back(folder: Path) -> None:
    whole = (folder / CURRENT).read_bytes()
    header = whole.index(b"\n") + 1
    draw = random.Random(0)
    # Every byte of the header, and 200 places all over the file.
    places = [*range(header), *(draw.randrange(len(whole)) for _ in range(200))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        (folder / CURRENT).write_bytes(damaged)
        warned = Warnings()
        assert same(checkpoints.load(folder, CELL, warned), 1)
        assert len(warned) == 1


def test_other_versions_and_configurations_are_refused_by_name(folder: Path) -> None:
    warned = Warnings()
    assert checkpoints.load(folder, "digits-cnn-none-s1-89abcdef", warned) is None
    assert f"it belongs to another configuration, {CELL}" in warned[0]
    for name in (CURRENT, PREVIOUS):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"checkpoint 1 ", b"checkpoint 99 ", 1))
    warned = Warnings()
    assert checkpoints.load(folder, CELL, warned) is None
    assert "it has version 99, this program reads 1" in warned[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    broken = state(3)
    broken["training"]["network"]["weights"][17] = value
    checkpoints.save(folder, CELL, broken)
    warned = Warnings()
    assert same(checkpoints.load(folder, CELL, warned), 2)
    assert "not finite" in warned[0]


@pytest.mark.parametrize("content", [["a list"], 7, None])
def test_what_is_no_state_is_refused(folder: Path, content: object) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_signed(folder / CURRENT, buffer.getvalue())
    warned = Warnings()
    assert same(checkpoints.load(folder, CELL, warned), 1)
    assert "no training state" in warned[0]


def write_signed(path: Path, payload: bytes) -> None:
    """A checkpoint whose digest is right, whatever it holds."""
    digest = checkpoints._digest(CELL, payload)
    path.write_bytes(f"hiddenmix checkpoint 1 {CELL} {digest}\n".encode() + payload)


@pytest.mark.parametrize("payload", [b"", b"no zip file", b"PK\x03\x04", b"\x80\x02."])
def test_a_right_digest_of_nonsense_is_refused(folder: Path, payload: bytes) -> None:
    write_signed(folder / CURRENT, payload)
    warned = Warnings()
    assert same(checkpoints.load(folder, CELL, warned), 1)
    assert len(warned) == 1


def test_folders_and_links_in_the_place_of_files(folder: Path, tmp_path: Path) -> None:
    (folder / CURRENT).unlink()
    (folder / CURRENT).mkdir()
    warned = Warnings()
    assert same(checkpoints.load(folder, CELL, warned), 1)
    (folder / CURRENT).rmdir()
    (folder / CURRENT).symlink_to(CURRENT)
    assert same(checkpoints.load(folder, CELL, warned), 1)
    assert len(warned) == 2


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_failed_write_leaves_the_older_states(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(folder, CELL, state(3))
    assert {path.name for path in folder.iterdir()} == {CURRENT, PREVIOUS}
    assert same(checkpoints.load(folder, CELL, Warnings()), 2)


def test_a_write_that_the_disk_garbled_never_replaces_a_good_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = atomic.write_bytes
    monkeypatch.setattr(
        atomic, "write_bytes", lambda path, content: write(path, content[:-1] + b"\0\0")
    )
    with pytest.raises(checkpoints.CheckpointError):
        checkpoints.save(folder, CELL, state(3))
    assert same(checkpoints.load(folder, CELL, Warnings()), 2)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("damaged", "steps", "warnings"),
    [((), 3, 0), ((CURRENT,), 4, 1), ((CURRENT, PREVIOUS), 8, 2)],
    ids=["none", "the newest", "both"],
)
def test_a_run_goes_on_from_what_is_left_to_the_same_numbers(
    run: Command, tmp_path: Path, damaged: tuple[str, ...], steps: int, warnings: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))
        assert run(*ALONE).code == 128 + signal.SIGTERM
    [cell] = cells(tmp_path)
    for name in damaged:
        content = bytearray((cell / name).read_bytes())
        content[len(content) // 2] ^= 4
        (cell / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        trained = counted_steps(patch)
        ended = run(*ALONE)
    assert ended.code == 0
    assert len(trained) == steps
    assert ended.output.count("it is damaged (its digest is wrong)") == warnings
    assert outcome(tmp_path / "outputs/default") == undisturbed(run, *ALONE)


def test_a_state_that_does_not_fit_the_network_starts_over(run: Command, tmp_path: Path) -> None:
    """As a checkpoint of a program whose networks had other layers does."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))
        run(*ALONE)
    [cell] = cells(tmp_path)
    saved = checkpoints.load(cell, cell.name, Warnings())
    assert saved is not None
    for break_it in ("network", "optimizer", "step"):
        broken = {**saved, "training": {**saved["training"]}}
        del broken["training"][break_it]
        checkpoints.save(cell, cell.name, broken)
        with pytest.MonkeyPatch.context() as patch:
            trained = counted_steps(patch)
            ended = run(*ALONE)
        assert ended.code == 0
        assert len(trained) == 8
        assert "does not fit and is not used" in ended.output
        assert outcome(tmp_path / "outputs/default") == undisturbed(run, *ALONE)
        (cell / "result.json").unlink()
