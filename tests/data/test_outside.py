"""Outside sets: what each form gives to the pixel, what is refused and how, what is read when."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from hiddenmix.config.errors import ConfigError, UserError, show
from hiddenmix.data import images as images_module
from hiddenmix.data.images import Images
from hiddenmix.data.outside import OutsideSet, open_outside
from hiddenmix.data.outside_warnings import outside_remarks
from tests.support.image_folders import Pixels, square

CLASSES = ["bird", "cat", "dog"]
SHAPE = (3, 10, 9)  # oblong, so that height and width cannot be taken for one another
GREY = (1, 10, 9)
CORRUPTIONS = ("fog", "zoom_blur")
LABELS = np.array([2, 0, 1, 1] * 5, np.uint8)


def noise(seed: int, *size: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def open_one(
    path: Path | str, shape: tuple[int, int, int] = SHAPE, resize: int | None = None
) -> OutsideSet:
    (found,) = open_outside({"cam": str(path)}, CLASSES, shape, square(resize))
    return found


def refusal(
    path: Path | str, shape: tuple[int, int, int] = SHAPE, resize: int | None = None
) -> str:
    """What is said of the set at `path`, after the key and the path."""
    with pytest.raises(UserError) as caught:
        open_one(path, shape, resize)
    return told(caught.value)


def told(error: UserError) -> str:
    text = str(error)
    assert text.startswith("dataset.outside.cam=")
    assert text.replace("\n", "", 1).isprintable()
    assert "\n  " in text, "nothing says what is expected or to do"
    assert len(text) < 500
    return text.partition(": ")[2]


def assert_images(found: Images, expected: NDArray[Any], labels: list[int]) -> None:
    assert found.images.dtype == torch.uint8
    assert found.images.is_contiguous()
    np.testing.assert_array_equal(found.images.numpy(), expected)
    assert found.labels.dtype == torch.int64
    assert found.labels.tolist() == labels


# names and paths


def test_sets_come_in_order_with_names_paths_and_conditions(
    folder: Path, npz: Path, cifar_c: Path
) -> None:
    sets = {"z-last": str(npz), "cam.2": str(folder), "c": str(cifar_c)}
    found = open_outside(sets, CLASSES, SHAPE, None)
    assert [each.name for each in found] == ["z-last", "cam.2", "c"]
    assert [each.path for each in found] == list(sets.values())
    assert [len(each.conditions) for each in found] == [1, 1, 10]
    assert open_outside({}, CLASSES, SHAPE, None) == []


@pytest.mark.parametrize("name", ["", "a/b", "-a", ".a", "new\nline", "a" * 51, "ä"])
def test_bad_name_of_a_set(name: str, npz: Path) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.outside=.* is not allowed\n.*<name>=<path>$"):
        open_outside({name: str(npz)}, CLASSES, SHAPE, None)


def test_longest_name_of_a_set(npz: Path) -> None:
    assert len(open_outside({"a" * 50: str(npz)}, CLASSES, SHAPE, None)) == 1


def test_tilde_is_the_home_folder(
    tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_one(f"~/{npz.name}").path == f"~/{npz.name}"
    assert refusal("~nobody-of-this-name/x").startswith("nobody's home folder\n  expected: ")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "is no path"),
        ("absent", "does not exist"),
        ("nul\0", "does not exist"),
        ("long" * 2000, "cannot be read: File name too long"),
    ],
)
def test_nothing_at_the_path(path: str, says: str) -> None:
    text = refusal(path)
    assert text.startswith(f"{says}\n  expected: a folder of class folders, an .npz file with ")
    assert text.endswith("or a folder with labels.npy and <corruption>.npy files")


def test_neither_folder_nor_npz(tmp_path: Path) -> None:
    (tmp_path / "words.npz").write_text("words")
    np.save(tmp_path / "lone.npy", LABELS)
    os.mkfifo(tmp_path / "pipe")
    for name, says in (
        ("words.npz", "is not an .npz file but text: words\n"),
        ("lone.npy", "is a single array (.npy)\n"),
        ("pipe", "is no folder and no .npz file\n"),
    ):
        assert refusal(tmp_path / name).startswith(says)


def test_folder_of_none_of_the_forms(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("holds neither class folders nor labels.npy\n  expected:")
    np.save(tmp_path / "fog.npy", LABELS)
    (tmp_path / ".hidden").mkdir()
    assert refusal(tmp_path).startswith("holds neither class folders nor labels.npy\n  expected:")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert refusal(tmp_path / "closed").startswith("cannot be read: Permission denied\n")


def test_unknown_condition_is_a_mistake_of_the_caller(cifar_c: Path) -> None:
    for condition in ("", "fog", "fog_0", "fog_6", "snow_1"):
        with pytest.raises(KeyError):
            open_one(cifar_c).images(condition)


def test_more_than_the_memory_is_refused(
    folder: Path, npz: Path, cifar_c: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 * 10 * 9
    for path, images in ((folder, 3), (npz, 4), (cifar_c, 4)):  # of CIFAR-C one condition counts
        monkeypatch.setattr(images_module, "physical_memory", lambda need=images * size: need)
        open_one(path)
        monkeypatch.setattr(images_module, "physical_memory", lambda need=images * size: need - 1)
        assert refusal(path).startswith(f"{images} images of 9x10 pixels need ")


# a folder of class folders


def save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two of the three classes: a dog, a bird, and a bird further down."""
    root = tmp_path / "folder"
    save(root / "dog" / "0.png", noise(0, 10, 9, 3))
    save(root / "bird" / "1.png", noise(1, 10, 9, 3))
    save(root / "bird" / "0 more" / "0.PNG", noise(2, 10, 9, 3))
    return root


def test_folder_gives_its_files_with_the_data_sets_own_labels(folder: Path) -> None:
    (folder / "dog" / "notes.txt").write_text("no image")
    (folder / "dog" / ".hidden.png").write_text("no image")
    (folder / ".hidden").mkdir()
    save(folder / "stray.png", noise(3, 10, 9, 3))
    found = open_one(folder)
    assert found.conditions == ("",)
    expected = np.stack([noise(seed, 10, 9, 3).transpose(2, 0, 1) for seed in (2, 1, 0)])
    assert_images(found.images(""), expected, [0, 0, 2])


def test_folder_is_decoded_once(folder: Path) -> None:
    found = open_one(folder)
    assert found.images("") is found.images("")


def test_folder_is_decoded_once_for_all_commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one opens no image: not even headers. A file that is added or changed is noticed."""
    expected = open_one(folder).images("")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was opened")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        again = open_one(folder)
        assert_images(again.images(""), expected.images.numpy(), expected.labels.tolist())
        (other,) = open_outside({"cam": str(folder)}, ["dog", "cat", "bird"], SHAPE, None)
        assert_images(other.images(""), expected.images.numpy(), [2, 2, 0])
    save(folder / "dog" / "0.png", noise(5, 10, 9, 3))
    expected.images[2] = torch.from_numpy(noise(5, 10, 9, 3)).permute(2, 0, 1)
    assert_images(open_one(folder).images(""), expected.images.numpy(), [0, 0, 2])
    save(folder / "bird" / "2.png", noise(6, 9, 10, 3))
    assert refusal(folder).startswith("bird/2.png is 10x9 pixels")


def test_cache_of_an_outside_folder_is_no_data_sets_own(folder: Path) -> None:
    save(folder / "cat" / "0.png", noise(3, 10, 9))
    colour, grey = open_one(folder).images(""), open_one(folder, GREY).images("")
    assert (colour.images.shape[1], grey.images.shape[1]) == (3, 1)
    names = sorted(path.name for path in (folder / ".hiddenmix").glob("*.safetensors"))
    assert names == [f"images-original-outside-{number}.safetensors" for number in (1, 3)]


def test_grey_files_become_colour_and_colour_files_grey(tmp_path: Path) -> None:
    grey, colour = noise(0, 10, 9), noise(1, 10, 9, 3)
    save(tmp_path / "cat" / "0.png", grey)
    save(tmp_path / "cat" / "1.png", colour)
    expected = np.stack([np.stack([grey] * 3), colour.transpose(2, 0, 1)])
    assert_images(open_one(tmp_path).images(""), expected, [1, 1])
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    assert_images(open_one(tmp_path, GREY).images(""), np.stack([grey, luma])[:, None], [1, 1])


def test_16_bit_files_of_which_few_levels_are_used_are_warned_of(tmp_path: Path) -> None:
    for seed in range(2):
        values = noise(seed, 10, 9).astype(np.uint16) * 16
        values[0, 0] = 4095  # 12 bits
        save(tmp_path / "cat" / f"{seed}.png", values)
    for _ in range(2):  # decoded, and from the cache
        found = open_one(tmp_path, GREY)
        *_, converted, warning = outside_remarks(found, CLASSES)
        about = f"outside set cam ({show(str(tmp_path))}): "
        assert converted == f"{about}converted: 2 of 16 bits"
        assert warning == (
            f"warning: {about}the largest 16-bit value is 4,095 of 65,535, so that 17 of 256 grey levels "
            "are left; scale the images to 16 bits first"
        )


def test_folder_needs_one_or_three_channels(folder: Path) -> None:
    assert refusal(folder, (2, 10, 9)) == (
        "image files have 1 or 3 channels, the data set 2\n"
        "  expected: an .npz file with x_test and y_test"
    )


def test_another_size_is_refused_unless_resized(folder: Path) -> None:
    save(folder / "cat" / "0.png", noise(3, 9, 10, 3))
    assert refusal(folder) == (
        "cat/0.png is 10x9 pixels, the data set's are 9x10\n"
        "  give it their size, or set dataset.resize=<side> for dataset=image_folder"
    )
    found = open_one(folder, (3, 8, 8), resize=8).images("")
    assert found.images.shape == (4, 3, 8, 8)
    assert found.labels.tolist() == [0, 0, 1, 2]
    with pytest.raises(
        ValueError, match=r"^images of shape \(3, 10, 9\) are not resized to Resize\("
    ):
        open_one(folder, SHAPE, resize=8)


def test_unknown_class_folders_are_named_with_the_classes(folder: Path) -> None:
    for name in ("emu", "Dog"):
        save(folder / name / "0.png", noise(3, 10, 9, 3))
    assert refusal(folder) == (
        "not classes of the data set: [Dog,emu]\n"
        "  expected: class folders with names of [bird,cat,dog]"
    )
    many = [f"class{number}" for number in range(1000)]
    with pytest.raises(UserError) as caught:
        open_outside({"cam": str(folder)}, many, SHAPE, None)
    assert told(caught.value).endswith("...")


def test_class_folders_in_other_letters_are_understood(folder: Path) -> None:
    expected = open_one(folder).images("").labels.tolist()
    (folder / "dog").rename(folder / "DOG ")
    assert sorted(open_one(folder).images("").labels.tolist()) == sorted(expected)


def test_class_names_that_no_folder_can_have(tmp_path: Path) -> None:
    """FashionMNIST's T-shirt/top, and what image_folder.scan calls a folder with a line break."""
    save(tmp_path / "T-shirt_top" / "0.png", noise(0, 10, 9, 3))
    save(tmp_path / "new\nline" / "0.png", noise(1, 10, 9, 3))
    (found,) = open_outside(
        {"cam": str(tmp_path)}, ["Bag", "T-shirt/top", "new\\nline"], SHAPE, None
    )
    assert found.images("").labels.tolist() == [1, 2]


def test_class_folder_without_images(folder: Path) -> None:
    (folder / "cat").mkdir()
    assert refusal(folder) == "class folder cat holds no image\n  add some, or remove it"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty (0 bytes)"), (b"words", "is not an image but text: words")],
)
def test_file_that_is_no_image_is_refused_before_training(
    folder: Path, content: bytes, says: str
) -> None:
    (folder / "bird" / "2.png").write_bytes(content)
    assert refusal(folder).startswith(f"bird/2.png {says}")


def test_file_damaged_behind_its_header_is_named_when_it_is_read(folder: Path) -> None:
    image = folder / "bird" / "1.png"
    image.write_bytes(image.read_bytes()[:-60])
    found = open_one(folder)
    with pytest.raises(UserError) as caught:
        found.images("")
    assert told(caught.value).startswith("bird/1.png cannot be read: ")


# .npz


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "set.npz"
    np.savez(path, x_test=noise(0, 4, 10, 9, 3), y_test=LABELS[:4], x_train=[1.5], other="words")
    return path


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("label_type", [np.uint8, np.int64, ">i2", np.uint64])
def test_npz_with_channels_last(
    tmp_path: Path, write: Callable[..., None], order: Any, label_type: Any
) -> None:
    images, labels = noise(0, 4, 10, 9, 3), LABELS[:4, None].astype(label_type)
    write(tmp_path / "set.npz", x_test=np.array(images, order=order), y_test=labels)
    found = open_one(tmp_path / "set.npz")
    assert found.conditions == ("",)
    assert_images(found.images(""), images.transpose(0, 3, 1, 2), [2, 0, 1, 1])


def test_npz_with_other_keys(npz: Path) -> None:
    assert_images(
        open_one(npz).images(""), noise(0, 4, 10, 9, 3).transpose(0, 3, 1, 2), [2, 0, 1, 1]
    )


@pytest.mark.parametrize("shape", [SHAPE, GREY, (2, 10, 9)])
def test_npz_with_channels_first(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    images = noise(0, 4, *shape)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=LABELS[:4])
    assert_images(open_one(tmp_path / "set.npz", shape).images(""), images, [2, 0, 1, 1])


@pytest.mark.parametrize("size", [(4, 10, 9), (4, 10, 9, 1)])
def test_npz_of_grey_images(tmp_path: Path, size: tuple[int, ...]) -> None:
    images = noise(0, *size)
    np.savez(tmp_path / "set.npz", x_test=images, y_test=LABELS[:4])
    found = open_one(tmp_path / "set.npz", GREY)
    assert_images(found.images(""), images.reshape(4, 1, 10, 9), [2, 0, 1, 1])


def test_npz_is_read_once_and_not_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x_test=noise(0, 4, 10, 9, 3), y_test=LABELS[:4])
    found = open_one(path)
    np.savez(path, x_test=noise(1, 4, 10, 9, 3), y_test=LABELS[:4])
    np.testing.assert_array_equal(
        found.images("").images.numpy(), noise(1, 4, 10, 9, 3).transpose(0, 3, 1, 2)
    )
    path.unlink()
    assert found.images("") is found.images("")


@pytest.mark.parametrize("classes", [["-1", "0"], ["-1", "0", "1"], ["-10", "7"]])
def test_classes_called_by_negative_numbers_are_named_by_them(
    tmp_path: Path, classes: list[str]
) -> None:
    places = np.array([1, 0, len(classes) - 1, 0])
    labels = np.array([int(classes[place]) for place in places])
    path = tmp_path / "set.npz"
    np.savez(path, x_test=noise(0, 4, 10, 9, 3), y_test=labels)
    (found,) = open_outside({"cam": str(path)}, classes, SHAPE, None)
    assert found.images("").labels.tolist() == places.tolist()
    np.savez(path, x_test=noise(0, 4, 10, 9, 3), y_test=labels - 50)
    with pytest.raises(UserError, match=r"y_test has labels that are no classes of the data set"):
        open_outside({"cam": str(path)}, classes, SHAPE, None)


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (
            noise(0, 4, 10, 9, 3).astype(np.float32),
            LABELS[:4],
            "x_test is float32 [4, 10, 9, 3]\n  expected: uint8 [N, 10, 9, 3] or [N, 3, 10, 9]",
        ),
        (np.full((4, 10, 9, 3), None), LABELS[:4], "x_test is object [4, 10, 9, 3]\n"),
        (noise(0, 4, 10, 9, 3).astype(np.int8), LABELS[:4], "x_test is int8 [4, 10, 9, 3]\n"),
        (noise(0, 4, 9, 10, 3), LABELS[:4], "x_test is uint8 [4, 9, 10, 3]\n"),
        (noise(0, 4, 3, 9, 10), LABELS[:4], "x_test is uint8 [4, 3, 9, 10]\n"),
        (noise(0, 4, 10, 9, 1), LABELS[:4], "x_test is uint8 [4, 10, 9, 1]\n"),
        (noise(0, 4, 10, 9), LABELS[:4], "x_test is uint8 [4, 10, 9]\n"),
        (noise(0, 4, 270), LABELS[:4], "x_test is uint8 [4, 270]\n"),
        (np.uint8(1), LABELS[:4], "x_test is uint8 []\n"),
        (noise(0, 0, 10, 9, 3), LABELS[:0], "x_test is uint8 [0, 10, 9, 3]\n"),
        (
            noise(0, 4, 10, 9, 3),
            LABELS[:3],
            "y_test is uint8 [3]\n  expected: integers [4] or [4, 1], a class number for each",
        ),
        (noise(0, 4, 10, 9, 3), np.eye(4, 3, dtype=int), "y_test is int64 [4, 3]\n"),
        (noise(0, 4, 10, 9, 3), LABELS[:4].astype(float), "y_test is float64 [4]\n"),
        (noise(0, 4, 10, 9, 3), LABELS[:4] > 0, "y_test is bool [4]\n"),
        (noise(0, 4, 10, 9, 3), np.array([0, 1, 1, None]), "y_test is object [4]\n"),
        (noise(0, 4, 10, 9, 3), np.array(["cat"] * 4), "y_test is <U3 [4]\n"),
        (
            noise(0, 4, 10, 9, 3),
            np.array([0, 1, 2, 3]),
            "y_test has labels from 0 to 3\n  expected: the data set's class numbers, from 0 to 2",
        ),
        (noise(0, 4, 10, 9, 3), np.array([0, 1, 2, -1]), "y_test has labels from -1 to 2\n"),
        (
            noise(0, 4, 10, 9, 3),
            np.array([0, 1, 2, 2**64 - 1], np.uint64),
            "y_test has labels from 0 to 18446744073709551615\n",
        ),
    ],
)
def test_npz_that_does_not_fit(
    tmp_path: Path, images: NDArray[Any], labels: NDArray[Any], says: str
) -> None:
    np.savez(tmp_path / "set.npz", x_test=images, y_test=labels)
    assert refusal(tmp_path / "set.npz").startswith(f"set.npz: {says}")


def test_npz_of_grey_images_says_all_three_layouts(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_test=noise(0, 4, 8, 8), y_test=LABELS[:4])
    assert refusal(tmp_path / "set.npz", GREY).endswith(
        "\n  expected: uint8 [N, 10, 9, 1] or [N, 1, 10, 9] or [N, 10, 9]"
    )


def test_npz_whose_channels_may_be_first_or_last(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x_test=noise(0, 4, 3, 3, 3), y_test=LABELS[:4])
    assert refusal(tmp_path / "set.npz", (3, 3, 3)) == (
        "set.npz: x_test is uint8 [4, 3, 3, 3]: are its channels first or last?\n"
        "  expected: any other size"
    )


def test_npz_without_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x_train=noise(0, 4, 10, 9, 3), x_test=noise(0, 4, 10, 9, 3))
    assert refusal(path) == (
        "set.npz holds no y_test, only [x_test,x_train]\n"
        "  expected: uint8 images x_test and class numbers y_test"
    )
    np.savez(path, noise(0, 4, 10, 9, 3), LABELS[:4])
    assert refusal(path).startswith("set.npz holds no x_test, only [arr_0,arr_1]\n")


def test_damaged_npz_is_named_when_opened_or_read(npz: Path) -> None:
    found = open_one(npz)
    content = bytearray(npz.read_bytes())
    content[1000] ^= 1  # a pixel: the member's checksum no longer fits
    npz.write_bytes(content)
    with pytest.raises(UserError) as caught:
        found.images("")
    assert told(caught.value).startswith("set.npz cannot be read: Bad CRC-32 for file 'x_test.npy'")
    content[50:60] = bytes(10)  # of the first member's header
    npz.write_bytes(content)
    assert refusal(npz).startswith("set.npz cannot be read: ")
    npz.write_bytes(content[:-100])
    assert refusal(npz).startswith("is cut short: copy or download it again\n")


def test_npz_that_changed_after_it_was_opened(npz: Path) -> None:
    found = open_one(npz)
    np.savez(npz, x_test=noise(0, 3, 10, 9, 3), y_test=LABELS[:3])
    with pytest.raises(UserError) as caught:
        found.images("")
    assert told(caught.value) == (
        "set.npz has changed since it was checked\n  run the command again"
    )
    npz.unlink()
    with pytest.raises(UserError) as caught:
        found.images("")
    assert told(caught.value).startswith("set.npz cannot be read: No such file or directory\n")


# CIFAR-10-C


def corruption(index: int) -> Pixels:
    return noise(100 + index, 20, 10, 9, 3)


@pytest.fixture
def cifar_c(tmp_path: Path) -> Path:
    """Two corruptions in 5 severities of 4 images each."""
    root = tmp_path / "CIFAR-10-C"
    root.mkdir()
    np.save(root / "labels.npy", LABELS)
    for index, name in reversed(list(enumerate(CORRUPTIONS))):
        np.save(root / f"{name}.npy", corruption(index))
    return root


@pytest.mark.parametrize("label_type", [np.uint8, np.int64])
def test_cifar_c_gives_each_severity_of_each_corruption(cifar_c: Path, label_type: Any) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 20).astype(label_type)
    np.save(cifar_c / "labels.npy", labels)
    (cifar_c / "README.txt").write_text("words")
    (cifar_c / "._fog.npy").write_text("of a Mac")
    found = open_one(cifar_c)
    assert found.conditions == (
        *("fog_1", "fog_2", "fog_3", "fog_4", "fog_5"),
        *("zoom_blur_1", "zoom_blur_2", "zoom_blur_3", "zoom_blur_4", "zoom_blur_5"),
    )
    for index, name in enumerate(CORRUPTIONS):
        for severity in range(1, 6):
            part = slice(severity * 4 - 4, severity * 4)
            assert_images(
                found.images(f"{name}_{severity}"),
                corruption(index)[part].transpose(0, 3, 1, 2),
                labels[part].tolist(),
            )


def test_grey_images_in_the_files_of_cifar_c_are_copied_too(tmp_path: Path) -> None:
    """[M, H, W, 1] has the order of [M, 1, H, W] already: what lies in a file must not be lent."""
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "fog.npy", noise(0, 20, 10, 9, 1))
    found = open_one(tmp_path, GREY).images("fog_5")
    found.images[:] = 0
    expected = noise(0, 20, 10, 9, 1)
    np.testing.assert_array_equal(np.load(tmp_path / "fog.npy"), expected)
    assert_images(
        open_one(tmp_path, GREY).images("fog_5"), expected[16:, None, :, :, 0], [2, 0, 1, 1]
    )


def test_cifar_c_in_fortran_order(cifar_c: Path) -> None:
    np.save(cifar_c / "fog.npy", np.asfortranarray(corruption(0)))
    expected = corruption(0)[4:8].transpose(0, 3, 1, 2)
    assert_images(open_one(cifar_c).images("fog_2"), expected, [2, 0, 1, 1])


def test_opening_cifar_c_reads_no_pixels_and_a_condition_only_its_own(tmp_path: Path) -> None:
    """Of 150 MB on paper, blocks of zeros that are not on the disk, as many as CIFAR-10-C has."""
    np.save(tmp_path / "labels.npy", np.zeros(50_000, np.uint8))
    with (tmp_path / "fog.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (50_000, 32, 32, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + 50_000 * 32 * 32 * 3)
    condition = 10_000 * 32 * 32 * 3
    tracemalloc.start()
    try:
        found = open_one(tmp_path, (3, 32, 32))
        assert tracemalloc.get_traced_memory()[1] < condition / 10
        with (tmp_path / "fog.npy").open("r+b") as file:  # after opening
            file.seek(start + 2 * condition)
            file.write(bytes([7, 8, 9]))
        images = found.images("fog_3")
        assert tracemalloc.get_traced_memory()[1] < condition * 1.1
    finally:
        tracemalloc.stop()
    assert images.images[0, :, 0, 0].tolist() == [7, 8, 9]
    assert int(images.images.sum(dtype=torch.int64)) == 7 + 8 + 9


def write_labels(labels: Any) -> Callable[[Path], None]:
    return lambda root: np.save(root / "labels.npy", labels)


def write_fog(array: NDArray[Any]) -> Callable[[Path], None]:
    return lambda root: np.save(root / "fog.npy", array)


def cut_fog(root: Path) -> None:
    (root / "fog.npy").write_bytes((root / "fog.npy").read_bytes()[:-1])


def lengthen_fog(root: Path) -> None:
    (root / "fog.npy").write_bytes((root / "fog.npy").read_bytes() + b"\0")


def only_labels(root: Path) -> None:
    for name in CORRUPTIONS:
        (root / f"{name}.npy").unlink()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (
            write_labels(LABELS[:19]),
            "labels.npy is uint8 [19]\n  expected: integers [5 * M], the class numbers of 5 ",
        ),
        (write_labels(LABELS[:0]), "labels.npy is uint8 [0]\n"),
        (write_labels(LABELS[:, None]), "labels.npy is uint8 [20, 1]\n"),
        (write_labels(LABELS.astype(float)), "labels.npy is float64 [20]\n"),
        (write_labels(np.array([None] * 20)), "labels.npy is object [20]\n"),
        (
            write_labels(np.full(20, 3)),
            "labels.npy has labels from 3 to 3\n"
            "  expected: the data set's class numbers, from 0 to 2",
        ),
        (write_labels(np.full(20, -1)), "labels.npy has labels from -1 to -1\n"),
        (lambda root: (root / "labels.npy").write_bytes(b""), "labels.npy cannot be read: "),
        (
            write_fog(corruption(0).astype(np.float32)),
            "fog.npy is float32 [20, 10, 9, 3]\n  expected: uint8 [20, 10, 9, 3]",
        ),
        (write_fog(corruption(0)[:15]), "fog.npy is uint8 [15, 10, 9, 3]\n"),
        (write_fog(corruption(0).transpose(0, 3, 1, 2)), "fog.npy is uint8 [20, 3, 10, 9]\n"),
        (write_fog(corruption(0)[..., 0]), "fog.npy is uint8 [20, 10, 9]\n"),
        (write_fog(np.full((20, 10, 9, 3), None)), "fog.npy is object [20, 10, 9, 3]\n"),
        (cut_fog, "fog.npy cannot be read: it has 5,527 bytes, by its header 5,528\n"),
        (lengthen_fog, "fog.npy cannot be read: it has 5,529 bytes, by its header 5,528\n"),
        (lambda root: (root / "snow.npy").write_text("words"), "snow.npy cannot be read: "),
        (
            lambda root: (root / "snow.npy").write_bytes(b"\x93NUMPY\x03\x00" + bytes(99)),
            "snow.npy cannot be read: it is no plain array\n  replace or remove it",
        ),
        (lambda root: (root / "snow.npy").mkdir(), "snow.npy cannot be read: it is not a regular"),
        (lambda root: os.mkfifo(root / "snow.npy"), "snow.npy cannot be read: it is not a reg"),
        (
            lambda root: np.save(root / "snow.npy", np.zeros(1, np.dtype([("ä", np.uint8)]))),
            "snow.npy is [('ä', 'u1')] [1]\n",
        ),
        (
            lambda root: (root / "fog.npy").rename(root / "a b.npy"),
            "a b.npy does not name a corruption\n  expected: <corruption>.npy with 1 to 50 letters",
        ),
        (
            only_labels,
            "holds labels.npy and no other file that ends with .npy\n  expected: a folder of ",
        ),
    ],
)
def test_cifar_c_that_does_not_fit(
    cifar_c: Path, prepare: Callable[[Path], object], says: str
) -> None:
    prepare(cifar_c)
    assert refusal(cifar_c).startswith(says)


def test_cifar_c_of_another_size_or_number_of_classes(cifar_c: Path) -> None:
    assert refusal(cifar_c, (3, 9, 10)).startswith("fog.npy is uint8 [20, 10, 9, 3]\n")
    with pytest.raises(UserError, match=r"labels\.npy has labels from 0 to 2\n.*from 0 to 1$"):
        open_outside({"cam": str(cifar_c)}, CLASSES[:2], SHAPE, None)


def test_cifar_c_that_changed_after_it_was_opened(cifar_c: Path) -> None:
    found = open_one(cifar_c)
    np.save(cifar_c / "fog.npy", corruption(0)[:15])
    cut = cifar_c / "zoom_blur.npy"
    cut.write_bytes(cut.read_bytes()[:-1])
    for condition, says in (
        ("fog_1", "fog.npy has changed since it was checked\n"),
        ("zoom_blur_1", "zoom_blur.npy cannot be read: "),
    ):
        with pytest.raises(UserError) as caught:
            found.images(condition)
        assert told(caught.value).startswith(says)


# digests


def test_digest_is_of_the_content_in_whatever_form(tmp_path: Path, folder: Path) -> None:
    digest = open_one(folder).digest
    assert len(digest) == 32
    images = np.stack([noise(seed, 10, 9, 3) for seed in (2, 1, 0)])
    labels = np.array([0, 0, 2])
    np.savez(tmp_path / "same.npz", x_test=images, y_test=labels)
    (same,) = open_outside({"other": str(tmp_path / "same.npz")}, CLASSES, SHAPE, None)
    assert same.digest == digest
    for name, changed_images, changed_labels in (
        ("pixel.npz", images ^ (np.arange(images.size).reshape(images.shape) == 5), labels),
        ("label.npz", images, np.array([0, 1, 2])),
        ("order.npz", images[[1, 0, 2]], labels),
        ("fewer.npz", images[:2], labels[:2]),
    ):
        np.savez(tmp_path / name, x_test=changed_images, y_test=changed_labels)
        assert open_one(tmp_path / name).digest != digest


def test_digest_of_cifar_c_covers_every_condition(cifar_c: Path) -> None:
    digests = {open_one(cifar_c).digest, open_one(cifar_c).digest}
    assert len(digests) == 1
    for place in range(0, 20, 4):  # a pixel of each severity in turn
        changed = corruption(1)
        changed[place, 0, 0, 0] ^= 1
        np.save(cifar_c / "zoom_blur.npy", changed)
        digests.add(open_one(cifar_c).digest)
    (cifar_c / "fog.npy").rename(cifar_c / "snow.npy")
    digests.add(open_one(cifar_c).digest)
    assert len(digests) == 7


def test_digest_is_taken_once_and_when_asked_for(cifar_c: Path) -> None:
    found = open_one(cifar_c)
    np.save(cifar_c / "fog.npy", corruption(5))
    digest = found.digest
    assert digest == open_one(cifar_c).digest
    (cifar_c / "fog.npy").unlink()
    assert found.digest == digest


def test_where_classes_are_called_by_numbers_labels_are_their_names(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x_test=noise(0, 3, 10, 9, 3), y_test=np.array([1, 2, 10]))
    (found,) = open_outside({"cam": str(path)}, ["1", "10", "2"], SHAPE, None)
    assert found.images("").labels.tolist() == [0, 2, 1]
    np.savez(path, x_test=noise(0, 3, 10, 9, 3), y_test=np.array([0, 2, 10]))
    with pytest.raises(UserError, match=r"no classes of the data set: \[0\]\n"):
        open_outside({"cam": str(path)}, ["1", "10", "2"], SHAPE, None)
