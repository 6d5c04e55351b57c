"""The MNIST family's files, packed or not, whole or not, wherever they lie; half-finished archives."""

import errno
import gzip
import pickle
import tarfile
import urllib.request
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.loading import load, read
from hiddenmix.data.named import NAMED
from tests.data.test_torchvision_sets import idx, md5, random_set, write_cifar, write_svhn
from tests.support.without_locks import SAID, leave_markers, refuse_flock

TRAIN, TEST = 40, 20
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FILES = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def refuse(request: Any, *_: object, **__: object) -> None:
        asked.append(request.full_url)
        raise URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for key in ("mnist", "fashion_mnist", "kmnist"):
        monkeypatch.setitem(NAMED, key, replace(NAMED[key], train_size=TRAIN, test_size=TEST))
    return asked


CONTENT = random_set((28, 28), 10, 0)


def contents() -> dict[str, bytes]:
    arrays = [each for split in ("train", "test") for each in CONTENT[split]]
    return {name: idx(array.astype(np.uint8)) for name, array in zip(FILES, arrays, strict=True)}


def write(folder: Path, form: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents().items():
        path = folder / f"{name}-ubyte"
        match form:
            case "packed anew":
                # other levels and times give other MD5 sums of the same content
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, 1, mtime=7))
            case "unpacked":
                path.write_bytes(content)
            case "unpacked by the browser":
                path.with_name(f"{path.name}.gz").write_bytes(content)
            case "with a dot":
                (folder / path.name.replace("-idx", ".idx")).write_bytes(content)
            case "each in its folder":
                path.mkdir()
                (path / path.name).write_bytes(content)


FORMS = ["packed anew", "unpacked", "unpacked by the browser", "with a dot", "each in its folder"]


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("place", ["", "raw", "FashionMNIST", "FashionMNIST/raw", "fashion-mnist"])
@pytest.mark.parametrize("form", FORMS)
def test_whole_files_are_read_where_they_are(
    tmp_path: Path, form: str, place: str, download: bool, offline: list[str]
) -> None:
    write(tmp_path / place, form)
    before = sorted(tmp_path.rglob("*"))
    data = load(DatasetConfig(name="fashion_mnist", root=str(tmp_path), download=download))
    for split, each in (("train", data.train), ("test", data.test)):
        np.testing.assert_array_equal(each.images[:, 0], CONTENT[split][0])
        np.testing.assert_array_equal(each.labels, CONTENT[split][1])
    assert data.classes[0] == "T-shirt/top"
    assert offline == []
    assert sorted(tmp_path.rglob("*")) == before


def refusal(root: Path, name: str = "fashion_mnist") -> str:
    with pytest.raises(UserError) as caught:
        load(DatasetConfig(name=name, root=str(root), download=False))
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0, 0.5, 0.99, 1.01])
def test_half_a_download_is_told_and_not_read(tmp_path: Path, packed: bool, share: float) -> None:
    write(tmp_path, "packed anew" if packed else "unpacked")
    path = tmp_path / f"t10k-labels-idx1-ubyte{'.gz' if packed else ''}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)] + b"0" * int(share > 1))
    assert f"({path.name}: " in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty (0 bytes)"),
        (b"<!DOCTYPE html><html>403", "it is a web page: its download failed"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a pointer of Git LFS"),
        (None, "t10k-images-idx3-ubyte.gz is not in "),
    ],
)
def test_what_lies_there_instead_of_a_file_is_told(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    """torchvision 1938 and 3500: a server's refusal was kept as the file."""
    write(tmp_path, "packed anew")
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert says in refusal(tmp_path)


def test_a_packed_file_stands_in_for_a_broken_unpacked_one(tmp_path: Path) -> None:
    """As an unpacking that was interrupted leaves them."""
    write(tmp_path / "FashionMNIST/raw", "packed anew")
    for name in FILES[:2]:
        (tmp_path / "FashionMNIST/raw" / f"{name}-ubyte").write_bytes(contents()[name][:100])
    data = load(DatasetConfig(name="fashion_mnist", root=str(tmp_path), download=False))
    np.testing.assert_array_equal(data.train.images[:, 0], CONTENT["train"][0])


def test_one_flipped_bit_in_a_packed_file_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "packed anew")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "train-images-idx3-ubyte.gz: " in refusal(tmp_path)


def test_other_counts_and_the_files_of_another_set_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "unpacked")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(41, np.uint8)))
    assert "train-labels-idx1-ubyte: it holds [41], not [40]" in refusal(tmp_path)
    labels = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5] * 4, np.uint8)  # Fashion-MNIST's first ten
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    load(DatasetConfig(name="fashion_mnist", root=str(tmp_path), download=False))
    for name in ("mnist", "kmnist"):
        for download in (False, True):
            with pytest.raises(UserError, match="holds the train files of fashion_mnist, not of"):
                load(DatasetConfig(name=name, root=str(tmp_path), download=download))


BEGINNINGS = {
    "mnist": ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    "fashion_mnist": ([9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
}


def write_labels(folder: Path, train: list[int], test: list[int]) -> None:
    write(folder, "unpacked")
    for name, labels, size in ((FILES[1], train, TRAIN), (FILES[3], test, TEST)):
        (folder / f"{name}-ubyte").write_bytes(idx(np.resize(labels, size).astype(np.uint8)))


@pytest.mark.parametrize(
    ("name", "other"), [("mnist", "fashion_mnist"), ("fashion_mnist", "mnist")]
)
def test_labels_tell_which_set_it_is(tmp_path: Path, name: str, other: str) -> None:
    own, foreign = BEGINNINGS[name], BEGINNINGS[other]
    config = DatasetConfig(name=name, root=str(tmp_path), download=False)
    write_labels(tmp_path, *own)
    assert read(config).remarks == ()
    write_labels(tmp_path, own[0], foreign[1])
    assert f"holds the t10k files of {other}, not of {name}" in refusal(tmp_path, name)
    write_labels(tmp_path, *foreign)
    assert f"holds the train and t10k files of {other}, not of" in refusal(tmp_path, name)
    # Of no set that is known: a changed copy, or another set in the folder of this one. It is told.
    strange = list(range(10))
    write_labels(tmp_path, strange, own[1])
    (told,) = read(config).remarks
    assert told.startswith(
        f"warning: the labels begin otherwise than those of {name}: train with "
        f"[0,1,2,3,4,5,6,7,8,9], not [{','.join(map(str, own[0]))}]; the files are taken for {name}"
    )
    write_labels(tmp_path, own[0], strange)
    assert "t10k with [0,1,2" in read(config).remarks[0]


def test_what_kmnists_labels_begin_with_is_not_known(tmp_path: Path) -> None:
    write(tmp_path, "unpacked")
    config = DatasetConfig(name="kmnist", root=str(tmp_path), download=False)
    assert read(config).remarks == ()
    write_labels(tmp_path, list(range(10)), BEGINNINGS["mnist"][1])
    assert "holds the t10k files of mnist, not of kmnist" in refusal(tmp_path, "kmnist")


@pytest.mark.filterwarnings(SAID)
def test_a_broken_download_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: list[str]
) -> None:
    """torchvision finds four files and stops there, however small they are (vision 541, 7016). A machine
    that crashed while it downloaded keeps nobody waiting."""
    packed = {f"{name}-ubyte.gz": gzip.compress(each) for name, each in contents().items()}
    monkeypatch.setattr(
        datasets.FashionMNIST, "resources", [(name, md5(each)) for name, each in packed.items()]
    )
    raw = tmp_path / "FashionMNIST" / "raw"
    write(raw, "unpacked")
    for path in raw.iterdir():
        path.write_bytes(b"")

    def fetch(url: str, path: Path) -> None:
        Path(path).write_bytes(packed[url.rpartition("/")[2]])

    monkeypatch.setattr(datasets.utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(datasets.utils, "_urlretrieve", fetch)
    config = DatasetConfig(name="fashion_mnist", root=str(tmp_path))
    with monkeypatch.context() as patch:
        refuse_flock(patch, errno.ENOLCK)
        with pytest.raises(UserError, match=r"mnist\.lock cannot be locked: .*\n  mount it"):
            load(config)
    leave_markers(monkeypatch, tmp_path / ".hiddenmix" / "fashion_mnist.lock")
    data = load(config)
    np.testing.assert_array_equal(data.test.images[:, 0], CONTENT["test"][0])


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    real = replace(NAMED["fashion_mnist"], train_size=60_000, test_size=10_000)
    monkeypatch.setitem(NAMED, "fashion_mnist", real)
    data = load(DatasetConfig(name="fashion_mnist", root=str(DEBIAN), download=False))
    assert data.train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert data.train.labels.bincount().tolist() == [6000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10


# CIFAR's archive


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Any]]:
    """The archive of a small CIFAR-10, and its content; other bytes than the official archive's."""
    content = write_cifar(tmp_path, monkeypatch, "CIFAR10", packed=True)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", "0" * 32)
    return tmp_path / "cifar-10-python.tar.gz", content


def test_an_archive_in_its_place_is_read_without_download(
    archive: tuple[Path, dict[str, Any]], offline: list[str]
) -> None:
    """As users who downloaded it by hand expect of `download=false`, on a disk they cannot write to."""
    path, content = archive
    half = path.parent / "cifar-10-batches-py"
    half.mkdir()
    (half / "data_batch_1").write_bytes(b"half")
    before = sorted(path.parent.rglob("*"))
    for download in (False, True):
        data = load(DatasetConfig(name="cifar10", root=str(path.parent), download=download))
        np.testing.assert_array_equal(data.train.images, content["train"][0])
        np.testing.assert_array_equal(data.test.labels, content["test"][1])
    assert sorted(path.parent.rglob("*")) == before
    assert offline == []


def test_half_an_archive_is_not_read_but_told(archive: tuple[Path, dict[str, Any]]) -> None:
    """vega 50 and SCELoss 2: "Dataset not found or corrupted" tells neither which file nor why."""
    path, _ = archive
    whole = path.read_bytes()
    start = "cifar10 is not complete (cifar-10-python.tar.gz "
    for content, says in (
        (whole[: len(whole) // 2], "is cut short, or not the official one)"),
        (b"<html>404</html>", "is a web page: its download failed)"),
        (b"", "is empty (0 bytes))"),
    ):
        path.write_bytes(content)
        assert f"{start}{says}" in refusal(path.parent, "cifar10")
    path.unlink()
    assert "(its files are not there)" in refusal(path.parent, "cifar10")


def test_which_unpacked_file_is_damaged_or_lacks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path, monkeypatch, "CIFAR10", packed=False)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:100])
    assert "(data_batch_3 is cut short, or not the official one)" in refusal(tmp_path, "cifar10")
    with pytest.raises(UserError, match=r"data_batch_3 is cut short.*; <urlopen error no network"):
        load(DatasetConfig(name="cifar10", root=str(tmp_path), download=True))
    path.unlink()
    assert "(data_batch_3 is not there)" in refusal(tmp_path, "cifar10")
    write_svhn(tmp_path, monkeypatch, "SVHN", packed=False)
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-9])
    assert "(test_32x32.mat is cut short, or not the official one)" in refusal(tmp_path, "svhn")
    path.unlink()
    assert "(test_32x32.mat is not there)" in refusal(tmp_path, "svhn")


@pytest.mark.parametrize("form", ["cifar-10-python.tar", "cifar-10-python.tgz", "unpacked anew"])
def test_an_archive_as_browsers_and_unpackers_leave_it_is_read(
    archive: tuple[Path, dict[str, Any]], form: str
) -> None:
    path, content = archive
    if form == "unpacked anew":  # into a folder of the archive's name
        with tarfile.open(path) as tar:
            tar.extractall(path.parent / "cifar-10-python", filter="data")
    elif form.endswith("tar"):
        (path.parent / form).write_bytes(gzip.decompress(path.read_bytes()))
    else:
        (path.parent / form).write_bytes(path.read_bytes())
    path.unlink()
    data = load(DatasetConfig(name="cifar10", root=str(path.parent), download=False))
    np.testing.assert_array_equal(data.train.images, content["train"][0])


def test_pickles_of_an_archive_execute_only_with_the_right_checksums(
    archive: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = archive
    monkeypatch.chdir(path.parent)

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (Path("executed"),)

    with tarfile.open(path, "w:gz") as tar:
        for name, _md5 in (*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list):
            data = pickle.dumps(Evil())
            info = tarfile.TarInfo(f"../../cifar-10-batches-py/{name}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    refusal(path.parent, "cifar10")
    assert not (path.parent / "executed").exists()
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


def test_the_inner_folder_given_as_root_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytorch 740."""
    content = write_cifar(tmp_path, monkeypatch, "CIFAR10", packed=False)
    root = tmp_path / "cifar-10-batches-py"
    data = load(DatasetConfig(name="cifar10", root=str(root), download=False))
    np.testing.assert_array_equal(data.train.images, content["train"][0])
