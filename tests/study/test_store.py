"""The study on disk: results that can be trusted, locks that die with their owner, no way out."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from hiddenmix import report
from hiddenmix.config.errors import UserError
from hiddenmix.config.schema import Config
from hiddenmix.study.store import (
    Cell,
    check_study,
    read_results,
    read_study,
    record_command,
    study_locked,
)
from hiddenmix.system import atomic
from tests.report.test_report import BAD_VALUES
from tests.support.commands import HANG
from tests.support.made_study import made_result

DATA = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    cell = Cell(tmp_path / "study", Config(), DATA)
    cell.prepare()
    return cell


def result(cell: Cell) -> dict[str, Any]:
    return {**made_result("conv1", "siamese", 1.0, 0), "cell": cell.id}


def test_a_result_means_done_and_ends_a_failure(cell: Cell) -> None:
    assert cell.result() is None
    cell.fail({"message": "out of memory"})
    assert cell.failure() == {"message": "out of memory"}
    cell.finish(result(cell))
    assert cell.result() == result(cell)
    assert cell.failure() is None


@pytest.mark.parametrize("size", [0, 1, 100, -2])
def test_a_half_written_result_counts_as_none(cell: Cell, size: int) -> None:
    cell.finish(result(cell))
    path = cell.folder / "result.json"
    path.write_bytes(path.read_bytes()[:size])
    assert cell.result() is None


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"status": "done", "format": 2}',
        b"NaN",
    ],
)
def test_other_content_counts_as_no_result(cell: Cell, content: bytes) -> None:
    (cell.folder / "result.json").write_bytes(content)
    (cell.folder / "failure.json").write_bytes(content)
    assert cell.result() is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 0),
        ("format", None),
        ("status", "failed"),
        ("cell", "another"),
        ("test", None),
        ("test", {}),
        ("test", {"accuracy": 1.5, "nll": 1.0, "ece": 0.1}),
        ("test", {"accuracy": float("nan"), "nll": 1.0, "ece": 0.1}),
        ("test", {"accuracy": "high", "nll": 1.0, "ece": 0.1}),
        ("train", {"loss": 10**400}),
        ("config", []),
        ("seed", "0"),
    ],
)
def test_a_result_with_a_wrong_value_counts_as_none(cell: Cell, key: str, value: Any) -> None:
    cell.finish(result(cell))
    changed = json.dumps(result(cell) | {key: value})  # NaN too, which `finish` would refuse
    (cell.folder / "result.json").write_text(changed)
    assert cell.result() is None


def _node(found: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    *parents, last = key.split(".")
    for part in parents:
        found = found[part]
    return found, last


KEYS = [
    *(made := made_result("conv1", "siamese", 1.0, 0)),
    *(f"{part}.{name}" for part in ("test", "train", "data") for name in made[part]),
]


def test_what_the_store_calls_done_is_what_a_report_counts(tmp_path: Path) -> None:
    """Else a cell is never trained again and never reported, or reported and trained again."""
    wrong = {name: (key, [value]) for name, (key, value) in BAD_VALUES.items()}
    absent: dict[str, tuple[str, list[Any]]] = {f"no-{key}": (key, []) for key in KEYS}
    for seed, (name, (key, values)) in enumerate(
        {"whole": ("seed", [99]), **wrong, **absent}.items()
    ):
        found = {**made_result("conv1", "siamese", 1.0, seed), "cell": name}
        node, last = _node(found, key)
        del node[last]
        node.update((last, value) for value in values)
        folder = tmp_path / "cells" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(found))
    done = {path.name for path, found in read_results(tmp_path).items() if found is not None}
    assert done == {*report.read_study(tmp_path).cells["cell"]}
    assert not done & {*BAD_VALUES}
    optional = [
        *("baseline", "two_images", "title", "mode", "alpha", "calibration", "command"),
        *("disguised", "evaluated", "shift", "adversarial"),
        *("data.mean", "data.std", "data.classes", "data.leaks"),
    ]
    assert done == {"whole", *(f"no-{key}" for key in optional)}


def test_a_result_of_nan_is_not_written(cell: Cell) -> None:
    with pytest.raises(ValueError, match="JSON"):
        cell.finish(result(cell) | {"test": {"accuracy": float("nan")}})
    assert not (cell.folder / "result.json").exists()


def test_folders_and_links_in_the_place_of_a_result(cell: Cell) -> None:
    path = cell.folder / "result.json"
    path.mkdir()
    assert cell.result() is None
    path.rmdir()
    path.symlink_to("result.json")
    assert cell.result() is None
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    assert cell.result() is None


def test_preparing_clears_what_a_killed_or_failed_run_left(cell: Cell) -> None:
    (cell.folder / ".checkpoint.new.pt.abc.tmp").write_bytes(b"half")
    cell.fail({"message": "earlier"})
    cell.prepare()
    assert {path.name for path in cell.folder.iterdir()} == {"config.yaml"}


def test_metrics_are_cut_back_and_appended(cell: Cell) -> None:
    cell.write_metrics([{"epoch": 1}])
    cell.append_metrics({"epoch": 2})
    cell.write_metrics([{"epoch": 1}])
    cell.append_metrics({"epoch": 2})
    lines = (cell.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def _hold(study: Path, pipe: Any) -> None:
    """Ask for the lock at each word that comes, and hold it until the next one."""
    while True:
        with Cell(study, Config(), DATA).locked() as mine:
            pipe.send(mine)
            pipe.recv()


def test_a_lock_excludes_and_is_released_and_dies_with_its_owner(cell: Cell) -> None:
    here, there = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    other = spawn.Process(target=_hold, args=(cell.folder.parent.parent, there), daemon=True)
    with cell.locked() as mine:
        assert mine
        other.start()
        assert here.poll(HANG)
        assert here.recv() is False
    here.send("again")
    assert here.poll(HANG)
    assert here.recv() is True
    with cell.locked() as mine:
        assert not mine
    other.kill()
    other.join(HANG)
    with cell.locked(timeout=HANG) as mine:
        assert mine


def test_commands_are_recorded_once(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for _ in range(2):
        record_command(study, {"command": "a"})
        record_command(study, {"command": "b"})
    assert read_study(study)["commands"] == [{"command": "a"}, {"command": "b"}]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"7"])
def test_a_damaged_study_json_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(content)
    check_study(tmp_path)
    said = record_command(tmp_path, {"command": "a"})
    assert said == (
        f"warning: {path} was damaged and is now study.json.damaged: looks before it are unknown"
    )
    assert (tmp_path / "study.json.damaged").read_bytes() == content
    assert read_study(tmp_path)["commands"] == [{"command": "a"}]
    assert record_command(tmp_path, {"command": "b"}) == ""
    path.write_bytes(b"again")
    assert "study.json.damaged.2:" in record_command(tmp_path, {"command": "a"})
    assert (tmp_path / "study.json.damaged").read_bytes() == content


def test_looks_stay_where_the_commands_are_lost(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"format": 2, "looks": [{"n": 6}], "commands": 7}')
    assert record_command(tmp_path, {"command": "a"}) == ""
    assert read_study(tmp_path)["looks"] == [{"n": 6}]


def test_a_study_json_that_must_not_be_read_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission bits do not stop root, so the system's answer is played."""
    (tmp_path / "study.json").write_text('{"format": 2, "commands": []}')

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for reading in (check_study, read_study, lambda study: record_command(study, {})):
        with pytest.raises(UserError, match=r"study\.json cannot be read: Permission denied"):
            reading(tmp_path)
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []


def test_a_command_is_recorded_once_with_each_time_it_was_given(tmp_path: Path) -> None:
    for invocation in ("x", "y"):
        record_command(tmp_path, {"command": "a", "job": 0}, invocation)
    entry = {"command": "a", "job": 0, "invocations": ["x", "y"]}
    assert read_study(tmp_path)["commands"] == [entry]


@pytest.mark.parametrize("content", [{"format": 1, "commands": []}, {"format": 3}, {"cells": []}])
def test_a_study_of_another_version_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "study.json").write_text(json.dumps(content))
    for refused in (check_study, read_study, lambda study: record_command(study, {})):
        with pytest.raises(UserError, match=r"has format .*, this program writes 2\n") as caught:
            refused(tmp_path)
        assert str(caught.value).count("\n") == 1
    assert json.loads((tmp_path / "study.json").read_text()) == content


@pytest.mark.parametrize("name", ["", "cells", "locks", "comparison", "report", "hydra"])
def test_links_and_files_in_the_place_of_folders_are_refused(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    study = tmp_path / "outputs" / "study"
    path = study / name
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link that may lead out"):
        check_study(study)
    path.unlink()
    path.write_text("a file")
    with pytest.raises(UserError, match="is not a folder"):
        check_study(study)
    assert list(elsewhere.iterdir()) == []


def test_outputs_may_be_a_link_to_a_larger_disk(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "scratch")
    check_study(tmp_path / "outputs" / "study")
    (tmp_path / "scratch").rmdir()
    with pytest.raises(UserError, match="is not a folder"):
        check_study(tmp_path / "outputs" / "study")


def test_a_folder_that_cannot_be_written_is_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission bits do not stop root, so the system's answer is played."""
    asked: list[tuple[Path, int]] = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(UserError, match="cannot be written"):
        check_study(tmp_path / "outputs" / "study")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
    assert list(tmp_path.iterdir()) == []


def test_linked_locks_are_refused_not_opened(cell: Cell, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    study = cell.folder.parent.parent
    (study / "locks").mkdir()
    (study / "locks" / f"{cell.id}.lock").symlink_to(precious)
    with pytest.raises(UserError, match="is a link"), cell.locked():
        pass
    (study / "study.lock").symlink_to(precious)
    with pytest.raises(UserError, match="is a link"), study_locked(study):
        pass
    assert precious.read_text() == "precious"


def test_links_in_the_place_of_files_are_replaced_not_followed(cell: Cell, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    names = ("config.yaml", "metrics.jsonl", "result.json", "failure.json")
    for name in names:
        (cell.folder / name).unlink(missing_ok=True)
        (cell.folder / name).symlink_to(precious)
    cell.prepare()
    cell.write_metrics([])
    cell.append_metrics({"epoch": 1})
    cell.fail({})
    cell.finish(result(cell))
    assert precious.read_text() == "precious"
    assert not any((cell.folder / name).is_symlink() for name in names)


def test_atomic_writing_keeps_the_old_file_on_an_error_and_follows_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("a" * 250)
    atomic.write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_linked_cell_is_refused(cell: Cell, tmp_path: Path) -> None:
    cell.folder.rename(tmp_path / "elsewhere")
    cell.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"), cell.locked():
        pass
