"""The named data sets: scikit-learn's digits, and those that torchvision reads and downloads."""

import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import numpy as np
import torch

from hiddenmix.config import DatasetConfig, UserError, show
from hiddenmix.data.decoding import Progress
from hiddenmix.data.idx_files import read_idx
from hiddenmix.data.images import Images
from hiddenmix.data.strangers import what_it_is
from hiddenmix.system import LockError, hold

_LARGEST_MEMBER = 2**28  # bytes; CIFAR-100's training images, its largest file, are 148 MiB


@dataclass(frozen=True)
class Named:
    """What is known of a named data set, and which files it is made of."""

    shape: tuple[int, int, int]
    classes: int
    train_size: int
    test_size: int = 0
    loader: str = ""
    files: str = ""


_IDX = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and both t10k-*-ubyte.gz"
_FAMILY = ((1, 28, 28), 10, 60_000, 10_000)
NAMED = {
    "digits": Named((1, 8, 8), 10, 1_437),
    "mnist": Named(*_FAMILY, "MNIST", _IDX),
    "fashion_mnist": Named(*_FAMILY, "FashionMNIST", _IDX),
    "kmnist": Named(*_FAMILY, "KMNIST", _IDX),
    "cifar10": Named((3, 32, 32), 10, 50_000, 10_000, "CIFAR10", "cifar-10-python.tar.gz"),
    "cifar100": Named((3, 32, 32), 100, 50_000, 10_000, "CIFAR100", "cifar-100-python.tar.gz"),
    "svhn": Named((3, 32, 32), 10, 73_257, 26_032, "SVHN", "train_32x32.mat and test_32x32.mat"),
}


def digits() -> tuple[Images, Images, list[str]]:
    """scikit-learn's 1,797 digits, 0..16 scaled to 0..255, split once and for all."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train_size = NAMED["digits"].train_size
    train, test = train_test_split(
        np.arange(len(labels)), train_size=train_size, stratify=labels, random_state=0
    )
    whole = Images(torch.from_numpy(pixels), torch.from_numpy(labels))
    return whole.take(train), whole.take(test), [str(name) for name in digits.target_names]


def torchvision_set(
    config: DatasetConfig, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    """A set that torchvision knows, from the files that are there or downloaded. Raises `UserError`."""
    named, root = NAMED[config.name], _root(config)
    read = _idx_set if named.files == _IDX else _read_torchvision
    problem: Exception | None = None  # with the files that are there
    try:
        try:
            return read(config.name, root, progress)
        except UserError:
            raise
        except Exception as error:
            problem = error
            # In here, so that where these fail too the first error stays beside their own.
            with suppress(FileNotFoundError):
                return _unpacked(config.name, root, progress)
            if not config.download:
                raise
            _download(config.name, root)
            return read(config.name, root, progress)
    except UserError:
        raise
    except LockError as error:
        raise UserError(str(error)) from error
    except Exception as error:  # torchvision's loaders raise many kinds on absent or damaged files
        state = "cannot be downloaded or read" if config.download else "is not complete"
        download = "" if config.download else ", or set dataset.download=true"
        raise UserError(
            f"{config.name} {state} ({_why(config, root, problem, error)}): put {named.files} into "
            f"dataset.root={show(root)}{download}\n"
            "  or use a folder of images instead: dataset=image_folder dataset.root=<folder>"
        ) from error


def _why(config: DatasetConfig, root: Path, problem: Exception | None, error: Exception) -> str:
    """What is wrong with the files that are there, and why there was no download."""
    told = problem if isinstance(problem, ValueError) else error
    lines = str(told).strip().splitlines() or [type(told).__name__]
    last = show(lines[-1].strip())
    if NAMED[config.name].files == _IDX:
        return last
    found = _damage(config.name, root)
    return f"{found}; {last}" if config.download else found


def _damage(name: str, root: Path) -> str:
    """Which of the files of CIFAR or SVHN lacks or is not whole, by torchvision's checksums."""
    from torchvision import datasets

    loader = getattr(datasets, NAMED[name].loader)
    if name == "svhn":
        folder, archives = root, []
        files = {file: md5 for _, file, md5 in map(loader.split_list.get, ("train", "test"))}
    else:
        folder, archives = root / loader.base_folder, _archives(name, root)
        files = {**dict((*loader.train_list, *loader.test_list))}
        files[loader.meta["filename"]] = loader.meta["md5"]
    there = [folder / file for file in files if (folder / file).is_file()]
    broken = [
        path for path in there if not datasets.utils.check_integrity(str(path), files[path.name])
    ]
    for path in [*broken, *([] if there else archives)]:
        what = what_it_is(path, "an archive" if path in archives else "a file of this set")
        if not what or "archive: " in what or "text: MATLAB" in what:
            what = "is cut short, or not the official one"
        return f"{show(path.name)} {what}"
    lacking = [file for file in files if folder / file not in there]
    return f"{lacking[0]} is not there" if there and lacking else "its files are not there"


def _archives(name: str, root: Path) -> list[Path]:
    """CIFAR's archive, also as browsers leave it that unpack the outer layer."""
    from torchvision import datasets

    whole = root / str(getattr(datasets, NAMED[name].loader).filename)
    paths = (whole, whole.with_suffix(""), whole.with_suffix("").with_suffix(".tgz"))
    return [path for path in paths if path.is_file()]


def _root(config: DatasetConfig) -> Path:
    """The folder that torchvision calls root, also where the folder within it was given, or where
    unpacking made a folder of the archive's name."""
    from torchvision import datasets

    root = Path(config.root or "data").expanduser()
    loader = getattr(datasets, NAMED[config.name].loader)
    inner: str | None = getattr(loader, "base_folder", None)
    if inner is None or (root / inner).exists():
        return root
    wrapped = root / str(loader.filename).partition(".")[0]
    if (wrapped / inner).is_dir():
        return wrapped
    return root.parent if root.name == inner else root


def _idx_set(name: str, root: Path, _: Progress | None) -> tuple[Images, Images, list[str]]:
    from torchvision import datasets

    named = NAMED[name]
    loader = named.loader
    places = [root / loader / "raw", root / loader, root / "raw", root, root / name]
    places.append(root / name.replace("_", "-"))
    found = read_idx(name, places, (named.train_size, named.test_size), named.shape[1:])
    splits = [
        _checked(torch.from_numpy(images)[:, None], torch.from_numpy(labels), named)
        for images, labels in (found.train, found.test)
    ]
    return splits[0], splits[1], [str(each) for each in getattr(datasets, loader).classes]


def _unpacked(name: str, root: Path, progress: Progress | None) -> tuple[Images, Images, list[str]]:
    """CIFAR from its archive, without download: the checksums of the files within tell whether it is
    whole. FileNotFoundError where there is no archive that holds it whole."""
    from torchvision import datasets

    loader = getattr(datasets, NAMED[name].loader)
    archives = _archives(name, root) if hasattr(loader, "train_list") else []
    if not archives:
        raise FileNotFoundError(name)
    archive = archives[0]
    wanted = {file for file, _ in (*loader.train_list, *loader.test_list)}
    wanted.add(loader.meta["filename"])
    with TemporaryDirectory(prefix="hiddenmix-") as folder:
        place = Path(folder) / loader.base_folder
        place.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    file = Path(member.name).name
                    if file in wanted and member.isreg() and member.size < _LARGEST_MEMBER:
                        with cast(IO[bytes], tar.extractfile(member)) as source:
                            (place / file).write_bytes(source.read())
            return _read_torchvision(name, Path(folder), progress)
        except Exception as error:  # cut or damaged
            raise FileNotFoundError(archive) from error


def _download(name: str, root: Path) -> None:
    """Download a set into `root`; a file that is damaged there is replaced."""
    from torchvision import datasets

    loader = getattr(datasets, NAMED[name].loader)
    with hold(root / ".hiddenmix" / f"{name}.lock"):  # two downloads would mix their bytes
        if NAMED[name].files != _IDX:
            for split in ("train", "test"):
                options = {"split": split} if name == "svhn" else {"train": split == "train"}
                loader(root, download=True, **options)
            return
        # torchvision's own downloads nothing where there are unpacked files, even damaged ones.
        for file, md5 in loader.resources:
            errors: list[Exception] = []
            for mirror in loader.mirrors:
                try:
                    datasets.utils.download_url(
                        f"{mirror}{file}", str(root / loader.__name__ / "raw"), file, md5
                    )
                    break
                except (RuntimeError, OSError) as error:
                    errors.append(error)
            else:
                raise errors[0]


def _read_torchvision(
    name: str, root: Path, progress: Progress | None
) -> tuple[Images, Images, list[str]]:
    from torchvision import datasets

    named = NAMED[name]
    loader = getattr(datasets, named.loader)
    splits: list[Images] = []
    for index, split in enumerate(("train", "test")):
        if progress is not None:
            progress(f"reading {named.loader}", index, 2)
        which: dict[str, Any] = {"train": split == "train"}
        source = loader(root, **({"split": split} if named.loader == "SVHN" else which))
        images = torch.as_tensor(source.data)
        if images.shape[-1] == 3:  # CIFAR: [N, H, W, C]
            images = images.permute(0, 3, 1, 2)
        labels = torch.as_tensor(source.labels if named.loader == "SVHN" else source.targets)
        splits.append(_checked(images, labels, named))
    if progress is not None:
        progress(f"reading {named.loader}", 2, 2)
    classes = getattr(source, "classes", None) or range(named.classes)
    return splits[0], splits[1], [str(name) for name in classes]


def _checked(images: torch.Tensor, labels: torch.Tensor, named: Named) -> Images:
    labels = labels.to(torch.int64)
    fits = images.dtype == torch.uint8 and images.shape[1:] == named.shape
    if not fits or len(labels) != len(images) or not len(images):
        raise ValueError(f"unexpected images {images.dtype} {tuple(images.shape)}")
    if labels.min() < 0 or labels.max() >= named.classes:
        raise ValueError(f"labels outside 0 to {named.classes - 1}")
    return Images(images.contiguous(), labels)
