"""`dataset=import`: what a user's function may return, and what is said of what it may not."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from PIL import Image

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.loading import describe, load, read
from tests.support.image_folders import make_folder
from tests.support.raw_images import raw_png

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
        "((torch.from_numpy(pixels) / 255).requires_grad_(), torch.from_numpy(labels))",
        "([pil(each) for each in pixels], labels)",
        "Pairs(pil, lambda label: [label])",
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


def test_a_function_that_was_changed_in_this_process_is_not_taken_for_the_new_one() -> None:
    """As in a notebook: Python goes on with the module that it imported."""
    write("def make(): return (pixels, labels), (pixels, labels)")
    load(CONFIG)
    write("def make(): return (pixels[6:], labels[6:]), (pixels, labels)")
    says = "its code has changed since this process imported it\n  restart Python"
    assert says in refusal()
    importlib.invalidate_caches()
    shutil.rmtree("__pycache__", ignore_errors=True)
    importlib.reload(sys.modules["own_data_of_a_test"])
    assert len(load(CONFIG).train.labels) == 6


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
            "that are no bytes / 255\n  leave Normalize out",
        ),
        (
            "def make(): return (pixels, labels), (pixels[..., :8], labels)",
            "training images are [3, 10, 9] and test images [3, 10, 8]",
        ),
        (
            "flip = lambda each: np.random.randint(0, 255, each.shape, dtype=np.uint8)\n"
            "def make(): return Pairs(flip), Pairs(pil)",
            "train[0] is another image each time\n  leave random transforms out",
        ),
        ("def make(): return Pairs(pil, count=0), Pairs(pil)", "train is empty"),
        ("def make(): return Pairs(pil, count=13), Pairs(pil)", "train[12] raised IndexError"),
        ("def make(): return (pixels, labels[:5]), (pixels, labels)", "12 images, but 5 labels"),
        (
            "def make(): return Pairs(pil, lambda n: torch.eye(3)[n]), Pairs(pil)",
            "train[0] has a Tensor [3] for its label\n  expected: a whole number or the name of a "
            "class: y.argmax() makes it of a one-hot row",
        ),
        ("def make(): return Pairs(pil, lambda n: np.eye(3)[n]), Pairs(pil)", "y.argmax() makes"),
        (
            "def make(): return Pairs(pil, lambda n: [0] * (n + 2)), Pairs(pil)",
            "a list of 2 for its",
        ),
        ("def make(): return Pairs(pil, lambda n: {}), Pairs(pil)", "a dict for its label"),
        (
            "def make(): return Pairs(pil, lambda n: 'a' if n else 0), Pairs(pil)",
            "train has texts and 0 for labels",
        ),
        (
            "def make(): return (pixels, [[0], [0, 1]]), (pixels, labels)",
            "train cannot be one array of labels, say because their lengths differ",
        ),
        (
            "def make(): return ([pixels[0], pixels[1, :, 1:]], [0, 1]), (pixels, labels)",
            "train cannot be one array of images, say because their sizes differ",
        ),
        (
            "def make(): return ([pil(pixels[0]), pil(pixels[1, :, 1:])], [0, 1]), (pixels, labels)",
            "train[1] is uint8 [9, 9, 3], those before uint8 [10, 9, 3]",
        ),
        (
            "def make(): return Pairs(lambda each: Image.new('F', (9, 9))), Pairs(pil)",
            "train[0] cannot be read: its pixels are 32-bit floats",
        ),
        (
            "class Endless(Pairs):\n  def __len__(self): raise TypeError('no end')\n"
            "def make(): return Endless(pil), Pairs(pil)",
            "train) raised TypeError: no end",
        ),
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


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("given(Pairs(pil), ALL)", "given(Pairs(pil, less, 12), SOME)"),
        ("given(Pairs(pil), ALL)", "given(Pairs(pil, lambda n: ALL[min(n, 1) + 1]), SOME)"),
        ("given(Pairs(pil, ALL.__getitem__), ALL)", "given(Pairs(pil, less), SOME)"),
        ("Pairs(pil, ALL.__getitem__)", "given(Pairs(pil, less), SOME)"),
        ("given(Pairs(pil), ALL)", "Subset(Subset(given(Pairs(pil, less), SOME), IDS), IDS)"),
        ("given(Pairs(pil), ALL)", "ConcatDataset([given(Pairs(pil, less), SOME)])"),
        ("Subset(Subset(given(Pairs(pil), ALL), IDS), IDS)", "given(Pairs(pil, less), SOME)"),
        ("hugging(Pairs(pil), ALL)", "hugging(Pairs(pil, less), SOME)"),
        ("given(Pairs(pil), ALL)", "given(Pairs(pil, less), np.array(SOME))"),
    ],
)
def test_a_class_is_told_by_its_name_where_the_test_set_counts_its_own(
    train: str, test: str
) -> None:
    """As two of torchvision's ImageFolders, where a class has no test image: 0 is a cat in one, a dog in
    the other."""
    write(NAMES + f"def make(): return {train}, {test}")
    data = load(CONFIG)
    assert data.train.labels.tolist() == [0, 1, 2] * 4
    assert data.test.labels.tolist() == [1, 2, 2] * 4  # dog, fox, fox
    assert data.classes in (["cat", "dog", "fox"], ["0", "1", "2"])


NAMES = """
from types import SimpleNamespace
from torch.utils.data import ConcatDataset, Subset
ALL, SOME, IDS = ["cat", "dog", "fox"], ["dog", "fox"], range(12)
less = lambda number: min(int(number), 1)
def given(made, names, **more):
    vars(made).update(classes=names, **more)
    return made
def hugging(made, names):
    made.features = {"label": SimpleNamespace(names=names)}
    return made
"""


def test_torchvisions_own_folders_of_which_one_lacks_a_class(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos", images=3)
    for split in ("train", "test"):
        (tmp_path / f"photos/{split}/ant").mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "photos/train/ant/0.png")
    (tmp_path / "photos/test/ant").rmdir()
    write("""
        from torchvision.datasets import ImageFolder
        def make(): return ImageFolder("photos/train"), ImageFolder("photos/test")
    """)
    data = load(CONFIG)
    assert data.classes == ["ant", "cat", "dog"]
    assert data.test.labels.tolist() == [1] * 3 + [2] * 3


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (
            "given(Pairs(pil), ALL)",
            "given(Pairs(pil, less), ['dog', 'owl'])",
            "test has classes that are none of the training set's: [owl]\n"
            "  expected: [cat,dog,fox], each name once",
        ),
        (
            "given(Pairs(pil), ALL)",
            "given(Pairs(pil, lambda n: 'owl'), ALL)",
            "test has classes that are none of the training set's: [owl]",
        ),
        (
            "given(Pairs(pil), ['cat', 'dog', 'dog'])",
            "given(Pairs(pil, less), ['cat', 'dog'])",
            "test has classes that are two of the training set's: [dog]",
        ),
        (
            "given(Pairs(pil), ALL)",
            "given(Pairs(pil), SOME)",
            "test has labels from 0 to 2\n  expected: 0 to 1, a class each",
        ),
        (  # whether it makes tensors of the numbers, or other numbers, is not known
            "given(Pairs(pil), ALL)",
            "given(Pairs(pil, less), SOME, target_transform=torch.tensor)",
            "classes of train are [cat,dog,fox], of test [dog,fox], and it is not known which its "
            "numbers stand for\n  expected: names of classes as labels, or the same `classes` on both",
        ),
        (
            "given(Pairs(pil), ALL, target_transform=int)",
            "given(Pairs(pil, ALL.__getitem__), ALL)",
            "and it is not known which its numbers stand for",
        ),
        (
            "ConcatDataset([given(Pairs(pil), ALL), given(Pairs(pil), ALL, target_transform=int)])",
            "given(Pairs(pil, less), SOME)",
            "and it is not known which its numbers stand for",
        ),
        (
            "given(Pairs(pil, less), ALL)",
            "given(Pairs(pil), ALL)",
            "the array of test labels has classes that the array of train labels lacks: [fox]\n"
            "  expected: [cat,dog]",
        ),
        (
            "given(Pairs(pil, lambda n: 1), ALL)",
            "given(Pairs(pil, lambda n: 1), ALL)",
            "the array of train labels has one class\n  expected: two or more",
        ),
        (
            "ConcatDataset([given(Pairs(pil), ALL), given(Pairs(pil), SOME)])",
            "given(Pairs(pil), ALL)",
            "train joins data sets of different classes: [cat,dog,fox] and [dog,fox]",
        ),
    ],
)
def test_numbers_without_a_class_are_refused(train: str, test: str, says: str) -> None:
    write(NAMES + f"def make(): return {train}, {test}")
    assert says in refusal()


def test_a_name_that_no_test_image_has_is_no_mistake() -> None:
    write(
        NAMES + "def make(): return given(Pairs(pil), ALL), given(Pairs(pil, less), [*SOME, 'owl'])"
    )
    assert load(CONFIG).test.labels.tolist() == [1, 2, 2] * 4


WRAPPED = """
class Wrapped(Pairs):
    def __init__(self, dataset): self.dataset = dataset
    def __len__(self): return len(self.dataset)
    def __getitem__(self, index): return self.dataset[index]
"""


@pytest.mark.parametrize(
    ("made", "classes"),
    [
        ("given(Pairs(pil, less), ALL, target_transform=less, targets=labels)", ["0", "1"]),
        ("Wrapped(given(Pairs(pil, less), ALL))", ["0", "1"]),
        ("Subset(given(Pairs(pil, less), ALL, target_transform=less), range(6))", ["0", "1"]),
        (
            "given(Pairs(pil, ['b', 'a', 'c'].__getitem__), ALL, target_transform=str)",
            ["a", "b", "c"],
        ),
        # What is around the names has changed no number.
        ("given(Pairs(pil), ALL, target_transform=int, targets=torch.tensor(labels))", None),
        ("Wrapped(given(Pairs(pil), ALL, targets=list(labels)))", None),
        ("Wrapped(Subset(given(Pairs(pil), ALL, targets=labels), range(6)))", None),
        ("given(Pairs(pil, ALL[::-1].__getitem__), ALL, target_transform=str)", None),
    ],
)
def test_names_are_taken_where_it_is_sure_what_they_name(
    made: str, classes: list[str] | None
) -> None:
    write(NAMES + WRAPPED + f"def make(): return {made}, {made}")
    whole = read(CONFIG)
    shown = ["cat", "dog", "fox"] if "Wrapped(Subset" not in made else ["0", "1", "2"]
    assert whole.classes == (classes or shown)
    assert {*whole.train.labels.tolist()} == {*range(len(whole.classes))}
    told = [line for line in whole.remarks if "called by their numbers" in line]
    assert len(told) == (classes == ["0", "1"])
    assert read(CONFIG).remarks == whole.remarks


def test_leaks_are_dropped_from_a_class_that_has_images_left() -> None:
    """Of the four names, one is that of no image at all."""
    dropping = replace(CONFIG, leaks="drop")
    names = "def make(): return given(Pairs(pil), [*ALL, 'owl']), Pairs(pil, count={})"
    write(NAMES + names.format(3))
    assert len(load(dropping).train.labels) == 9
    write_again(NAMES + names.format(12))
    with pytest.raises(
        UserError, match=r"leaves no training image of \[cat,dog,fox\]: all of them"
    ):
        load(dropping)


@pytest.mark.parametrize(
    ("image", "largest", "levels"),
    [
        ("Image.fromarray(np.minimum(each[0], 254).astype(np.uint16) * 16 + 15)", "4,079", 17),
        ("Image.fromarray(np.maximum(each[0], 255).astype(np.int32))", "255", 2),
        ("Image.open('deep.png')", "3,855", 16),
    ],
)
def test_16_bits_of_which_few_are_used_are_warned_of(image: str, largest: str, levels: int) -> None:
    ramp = np.linspace(0, 4095, 90).astype(np.uint16).reshape(10, 9)
    Path("deep.png").write_bytes(raw_png(np.dstack([ramp] * 3), 2, 16))
    write(f"def make(): return Pairs(lambda each: {image}), Pairs(lambda each: {image}, count=3)")
    remarks = read(CONFIG).remarks
    assert remarks[0] == "converted: 15 of 16 bits"
    assert remarks[1].startswith(
        f"warning: the largest 16-bit value is {largest} of 65,535, so that {levels} of 256 grey"
    )


def test_a_picture_that_is_taken_again_is_converted_alike() -> None:
    """Pillow has the transparent colour in the file's 16 bits, the pixels by then in 8."""
    ramp = np.linspace(0, 65535, 90).astype(np.uint16).reshape(10, 9)
    colour = np.dstack([ramp, ramp[::-1], ramp])
    Path("clear.png").write_bytes(raw_png(colour, 2, 16, tuple(map(int, colour[3, 4]))))
    write("""
        one = Image.open("clear.png")
        def make(): return Pairs(lambda each: one), Pairs(lambda each: one)
    """)
    expected = (colour >> 8).astype(np.uint8)
    expected[3, 4] = 255
    for image in load(CONFIG).train.images.numpy():
        np.testing.assert_array_equal(image.transpose(1, 2, 0), expected)


def test_a_wrapper_of_ones_own_may_say_the_names_itself() -> None:
    """Around a set with other names, whose numbers it may change: as its own `classes` say."""
    wrap = """
class Wrapped(Pairs):
    def __init__(self, dataset): self.dataset = dataset
    def __len__(self): return len(self.dataset)
    def __getitem__(self, index): return self.dataset[index][0], int(labels[index])
made = Wrapped(given(Pairs(pil, less), SOME))
"""
    write(NAMES + wrap + "def make(): return given(Pairs(pil), ALL), made")
    assert "it is not known which its numbers stand for" in refusal()
    sys.modules.pop("own_data_of_a_test")
    write(NAMES + wrap + "def make(): return given(Pairs(pil), ALL), given(made, ALL)  #")
    assert load(CONFIG).test.labels.tolist() == [0, 1, 2] * 4


def grey_and_colour(order: str) -> str:
    """A `make` whose training images are grey (g), in palettes (p) or in colour (c), in that order."""
    return f"""
        grey = Image.fromarray(pixels[0, 0])
        kinds = dict(g=grey, p=grey.convert("P"), c=pil(pixels[1]))
        class Mixed(Pairs):
            def __getitem__(self, index): return kinds["{order}"[index]], index % 2
        def make(): return Mixed(None, count={len(order)}), (list(kinds.values()), [0, 1, 1])
    """


@pytest.mark.parametrize("order", ["gcg", "ccg", "ggc", "pgc"])
def test_grey_pictures_among_colours_become_rgb_as_those_of_files_do(order: str) -> None:
    write(grey_and_colour(order))
    data = load(CONFIG)
    expected = {
        **dict.fromkeys("gp", np.stack([PIXELS[0, 0]] * 3)),
        "c": PIXELS[1],
    }
    np.testing.assert_array_equal(data.train.images, np.stack([expected[kind] for kind in order]))
    np.testing.assert_array_equal(data.test.images, np.stack([expected[kind] for kind in "gpc"]))


def test_a_split_of_grey_pictures_beside_one_in_colour() -> None:
    write(grey_and_colour("gg"))
    data = load(CONFIG)
    assert data.train.images.shape == (2, 3, 10, 9)
    assert (data.train.images[0] == data.train.images[0, :1]).all()
    write_again("def make(): return Pairs(lambda each: pil(each).convert('L')), Pairs(unit)")
    assert load(CONFIG).train.images.shape == (12, 3, 10, 9)


def write_again(body: str) -> None:
    sys.modules.pop("own_data_of_a_test")
    importlib.invalidate_caches()
    shutil.rmtree("__pycache__", ignore_errors=True)
    write(body)


def test_each_other_image_mirrored_is_noticed_wherever_chance_falls() -> None:
    """Of a flip with p = 1/2 the first four images of this stream see nothing, and others do."""
    write("""
        flips = iter([False] * 8 + [True, False] * 40)
        def flip(each): return each[:, :, ::-1].copy() if next(flips) else each
        def make(): return Pairs(flip), Pairs(pil)
    """)
    assert "is another image each time" in refusal()


def test_labels_of_a_pandas_column_are_texts() -> None:
    write("""
        names = np.array(["b", "a", "b"] * 4, object)
        def make(): return (pixels, names), Pairs(pil, lambda n: "ab"[n % 2])
    """)
    data = load(CONFIG)
    assert (data.classes, data.train.labels[:3].tolist()) == (["a", "b"], [1, 0, 1])
