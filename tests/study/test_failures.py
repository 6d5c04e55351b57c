"""A network that fails is recorded, named and tried again; the others are trained."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from tensorboard.compat.tensorflow_stub.io import gfile

from hiddenmix.config.schema import Config
from hiddenmix.data import image_cache
from hiddenmix.study.failures import describe
from hiddenmix.system import atomic
from hiddenmix.training.loop import Training
from tests.support.commands import (
    ALONE,
    SMALL,
    Command,
    at_step,
    cells,
    command,
    counted_steps,
    outcome,
    undisturbed,
)
from tests.support.image_folders import make_folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Command:
    return command(tmp_path, monkeypatch, capsys)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    return fail


def failure(cell: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((cell / "failure.json").read_text())
    return content


CPU_ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 8796093022208 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError(CPU_ALLOCATOR),
        RuntimeError("CUDA error: out of memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_size_and_the_one_to_try(error: BaseException) -> None:
    assert describe(error, Config(batch_size=128)) == (
        "out of memory with batch_size=128; try batch_size=64"
    )
    assert "smaller network" in describe(error, Config(batch_size=3))


def test_the_cpu_allocators_real_error_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert describe(caught.value, Config()).startswith("out of memory with batch_size=128")


def test_other_errors_are_told_in_a_line() -> None:
    config = Config()
    full = OSError(errno.ENOSPC, "No space left on device", "outputs/x")
    assert describe(full, config) == (
        "No space left on device: outputs/x; free some space and run the same command again"
    )
    assert describe(OSError(errno.EROFS, "Read-only file system"), config) == (
        "Read-only file system"
    )
    assert describe(OSError("odd"), config) == "odd"
    assert describe(KeyError(), config) == "KeyError"
    assert describe(ValueError("two\nlines" + "x" * 1000), config).startswith("two lines")
    assert len(describe(ValueError("x" * 1000), config)) == 500


def test_a_failed_network_is_recorded_and_the_next_run_tries_it_alone(
    run: Command, tmp_path: Path
) -> None:
    """Step 11 is the third of the second network, image mixup."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 11, raising(torch.OutOfMemoryError("CUDA out of memory.")))
        ended = run(*SMALL)
    assert ended.code == 1
    assert ended.errors == ""
    message = "out of memory with batch_size=50; try batch_size=25"
    assert re.search(rf"^failed: digits-cnn-input-\S+: {message}$", ended.output, re.MULTILINE)
    assert "1 of 3 networks failed; the same command tries them again" in ended.output
    assert "none " in ended.output.split("gain over")[1]  # the table has the others
    [failed] = [cell for cell in cells(tmp_path) if (cell / "failure.json").exists()]
    content = failure(failed)
    assert content["cell"] == failed.name
    assert (content["error"], content["message"]) == ("OutOfMemoryError", message)
    assert (content["epoch"], content["step"]) == (1, 3)
    assert "_train_step" in content["traceback"]
    with pytest.MonkeyPatch.context() as patch:
        steps = counted_steps(patch)
        ended = run(*SMALL)
    assert ended.code == 0
    assert len(steps) == 8 - 2  # from the checkpoint after its second step
    assert not (failed / "failure.json").exists()
    assert outcome(tmp_path / "outputs/default") == undisturbed(run, *SMALL)


def test_a_sweep_goes_on_after_a_failure(run: Command, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 1, raising(RuntimeError("no luck")))
        ended = run("-m", *SMALL, "layer=input,conv1,conv2")
    assert ended.code == 1
    assert "[4/4]" in ended.output
    assert ended.output.count("failed: digits-cnn-none") == 1
    assert (tmp_path / "outputs/default/report/report.md").exists()


def test_all_failed(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "_train_step", raising(RuntimeError("no luck")))
    ended = run(*SMALL)
    assert ended.code == 1
    assert "3 of 3 networks failed" in ended.output


def test_a_loss_that_is_not_finite(run: Command, tmp_path: Path) -> None:
    ended = run(*ALONE, "optimizer.lr=1e6", "optimizer.schedule=constant", "epochs=20")
    assert ended.code == 1
    [cell] = cells(tmp_path)
    content = failure(cell)
    assert content["error"] == "NonFiniteLossError"
    assert re.match(
        r"loss is not finite at epoch \d+, step \d+, learning rate 1e\+06 "
        r"\(the last finite loss was \S+\); lower optimizer.lr",
        content["message"],
    )


def test_a_network_that_breaks_at_the_last_step_is_no_result(run: Command, tmp_path: Path) -> None:
    def spoil() -> None:
        training.network.classifier.linear.weight.data.fill_(float("nan"))

    training: Any = None
    step = Training._train_step

    def stepped(self: Training, *arguments: Any) -> None:
        nonlocal training
        training = self
        step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_train_step", stepped)
        at_step(patch, 8, spoil)
        ended = run(*ALONE)
    assert ended.code == 1
    assert "outputs are not finite; lower optimizer.lr" in ended.output
    [cell] = cells(tmp_path)
    assert not (cell / "result.json").exists()
    assert run(*ALONE).code == 0


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5, 9, 12, 14, 15, 16, 17])
def test_a_disk_that_is_full_for_one_write(run: Command, tmp_path: Path, write: int) -> None:
    """Whichever of the command's files it hits: a clear failure, then the right numbers."""
    count = 0
    inner = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == write:
            raise full()
        inner(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        ended = run(*ALONE)
    said = ended.output + ended.errors
    assert (ended.code, "No space left on device" in said) in {(1, True), (0, False)}
    assert (ended.code == 0) == (count < write)
    assert run(*ALONE).code == 0
    assert outcome(tmp_path / "outputs/default") == undisturbed(run, *ALONE)


@pytest.mark.parametrize("write", [1, 3, 6])
def test_a_disk_that_is_full_for_tensorboard(run: Command, tmp_path: Path, write: int) -> None:
    count = 0
    inner = gfile.LocalFileSystem._write

    def failing(self: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count >= write:
            raise full()
        inner(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gfile.LocalFileSystem, "_write", failing)
        ended = run(*ALONE)
    # A tracker costs no training: it is said, and the results are the whole study's.
    assert ended.code == 0
    [warned] = [line for line in ended.output.splitlines() if line.startswith("warning: digits-")]
    assert "tensorboard failed: No space left on device; it is told no more" in warned
    found, whole = outcome(tmp_path / "outputs/default"), undisturbed(run, *ALONE)
    for cell in (*found.values(), *whole.values()):
        del cell["tensorboard"]
    assert found == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB at outputs/; needs root."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(outputs)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield outputs
    finally:
        subprocess.run(["umount", str(outputs)], check=True)


def test_a_small_disk_fills_and_is_cleared(run: Command, tmp_path: Path, small_disk: Path) -> None:
    settings = (*SMALL, "model.channels=[8,8,8]", "model.width=64", "repeats=2")
    ended = run(*settings)
    assert ended.code == 1
    assert "No space left on device" in ended.output
    assert ended.errors == ""
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    ended = run(*settings)
    assert ended.code == 0
    assert "already there" in ended.output
    assert run(*settings, "study=whole").code == 0
    assert outcome(small_disk / "default") == outcome(small_disk / "whole")


def test_a_limit_on_the_size_of_files(run: Command, tmp_path: Path) -> None:
    """As a quota does, it lets small files through and stops checkpoints and weights."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
    try:
        ended = run(*ALONE, "model.width=100")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert ended.code == 1
    assert "File too large" in ended.output
    [cell] = cells(tmp_path)
    assert failure(cell)["message"].endswith("free some space and run the same command again")
    assert run(*ALONE, "model.width=100").code == 0


def test_a_folder_that_turns_read_only(run: Command, tmp_path: Path) -> None:
    """Root may write everywhere, so the system's answer is played."""
    readonly = OSError(errno.EROFS, "Read-only file system", "outputs/default/cells/x")
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 3, lambda: patch.setattr(atomic, "write_bytes", raising(readonly)))
        ended = run(*ALONE)
    assert ended.code == 1
    assert "failed: Read-only file system: outputs/default/cells/x" in ended.output
    assert "its failure.json could not be written: Read-only file system" in ended.output


def test_an_outputs_folder_that_cannot_be_made(run: Command, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    ended = run(*ALONE)
    assert ended.code == 2
    assert ended.errors.count("\n") == 2
    assert "outputs is not a folder" in ended.errors
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "outputs").unlink()
        patch.setattr(Path, "mkdir", raising(OSError(errno.EROFS, "Read-only file system", "x")))
        ended = run(*ALONE)
    assert ended.code == 1
    assert ended.errors.startswith("stopped: Read-only file system: x\n")
    assert ended.errors.count("\n") == 2


def test_a_data_file_that_vanishes_after_the_check(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    root = make_folder(tmp_path / "images", images=4)
    settings = ("dataset=image_folder", f"dataset.root={root}", "batch_size=4", "epochs=1")
    more = ("model.channels=[4,4,4]", "model.width=8", "repeats=1", "baseline=false")
    load = image_cache.load

    def vanish(*arguments: Any) -> Any:
        (root / "test" / "cat" / "0.png").unlink(missing_ok=True)
        return load(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_cache, "load", vanish)
        ended = run(*settings, *more)
    assert ended.code == 2
    assert ended.errors.startswith("test/cat/0.png cannot be read: No such file or directory\n")
    assert ended.errors.count("\n") == 2
    assert run(*settings, *more).code == 0


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    """As in `... | head -1`."""
    script = (
        "import sys; from hiddenmix.terminal import guarded\n"
        "def command():\n"
        "    sys.stdin.read()\n"
        "    for _ in range(10_000): print('line')\n"
        "    sys.stdout.flush()\n"
        "    return 0\n"
        "sys.exit(guarded(command))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    with process:
        assert process.stderr.read() == b""
    assert process.returncode == 1
