"""`dataset=import`: what a user's function may return, and what is said of what it may not."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.loading import describe, load

HEAD = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset
pixels = np.random.default_rng(0).integers(0, 256, (12, 3, 10, 9), dtype=np.uint8)
labels = np.arange(12) % 3
class Pairs(Dataset):
    def __init__(self, image, label=int, count=12):
        self.image, self.label, self.count = image, label, count
    def __len__(self): return self.count
    def __getitem__(self, index): return self.image(pixels[index]), self.label(labels[index])
class Named(Pairs):
    def __getitem__(self, index):
        return dict(zip(("image", "label"), super().__getitem__(index)))
pil = lambda each: Image.fromarray(each.transpose(1, 2, 0))
unit = lambda each: torch.from_numpy(each) / 255
"""
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 10, 9), dtype=np.uint8)
CONFIG = DatasetConfig(name="import", target="own_data_of_a_test.make")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("own_data_of_a_test", None)


def write(body: str) -> None:
    Path("own_data_of_a_test.py").write_text(HEAD + dedent(body))


def refusal(config: DatasetConfig = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        describe(config)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        "Pairs(pil)",
        "Pairs(unit)",
        "Pairs(torch.from_numpy, torch.tensor)",
        "Pairs(lambda each: each.transpose(1, 2, 0))",
        "Pairs(lambda each: pil(each).convert('RGBA'))",
        "Named(pil)",
        "torch.utils.data.Subset(Pairs(pil), range(12))",
        "TensorDataset(torch.from_numpy(pixels), torch.from_numpy(labels))",
        "(pixels, labels)",
        "(torch.from_numpy(pixels), torch.from_numpy(labels))",
        "[pixels.transpose(0, 2, 3, 1), list(labels)]",
        "(pixels / np.float32(255), labels[:, None])",
    ],
)
def test_what_a_function_may_return(made: str) -> None:
    write(f"def make(): return {made}, {made}")
    described, data = describe(CONFIG), load(CONFIG)
    assert (described.shape, described.classes, described.train_size) == ((3, 10, 9), 3, 12)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(split.images, PIXELS)
        assert split.labels.tolist() == [0, 1, 2] * 4


def test_names_of_classes_are_taken(tmp_path: Path) -> None:
    write(
        """
        def make():
            train = Pairs(pil)
            train.classes = ["ant", "bee", "cow", "dog"]
            return train, Pairs(pil, count=3)
        """
    )
    data = load(CONFIG)
    assert data.classes == ["ant", "bee", "cow", "dog"]
    assert len(data.test.labels) == 3


def test_pil_images_are_converted_as_files_are() -> None:
    """The numbers of a palette are no colours."""
    write(
        """
        def make():
            image = Image.new("P", (9, 10), 1)
            image.putpalette([255, 0, 0, 10, 200, 30])
            train = Pairs(lambda each: image)
            train.classes = ["ant", "bee", "cow"]
            return torch.utils.data.Subset(train, range(6)), train
        """
    )
    data = load(CONFIG)
    assert data.train.images[0, :, 5, 5].tolist() == [10, 200, 30]
    assert data.classes == ["ant", "bee", "cow"]


def test_it_is_called_once_a_process() -> None:
    write(
        """
        calls = []
        def make():
            calls.append(1)
            return (pixels, labels), (pixels, labels)
        """
    )
    describe(CONFIG)
    load(CONFIG)
    load(CONFIG)
    assert sys.modules["own_data_of_a_test"].calls == [1]


def test_nothing_is_imported_that_was_not_named() -> None:
    write("raise SystemExit")
    load(DatasetConfig())
    assert "own_data_of_a_test" not in sys.modules


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def make(): return 7", "returned a int\n  expected: (train, test)"),
        ("def make(): return pixels, labels, pixels, labels", "returned a tuple of 4"),
        (
            "def make(): raise OSError('no disk')",
            "raised OSError: no disk\n  in own_data_of_a_test.py, line",
        ),
        ("import nothing_like_it\ndef make(): pass", "No module named 'nothing_like_it'"),
        ("def other(): pass", "has no function make\n  it has: [Pairs,Named,pil,unit,other]"),
        (
            "def make(): return (pixels / 255 - 0.5, labels), (pixels, labels)",
            "that are no bytes / 255\n  leave Normalize away",
        ),
        (
            "def make(): return (pixels, labels), (pixels[..., :8], labels)",
            "training images are [3, 10, 9] and test images [3, 10, 8]",
        ),
        (
            "flip = lambda each: np.random.randint(0, 255, each.shape, dtype=np.uint8)\n"
            "def make(): return Pairs(flip), Pairs(pil)",
            "train[0] is another image each time\n  leave random transforms away",
        ),
        ("def make(): return Pairs(pil, count=0), Pairs(pil)", "train is empty"),
        ("def make(): return Pairs(pil, count=13), Pairs(pil)", "train[12] raised IndexError"),
        ("def make(): return (pixels, labels[:5]), (pixels, labels)", "12 images, but 5 labels"),
    ],
)
def test_what_it_may_not_return_is_told(body: str, says: str) -> None:
    write(body)
    assert says in refusal()


def test_wrong_targets_are_told() -> None:
    text = refusal(DatasetConfig(name="import", target="no_such_module_here.make"))
    assert "there is no module no_such_module_here\n  put no_such_module_here.py into" in text
    assert "such as mydata.make" in refusal(DatasetConfig(name="import", target="make"))
    assert "such as mydata.make" in refusal(DatasetConfig(name="import", target="a b.make"))
