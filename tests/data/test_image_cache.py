"""The cache of decoded images: used when right, rebuilt when not, never wrong, never in the way."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file

from hiddenmix.config.errors import UserError
from hiddenmix.data import image_cache
from hiddenmix.data.decoding import shape_of_files
from tests.support.commands import HANG
from tests.support.image_folders import make_folder, pixels, scan, square
from tests.support.without_locks import SAID, leave_markers, refuse_flock

NAME = "images-original.safetensors"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return make_folder(tmp_path / "images")


def load(root: Path, resize: int | None = None) -> tuple[NDArray[np.uint8], bool]:
    """The images, and whether they had to be decoded."""
    calls: list[str] = []
    images = image_cache.load(scan(str(root)), square(resize), lambda what, *_: calls.append(what))
    return images, "decoding images" in calls


def expected() -> NDArray[np.uint8]:
    return np.stack([pixels(seed).transpose(2, 0, 1) for seed in range(8)])


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_second_load_reads_one_safetensors_file(root: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    images, decoded = load(root)
    assert decoded
    written = files(tmp_path) - before
    assert written == {f"images/.hiddenmix/{NAME}", f"images/.hiddenmix/{NAME}.lock"}
    again, decoded = load(root)
    assert not decoded
    np.testing.assert_array_equal(images, expected())
    np.testing.assert_array_equal(again, expected())
    assert again.flags.writeable  # torch warns of arrays that are not
    np.testing.assert_array_equal(load_file(root / ".hiddenmix" / NAME)["images"], expected())


def test_cached_shape_opens_no_image(root: Path) -> None:
    found = scan(str(root))
    assert image_cache.shape(found, None) == shape_of_files(found, None) == (3, 10, 10)
    load(root)
    for name in found.names:
        path = root / name
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert image_cache.shape(scan(str(root)), None) == (3, 10, 10)
    with pytest.raises(UserError):
        image_cache.shape(scan(str(root)), square(16))


def test_sizes_are_cached_side_by_side(root: Path) -> None:
    load(root)
    assert load(root, 16)[0].shape == (8, 3, 16, 16)
    assert load(root, 16)[1] is False
    assert load(root)[1] is False


def test_any_change_of_the_folder_is_noticed(root: Path) -> None:
    first = root / "train" / "cat" / "0.png"
    load(root)
    Image.fromarray(pixels(70)).save(first)
    images, decoded = load(root)
    assert decoded
    np.testing.assert_array_equal(images[0], pixels(70).transpose(2, 0, 1))
    first.rename(first.with_name("2.png"))
    images, decoded = load(root)
    assert decoded
    np.testing.assert_array_equal(images[1], pixels(70).transpose(2, 0, 1))
    (root / "test" / "dog" / "1.png").unlink()
    assert len(load(root)[0]) == 7
    os.utime(root / "train" / "dog" / "0.png", ns=(1, 1))
    assert load(root)[1]
    for split in ("train", "test"):  # the same files, another class order
        (root / split / "cat").rename(root / split / "mouse")
    assert load(root)[1]


def test_files_replaced_under_one_time_for_all_are_noticed(root: Path) -> None:
    """Archives made to be reproducible, and images of containers, give every file the same time."""
    paths = sorted(root.rglob("*.png"))
    for number, path in enumerate(paths):
        Image.fromarray(pixels(number)).save(path.with_suffix(".bmp"))
        path.unlink()
        os.utime(path.with_suffix(".bmp"), ns=(1, 1))
    load(root)
    assert not load(root)[1]
    first = paths[0].with_suffix(".bmp")
    Image.fromarray(pixels(70)).save(first)  # of the same size in bytes
    os.utime(first, ns=(1, 1))
    images, decoded = load(root)
    assert decoded
    assert (images == pixels(70).transpose(2, 0, 1)).all((1, 2, 3)).sum() == 1


def test_cut_or_flipped_cache_is_rebuilt(root: Path) -> None:
    load(root)
    path = root / ".hiddenmix" / NAME
    good = path.read_bytes()
    found = scan(str(root))
    spots = np.random.default_rng(0).choice(8 * len(good), 60, replace=False)
    flips = [*range(0, 8 * 400, 31), *spots.tolist()]  # the first 400 bytes are the header
    damaged = [good[:size] for size in range(0, len(good), 97)]
    for spot in flips:
        changed = bytearray(good)
        changed[spot // 8] ^= 1 << (spot % 8)
        damaged.append(bytes(changed))
    rebuilt = 0
    for content in damaged:
        path.write_bytes(content)
        assert image_cache.shape(found, None) == (3, 10, 10)
        images, decoded = load(root)
        np.testing.assert_array_equal(images, expected())
        rebuilt += decoded
        assert not load(root)[1]
    # a flip in the header's padding or in an unused bit may go unnoticed: it says nothing
    assert rebuilt >= len(damaged) - 2


def test_valid_file_of_other_content_is_rebuilt(root: Path) -> None:
    load(root)
    path = root / ".hiddenmix" / NAME
    for tensor in (np.zeros((8, 3, 10, 10), np.uint8), np.zeros((8, 3, 10, 10), np.int8)):
        for name in ("images", "others"):
            save_file({name: tensor}, path)
            images, decoded = load(root)
            assert decoded
            np.testing.assert_array_equal(images, expected())


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def test_malicious_cache_does_not_execute(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (root / ".hiddenmix").mkdir()
    (root / ".hiddenmix" / NAME).write_bytes(pickle.dumps(Evil()))
    images, decoded = load(root)
    assert decoded
    np.testing.assert_array_equal(images, expected())
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Evil()))  # noqa: S301 - shows that the bytes are live
    assert (tmp_path / "executed").exists()


def test_pipe_in_place_of_the_cache_does_not_block(root: Path) -> None:
    (root / ".hiddenmix").mkdir()
    os.mkfifo(root / ".hiddenmix" / NAME)
    assert load(root)[1]
    assert not load(root)[1]


def test_read_only_root_falls_back_to_the_user_cache(root: Path, tmp_path: Path) -> None:
    # a file in the folder's place cannot be written into, not even by root
    (root / ".hiddenmix").write_text("")
    before = files(tmp_path)
    assert load(root)[1]
    assert all(name.startswith("home/hiddenmix/") for name in files(tmp_path) - before)
    assert not load(root)[1]
    other = make_folder(tmp_path / "other", images=3)
    (other / ".hiddenmix").write_text("")
    assert len(load(other)[0]) == 12
    assert not load(root)[1]


def test_linked_cache_folder_is_not_written_through(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / ".hiddenmix").symlink_to(tmp_path / "elsewhere")
    load(root)
    assert files(tmp_path / "elsewhere") == set()
    assert not load(root)[1]


def test_linked_lock_and_temporary_files_are_not_written_through(
    root: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (root / ".hiddenmix").mkdir()
    (root / ".hiddenmix" / f"{NAME}.tmp").symlink_to(target)
    (root / ".hiddenmix" / NAME).symlink_to(target)
    assert load(root)[1]
    assert not load(root)[1]
    (root / ".hiddenmix" / NAME).unlink()
    (root / ".hiddenmix" / f"{NAME}.lock").unlink()
    (root / ".hiddenmix" / f"{NAME}.lock").symlink_to(target)
    assert load(root)[1]
    assert not load(root)[1]
    assert target.read_text() == "precious"


def test_nowhere_to_write_warns_and_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".hiddenmix").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / ".hiddenmix"))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="not cached"):
            images, decoded = load(root)
        assert decoded
        np.testing.assert_array_equal(images, expected())


def test_full_disk_warns_goes_on_and_leaves_no_rest(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(RuntimeWarning, match="No space left on device"):
            images, _ = load(root)
    np.testing.assert_array_equal(images, expected())
    assert files(root / ".hiddenmix") == {f"{NAME}.lock"}
    assert load(root)[1]  # the next run caches
    assert not load(root)[1]


@pytest.mark.filterwarnings(SAID)
def test_a_lock_that_a_crashed_machine_left_keeps_nobody_waiting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_markers(monkeypatch, root / ".hiddenmix" / f"{NAME}.lock")
    assert load(root)[1]
    assert not load(root)[1]


def test_where_nothing_can_be_locked_images_are_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch, errno.ENOLCK)
    with pytest.warns(RuntimeWarning, match="not cached"):
        assert load(root)[1]


def test_of_two_processes_one_decodes(root: Path) -> None:
    script = (
        "import sys; from hiddenmix.data import image_cache, image_folder\n"
        "said = lambda what, *_: print(what, flush=True)\n"
        "from hiddenmix.config import DatasetConfig\n"
        f"config = DatasetConfig(name='image_folder', root={str(root)!r})\n"
        "images = image_cache.load(image_folder.scan(config), None, said)\n"
        "print(images.sum())\n"
    )
    (root / ".hiddenmix").mkdir()
    with FileLock(root / ".hiddenmix" / f"{NAME}.lock"):
        runs = [
            subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for run in runs:  # both have found no cache before either can build it
            assert run.stdout is not None
            assert run.stdout.readline() == "waiting for another run that decodes images\n"
    outputs = sorted(run.communicate(timeout=HANG)[0] for run in runs)
    total = f"{expected().sum()}\n"
    assert outputs == [total, f"decoding images\n{total}"]
