"""What a data set is by its content, and the images that leak from training to test."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data import Images, load, read
from hiddenmix.data.content import content, labels_of, leaks, not_in_test
from tests.support.image_folders import make_folder


def images(values: list[int], labels: list[int]) -> Images:
    """One 1x2x2 image a value, which is its first pixel."""
    pixels = torch.zeros(len(values), 1, 2, 2, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.tensor(values)
    return Images(pixels, torch.tensor(labels))


TRAIN, TEST = images([1, 2, 3, 3], [0, 1, 0, 1]), images([4, 5], [0, 1])
CLASSES = ["cat", "dog"]
DIGEST = content(TRAIN, TEST, CLASSES).digest


def test_a_digest_is_32_hexadecimal_digits_and_the_same_again() -> None:
    assert len(DIGEST) == 32
    assert int(DIGEST, 16) >= 0
    assert content(TRAIN, TEST, CLASSES).digest == DIGEST


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [
        (images([1, 2, 3, 9], [0, 1, 0, 1]), TEST, CLASSES),  # a pixel
        (TRAIN, images([4, 6], [0, 1]), CLASSES),
        (images([1, 2, 3, 3], [0, 1, 0, 0]), TEST, CLASSES),  # a label
        (images([2, 1, 3, 3], [1, 0, 0, 1]), TEST, CLASSES),  # the order
        (images([1, 2, 3], [0, 1, 0]), images([3, 4, 5], [1, 0, 1]), CLASSES),  # the split
        (images([1, 2, 3, 3, 7], [0, 1, 0, 1, 0]), TEST, CLASSES),  # one image more
        (TRAIN, images([4], [0]), CLASSES),  # one image less
        (TRAIN, TEST, ["dog", "cat"]),  # classes in another order
    ],
)
def test_any_change_is_another_digest(train: Images, test: Images, classes: list[str]) -> None:
    assert content(train, test, classes).digest != DIGEST


def test_the_shape_counts_beside_the_bytes() -> None:
    short = Images(TEST.images.reshape(2, 1, 1, 4), TEST.labels)
    long = Images(TRAIN.images.reshape(4, 1, 1, 4), TRAIN.labels)
    assert content(long, short, CLASSES).digest != DIGEST


def test_leaks_are_counted_in_images() -> None:
    train = images([1, 2, 3, 3], [0, 0, 0, 1])
    #              in training; with another label there; new; twice; thrice; new, two labels
    test = images([1, 2, 7, 7, 7, 8, 8], [0, 1, 0, 0, 0, 0, 1])
    digests = content(train, test, CLASSES)
    found = leaks(digests, labels_of(digests.train, train), test)
    assert (found.test_in_train, found.test_twice, found.two_labels) == (2, 3, 3)
    assert found.test == 6
    assert not_in_test(content(train, test, CLASSES)).tolist() == [2, 3]


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """8 training and 8 test images, of which one stands in the training set and one twice."""
    root = make_folder(tmp_path / "images", images=4)
    copies = {"test/cat/0.png": "train/cat/1.png", "test/dog/3.png": "test/dog/2.png"}
    for to, of in copies.items():
        (root / to).write_bytes((root / of).read_bytes())
    return root


def test_dropping_leaks_takes_them_from_the_training_images(leaking: Path) -> None:
    config = DatasetConfig(name="image_folder", root=str(leaking))
    kept = load(config)
    config.leaks = "drop"
    dropped = load(config)
    assert (kept.leaks.test_in_train, kept.leaks.test_twice, kept.leaks.dropped) == (1, 1, 0)
    assert (dropped.leaks.test_in_train, dropped.leaks.dropped) == (1, 1)
    assert kept.digest == dropped.digest
    rest = [index for index in range(8) if index != 1]
    assert torch.equal(dropped.train.images, kept.train.images[rest])
    assert torch.equal(dropped.train.labels, kept.train.labels[rest])
    assert torch.equal(dropped.test.images, kept.test.images)
    assert not torch.equal(dropped.mean, kept.mean)


def test_one_picture_in_two_classes_is_said(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=4)
    config = DatasetConfig(name="image_folder", root=str(root))
    assert read(config).remarks == ()
    for name in ("cat/0.png", "cat/1.png"):  # the second one twice in the same class as well
        (root / "train/dog" / f"as_{name[4:]}").write_bytes((root / "train" / name).read_bytes())
    (root / "train/cat/copy.png").write_bytes((root / "train/cat/1.png").read_bytes())
    told = "warning: 5 training images with an equal one of another label"
    assert read(config).remarks == (told,)


def test_dropping_a_whole_class_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", images=1)
    (root / "test/cat/0.png").write_bytes((root / "train/cat/0.png").read_bytes())
    with pytest.raises(UserError, match=r"leaves no training image of \[cat\].*\n.*leaks=keep"):
        load(DatasetConfig(name="image_folder", root=str(root), leaks="drop"))


def test_the_digits_leak_nothing_and_each_seed_has_its_own_subset() -> None:
    from hiddenmix.data import prepare

    config = DatasetConfig(train_size=300, resample=True)
    whole = read(config)
    assert whole.leaks.test == 0
    first, again, second = (prepare(whole, config, seed) for seed in (0, 0, 1))
    assert first.digest == second.digest == whole.digest
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.train.images, second.train.images)
    shares = [torch.bincount(each.train.labels, minlength=10) for each in (first, second)]
    assert torch.equal(*shares)  # stratified
    fixed = DatasetConfig(train_size=300)
    assert torch.equal(prepare(whole, fixed, 0).train.images, prepare(whole, fixed, 1).train.images)


def test_a_folder_is_its_pixels_not_its_names(tmp_path: Path) -> None:
    """Moved, named otherwise, files renamed in order and stored in another lossless format."""
    one = make_folder(tmp_path / "images")
    other = make_folder(tmp_path / "deep" / "été")
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for path in sorted((other / split / name).iterdir()):
                with Image.open(path) as image:
                    image.save(path.with_suffix(".bmp"))
                path.unlink()
    digests = {
        load(DatasetConfig(name="image_folder", root=str(root))).digest for root in (one, other)
    }
    assert len(digests) == 1
    (other / "train/cat/0.bmp").rename(other / "train/cat/9.bmp")  # now last of its class
    assert load(DatasetConfig(name="image_folder", root=str(other))).digest not in digests
