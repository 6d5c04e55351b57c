"""What systems, network drives, synchronisation and tools leave in class folders."""

import shutil
from pathlib import Path

import pytest

from hiddenmix.config import DatasetConfig, UserError
from hiddenmix.data.leftovers import is_leftover
from hiddenmix.data.loading import read
from tests.support.image_folders import make_folder, scan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images", images=5)


LEFT = ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX"]
LEFT += [
    ".ipynb_checkpoints",
    ".stversions",
    ".dropbox.cache",
    "@Recycle",
    "@__thumb",
    "LOST.DIR",
    "found.001",
    "RecycleBin.ffs_tmp",
    "#snapshot",
    ".Trash-1000",
]


@pytest.mark.parametrize("name", LEFT)
def test_folders_of_systems_and_tools_are_no_classes_and_hold_no_images(
    root: Path, name: str
) -> None:
    whole = scan(root).names
    for place in (root, root / "train", root / "train" / "cat"):
        (place / name).mkdir()
        shutil.copy(root / "train" / "cat" / "0.png", place / name / "SYNOPHOTO_THUMB_M.png")
    found = scan(root)
    assert found.names == whole
    assert found.skipped == {"hidden folder" if name[0] == "." else f"{name}/": 2}


def test_other_files_are_skipped_counted_and_named(root: Path) -> None:
    folder = root / "train" / "cat"
    for name in (
        "a.txt",
        "b.txt",
        "a.xml",
        "a.json",
        "a.yml",
        "._0.png",
        ".DS_Store",
        "Thumbs.db",
        "x.heic",
    ):
        (folder / name).write_bytes(b"anything")
    (folder / "no ending").write_bytes(b"anything")
    (root / "train" / "stray.png").write_bytes(b"anything")
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert len(whole.train.labels) == 10
    assert whole.skipped == (
        "skipped 2 .txt, 2 hidden, 1 .heic, 1 .json, 1 .png beside the class folders, 1 .xml, 1 .yml, "
        "1 Thumbs.db, 1 of 1 more kind"
    )
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "x.heic").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"train/cat holds no image: skipped 1 \.heic"):
        scan(root)


@pytest.mark.parametrize(
    "name",
    ["cat", "@home", "#1", "recycle", "recycled", "CVS", "tmp", "found", "thumbs", "a conflict"],
)
def test_what_only_looks_like_a_leftover_is_a_class(name: str) -> None:
    assert not is_leftover(name, folder=True)
    assert not is_leftover(f"{name}.png", folder=False)


@pytest.mark.parametrize(
    "name",
    [
        "0.sync-conflict-20230101-120000-ABCDEFG.png",
        "0 (conflicted copy 2023-01-01 120000).png",
        "0 (Anna's conflicted copy 2023-01-01).png",
        "0_conflict-20230101-120000.png",
        "0 (SFConflict anna@example.org 2023-01-01-12-00-00).png",
        "0 (Case Conflict).png",
    ],
)
def test_versions_that_synchronisation_kept_are_no_further_images(root: Path, name: str) -> None:
    """syncthing 2584 and 6287: copies appear beside files, many of them identical."""
    whole = scan(root).names
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / name)
    found = scan(root)
    assert found.names == whole
    assert found.skipped == {"conflicting version": 1}


def test_images_that_are_not_here_are_warned_of(root: Path) -> None:
    folder = root / "train" / "cat"
    for name in (".5.png.icloud", "6.png.nextcloud", "7.png.crdownload", "8.png.part"):
        (folder / name).write_bytes(b"")
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert whole.remarks == (
        "warning: 4 files not on this machine, or not wholly "
        "(.icloud, .nextcloud, .part, .crdownload)",
    )
    assert whole.skipped.startswith("skipped 1 .crdownload, 1 .icloud")


def test_what_annotation_tools_leave_is_skipped_or_said(root: Path) -> None:
    folder = root / "train" / "cat"
    (folder / "0.json").write_text("{}")
    (folder / "0_json").mkdir()  # of labelme: the image again, and its mask
    for name in ("img.png", "label.png"):
        shutil.copy(folder / "0.png", folder / "0_json" / name)
    (folder / "not_json").mkdir()
    shutil.copy(folder / "0.png", folder / "not_json" / "5.png")
    shutil.copy(folder / "0.png", folder / "1_mask.png")
    shutil.copy(folder / "0.png", folder / "1_mask_1.png")
    shutil.copy(folder / "0.png", folder / "a_mask.png")  # of no image
    whole = read(DatasetConfig(name="image_folder", root=str(root)))
    assert len(whole.train.labels) == 10 + 1 + 3
    assert whole.skipped == "skipped 1 .json, 1 folder of labelme"
    assert whole.remarks == (
        "warning: 2 files named as masks of others, and taken as images: "
        "train/cat/1_mask.png, ...; move them away if they are masks",
    )


def test_a_link_upwards_brings_no_image_of_another_class(root: Path) -> None:
    """timm 334, torchvision 1580: links are followed; dog's images were taken for cat's."""
    whole = scan(root)
    (root / "train" / "cat" / "up").symlink_to("..")
    (root / "train" / "cat" / "root").symlink_to(root.resolve())
    found = scan(root)
    assert (found.names, found.labels.tolist()) == (whole.names, whole.labels.tolist())
    assert found.skipped == {"link to a folder above": 2}


def test_links_that_lead_nowhere_are_told(root: Path) -> None:
    (root / "train" / "README.md").symlink_to(".git/annex/objects/ab/readme")
    (root / "train" / "cat" / "more").symlink_to("/mnt/unplugged")
    assert scan(root).skipped == {"link that leads nowhere": 2}
    (root / "train" / "cat" / "5.png").symlink_to("../../.git/annex/objects/ab/image.png")
    with pytest.raises(UserError, match=r"5\.png is a link that leads nowhere: git annex get"):
        read(DatasetConfig(name="image_folder", root=str(root)))
    (root / "train" / "cat" / "5.png").unlink()
    (root / "train" / "bird").symlink_to("/mnt/unplugged/bird")  # a class would lack
    with pytest.raises(UserError, match=r"^train/bird is a link that leads nowhere\n"):
        scan(root)
