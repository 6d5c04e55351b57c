"""torchvision's data sets from small files in their official formats, and their refusals."""

import gzip
import hashlib
import pickle
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision import datasets

from hiddenmix.config.errors import UserError
from hiddenmix.config.schema import DatasetConfig
from hiddenmix.data.loading import describe, load
from hiddenmix.data.named import NAMED

TRAIN, TEST = 40, 20


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def random_set(shape: tuple[int, ...], classes: int, seed: int) -> dict[str, Any]:
    """uint8 images [N, *shape] and int64 labels of both splits."""
    generator = np.random.default_rng(seed)
    return {
        split: (
            generator.integers(0, 256, (size, *shape), dtype=np.uint8),
            np.arange(size) % classes,
        )
        for split, size in (("train", TRAIN), ("test", TEST))
    }


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: NDArray[np.uint8]) -> bytes:
    """The IDX format: magic number with type and rank, big-endian sizes, bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def write_mnist(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, packed: bool
) -> dict[str, Any]:
    content = random_set((28, 28), 10, 0)
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    resources = []
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = content[split]
        for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            path = folder / f"{prefix}-{kind}-ubyte"
            data = idx(array)
            if packed:
                path = path.with_name(path.name + ".gz")
                data = gzip.compress(data)
            path.write_bytes(data)
            resources.append((f"{prefix}-{kind}-ubyte.gz", md5(data)))
    monkeypatch.setattr(getattr(datasets, name), "resources", resources)
    for key, known in NAMED.items():
        if known.loader == name:
            small = replace(known, train_size=TRAIN, test_size=TEST)
            monkeypatch.setitem(NAMED, key, small)
    return {split: (images[:, None], labels) for split, (images, labels) in content.items()}


def write_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, packed: bool
) -> dict[str, Any]:
    loader: Any = getattr(datasets, name)
    classes, key = (10, "labels") if name == "CIFAR10" else (100, "fine_labels")
    content = random_set((3, 32, 32), classes, 1)
    parts = {"train": loader.train_list, "test": loader.test_list}
    written: dict[str, bytes] = {}
    for split, listed in parts.items():
        images, labels = (np.array_split(each, len(listed)) for each in content[split])
        for (file, _), some, theirs in zip(listed, images, labels, strict=True):
            batch = {"data": some.reshape(len(some), -1), key: theirs.tolist()}
            written[file] = pickle.dumps(batch)
    meta = {loader.meta["key"]: [f"class {label}" for label in range(classes)]}
    written[loader.meta["filename"]] = pickle.dumps(meta)
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for file, data in written.items():
            info = tarfile.TarInfo(f"{loader.base_folder}/{file}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    root.mkdir(parents=True, exist_ok=True)
    (root / loader.filename).write_bytes(archive.getvalue())
    if not packed:
        with tarfile.open(root / loader.filename) as tar:
            tar.extractall(root, filter="data")
        (root / loader.filename).unlink()
    for attribute, listed in (("train_list", loader.train_list), ("test_list", loader.test_list)):
        sums = [[file, md5(written[file])] for file, _ in listed]
        monkeypatch.setattr(loader, attribute, sums)
    meta_file = loader.meta["filename"]
    monkeypatch.setattr(loader, "meta", {**loader.meta, "md5": md5(written[meta_file])})
    monkeypatch.setattr(loader, "tgz_md5", md5(archive.getvalue()))
    return content


def write_svhn(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, packed: bool
) -> dict[str, Any]:
    content = random_set((3, 32, 32), 10, 2)
    root.mkdir(parents=True, exist_ok=True)
    listed = dict(datasets.SVHN.split_list)
    for split, (images, labels) in content.items():
        path = root / f"{split}_32x32.mat"
        # [H, W, C, N], and the digit 0 is labelled 10
        official = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
        savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": official})
        listed[split] = [*listed[split][:2], md5(path.read_bytes())]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    return content


Writer = Callable[[Path, pytest.MonkeyPatch, str, bool], dict[str, Any]]
SETS: list[tuple[str, str, Writer, str]] = [
    ("mnist", "MNIST", write_mnist, "train-images-idx3-ubyte.gz"),
    ("fashion_mnist", "FashionMNIST", write_mnist, "train-images-idx3-ubyte.gz"),
    ("kmnist", "KMNIST", write_mnist, "train-images-idx3-ubyte.gz"),
    ("cifar10", "CIFAR10", write_cifar, "cifar-10-python.tar.gz"),
    ("cifar100", "CIFAR100", write_cifar, "cifar-100-python.tar.gz"),
    ("svhn", "SVHN", write_svhn, "train_32x32.mat"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "loader", "write", "_file"), SETS)
def test_official_formats(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    loader: str,
    write: Writer,
    _file: str,
    packed: bool,
) -> None:
    """Unpacked files load without download; archives put in place load with it, off line."""
    content = write(tmp_path, monkeypatch, loader, packed)
    config = DatasetConfig(name=name, root=str(tmp_path), download=packed)
    data = load(config)
    described = describe(config)
    assert len(data.classes) == described.classes
    for split, each in (("train", data.train), ("test", data.test)):
        images, labels = content[split]
        assert each.images.dtype == torch.uint8
        assert each.labels.dtype == torch.int64
        assert each.images.is_contiguous()
        assert tuple(each.images.shape[1:]) == described.shape
        np.testing.assert_array_equal(each.images.numpy(), images)
        np.testing.assert_array_equal(each.labels.numpy(), labels)
    assert data.validation is None


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize(("name", "loader", "_write", "file"), SETS)
def test_missing_set_says_what_to_do_in_two_lines(
    tmp_path: Path, name: str, loader: str, _write: Writer, file: str, download: bool
) -> None:
    config = DatasetConfig(name=name, root=str(tmp_path / "data"), download=download)
    with pytest.raises(UserError) as caught:
        load(config)
    first, second = str(caught.value).splitlines()
    assert file in first
    assert f"dataset.root={tmp_path / 'data'}" in first
    assert "dataset=image_folder dataset.root=" in second
    assert ("set dataset.download=true" in first) == (not download)
    # A traceback holds why the files could not be read, beside why they could not be downloaded.
    error, kinds = caught.value.__cause__, []
    while error is not None:
        kinds.append(str(error))
        error = error.__cause__ or error.__context__
    assert any("not found" in text or "not there" in text for text in kinds), kinds


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


def test_pickles_with_a_wrong_checksum_do_not_execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path, monkeypatch, "CIFAR10", packed=False)
    for path in (tmp_path / "cifar-10-batches-py").iterdir():
        path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        load(DatasetConfig(name="cifar10", root=str(tmp_path), download=False))
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        load(DatasetConfig(name="mnist", root=str(tmp_path), download=False))
    assert not (tmp_path / "executed").exists()


def test_old_processed_mnist_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_mnist(tmp_path, monkeypatch, "MNIST", packed=False)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    other = (torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    for name in ("training.pt", "test.pt"):
        torch.save(other, processed / name)
    data = load(DatasetConfig(name="mnist", root=str(tmp_path)))
    np.testing.assert_array_equal(data.train.images.numpy(), content["train"][0])


@pytest.mark.parametrize("size", [0, 10, 5_000])
def test_damaged_idx_file_is_an_error_of_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    write_mnist(tmp_path, monkeypatch, "MNIST", packed=False)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError) as caught:
        load(DatasetConfig(name="mnist", root=str(tmp_path)))
    assert len(str(caught.value).splitlines()) == 2


def test_idx_file_of_other_sizes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path, monkeypatch, "MNIST", packed=False)
    raw = tmp_path / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(TEST, 10, np.uint8)))
    with pytest.raises(UserError, match="labels outside 0 to 9"):
        load(DatasetConfig(name="mnist", root=str(tmp_path)))
    (raw / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((TRAIN, 20, 20), np.uint8)))
    with pytest.raises(UserError, match=r"it holds \[40, 20, 20\], not \[40, 28, 28\]"):
        load(DatasetConfig(name="mnist", root=str(tmp_path)))
