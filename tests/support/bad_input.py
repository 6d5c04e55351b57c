"""The table of bad input: what a user, a disk or another program may put before us, and what it gets.

Bad values and arguments stand in bad_values.py, all else here.

`REFUSED` ends with exit code 2 and at most two lines, before anything is written. `RECOVERED` warns
at most and ends with the right numbers. `FAILED` ends with exit code 1 and names the network.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiddenmix.study import checkpoints
from tests.support.bad_images import POSTSCRIPT, huge_png, png, text_bomb
from tests.support.bad_values import VALUES, Bad, Before, Gets, Prepare
from tests.support.commands import ALONE
from tests.support.image_folders import make_folder, pixels


def _outputs(action: Callable[[Path], object]) -> Prepare:
    """`action` on the folder outputs/, which it need not find."""
    return lambda folder: action(folder / "outputs")


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")


def _link(path: Path) -> None:
    """A link that leads out of outputs/."""
    path.parent.mkdir(parents=True, exist_ok=True)
    elsewhere = next(parent for parent in path.parents if parent.name == "outputs").parent
    (elsewhere / "elsewhere").mkdir()
    path.symlink_to(elsewhere / "elsewhere")


def _all(*actions: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        for action in actions:
            action(folder)

    return prepare


def _study_json(content: Any) -> Prepare:
    return lambda cell: (cell.parents[1] / "study.json").write_text(json.dumps(content))


def _linked(name: str) -> Bad:
    return Bad(
        f"study/{name} is a link",
        f"outputs/default/{name} is a link",
        prepare=lambda at: _link(at / "outputs/default" / name),
    )


PLACES = [
    Bad("outputs is a file", "outputs is not a folder", prepare=_outputs(_file)),
    Bad(
        "outputs is a link to nothing",
        "outputs is not a folder",
        prepare=_outputs(lambda path: path.symlink_to("nowhere")),
    ),
    Bad("study is a file", "is not a folder", prepare=lambda at: _file(at / "outputs/default")),
    Bad("study is a link", "is a link", prepare=lambda at: _link(at / "outputs/default")),
    *map(_linked, ("cells", "locks", "hydra", "comparison", "report")),
    Bad(
        "study of an older version",
        "study=default has format 1, this program writes 2",
        before=Before.FINISHED,
        prepare=_study_json({"format": 1, "commands": []}),
    ),
    Bad(
        "study of a newer version",
        "study=default has format 3, this program writes 2",
        before=Before.FINISHED,
        prepare=_study_json({"format": 3}),
    ),
    Bad(
        "study.json is cut",
        "already there",
        gets=Gets.RECOVERED,
        before=Before.FINISHED,
        prepare=lambda cell: (cell.parents[1] / "study.json").write_text('{"format": 1, "com'),
        same=True,
    ),
    Bad(
        "evaluate: no such folder", "nowhere is no study", ("outputs/nowhere",), program="evaluate"
    ),
    Bad(
        "evaluate: a name twice",
        r"--outside=a=two.npz is not allowed: a is given twice\n  allowed: each set under",
        ("outputs/default", "--outside", "a=one.npz", "--outside", "a=two.npz"),
        program="evaluate",
    ),
    Bad(
        "report: no such folder", "nowhere is not a folder", ("outputs/nowhere",), program="report"
    ),
]


def _change(name: str, change: Callable[[Any], Any]) -> Prepare:
    def prepare(cell: Path) -> None:
        path = cell / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return prepare


def _cut(name: str, share: float) -> Prepare:
    def prepare(cell: Path) -> None:
        content = (cell / name).read_bytes()
        (cell / name).write_bytes(content[: int(len(content) * share)])

    return prepare


def _result(name: str, prepare: Prepare) -> Bad:
    """A result that cannot be trusted: its network is trained again."""
    return Bad(
        name, "1 to train", (), Gets.RECOVERED, before=Before.FINISHED, prepare=prepare, same=True
    )


def _folder_for(name: str) -> Prepare:
    def prepare(cell: Path) -> None:
        (cell / name).unlink(missing_ok=True)
        (cell / name).mkdir()

    return prepare


RESULTS = [
    _result("result.json half-written", _cut("result.json", 0.5)),
    _result("result.json empty", _cut("result.json", 0)),
    _result("result.json is no object", _change("result.json", lambda _: [1])),
    _result("result.json of an older version", _change("result.json", lambda r: r | {"format": 0})),
    _result("result.json of another cell", _change("result.json", lambda r: r | {"cell": "x"})),
    _result("result.json lacks test", _change("result.json", lambda r: r | {"test": {}})),
    _result(
        "result.json with NaN",
        _change("result.json", lambda r: r | {"test": r["test"] | {"accuracy": float("nan")}}),
    ),
    _result(
        "result.json nested 100,000 deep",
        lambda cell: (cell / "result.json").write_text("[" * 100_000),
    ),
    _result(
        "result.json is a link to itself",
        _all(
            lambda cell: (cell / "result.json").unlink(),
            lambda cell: (cell / "result.json").symlink_to("result.json"),
        ),
    ),
    Bad(
        "result.json is a folder",
        "failed: .*Is a directory.*result.json",
        gets=Gets.FAILED,
        before=Before.FINISHED,
        prepare=_folder_for("result.json"),
    ),
    Bad(
        "cell is a link",
        "is a link",
        before=Before.FINISHED,
        prepare=_all(
            lambda cell: cell.rename(cell.parents[3] / "elsewhere"),
            lambda cell: cell.symlink_to(cell.parents[3] / "elsewhere"),
        ),
    ),
    Bad(
        "cell is a file",
        "failed: .*(Not a directory|File exists)",
        gets=Gets.FAILED,
        before=Before.FINISHED,
        prepare=_all(shutil.rmtree, lambda cell: cell.write_text("a file")),
    ),
    Bad(
        "metrics.jsonl damaged",
        "already there",
        gets=Gets.RECOVERED,
        before=Before.FINISHED,
        prepare=lambda cell: (cell / "metrics.jsonl").write_bytes(b"\xff{\n[1]\n"),
    ),
    Bad(
        "evaluate: weights damaged",
        "failed: model.safetensors is damaged",
        ("outputs/default",),
        Gets.FAILED,
        Before.FINISHED,
        _cut("model.safetensors", 0.9),
        program="evaluate",
    ),
    Bad(
        "evaluate: weights of another network",
        "failed: model.safetensors is damaged, or not of the run",
        ("outputs/default",),
        Gets.FAILED,
        Before.FINISHED,
        lambda cell: (cell / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      "),
        program="evaluate",
    ),
    Bad(
        "evaluate: result of another configuration",
        "holds no finished cells",
        ("outputs/default",),
        before=Before.FINISHED,
        prepare=_change("result.json", lambda r: r | {"config": r["config"] | {"seed": 5}}),
        program="evaluate",
    ),
]


class Evil:
    """Makes a folder `executed` where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def _checkpoint(name: str, prepare: Prepare, says: str = "warning: .*is not used") -> Bad:
    """A checkpoint that cannot be used: the previous one is, or the network starts over."""
    return Bad(
        name, says, (), Gets.RECOVERED, before=Before.INTERRUPTED, prepare=prepare, same=True
    )


def signed(path: Path, payload: bytes) -> None:
    """A checkpoint with the right digest, whatever it holds."""
    cell = path.parent.name
    digest = checkpoints._digest(cell, payload)
    path.write_bytes(f"hiddenmix checkpoint 1 {cell} {digest}\n".encode() + payload)


def _nan(cell: Path) -> None:
    saved = checkpoints.load(cell, cell.name, print)
    assert saved is not None
    next(iter(saved["training"]["network"].values())).fill_(float("nan"))
    checkpoints.save(cell, cell.name, saved)


def _other_version(cell: Path) -> None:
    path = cell / "checkpoint.pt"
    path.write_bytes(path.read_bytes().replace(b"checkpoint 1 ", b"checkpoint 9 ", 1))


def _other_configuration(cell: Path) -> None:
    path = cell / "checkpoint.pt"
    header, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(header.replace(b"-s0-", b"-s1-") + b"\n" + rest)


CHECKPOINTS = [
    _checkpoint("checkpoint cut", _cut("checkpoint.pt", 0.7)),
    _checkpoint("checkpoint empty", _cut("checkpoint.pt", 0)),
    _checkpoint("checkpoint with NaN", _nan, "it holds numbers that are not finite"),
    _checkpoint("checkpoint of version 9", _other_version, "it has version 9, this program reads"),
    _checkpoint(
        "checkpoint of another configuration", _other_configuration, "belongs to another conf"
    ),
    Bad(
        "checkpoint is a folder",
        "failed: Not a directory: outputs/default/cells/.*/checkpoint.pt",
        gets=Gets.FAILED,
        before=Before.INTERRUPTED,
        prepare=_folder_for("checkpoint.pt"),
    ),
    _checkpoint(
        "checkpoint is a malicious pickle",
        lambda cell: (cell / "checkpoint.pt").write_bytes(pickle.dumps(Evil())),
    ),
    _checkpoint(
        "checkpoint is a malicious pickle with the right digest",
        lambda cell: signed(cell / "checkpoint.pt", pickle.dumps(Evil())),
    ),
    _checkpoint(
        "half a checkpoint that a kill left",
        lambda cell: (cell / ".checkpoint.new.pt.abc.tmp").write_bytes(b"half"),
        "resumed after epoch 1",
    ),
]

FOLDER = (
    *("dataset=image_folder", "dataset.root=images", "batch_size=4", "epochs=1", "repeats=1"),
    *("model.channels=[4,4,4]", "model.width=8", "baseline=false"),
)


def _images(name: str, says: str, prepare: Prepare, gets: Gets = Gets.REFUSED) -> Bad:
    return Bad(name, says, FOLDER, gets, Before.IMAGES, lambda at: prepare(at / "images"))


def _damaged(name: str, content: bytes, says: str) -> Bad:
    return _images(
        f"image {name}",
        f"train/dog/1.png {says}",
        lambda root: (root / "train/dog/1.png").write_bytes(content),
    )


def _saved(name: str, image: Image.Image, suffix: str = "png") -> Bad:
    """An image of an unusual kind that is converted."""
    return _images(
        f"image {name}",
        "1 network",
        lambda root: image.save(root / f"train/dog/odd.{suffix}"),
        Gets.RECOVERED,
    )


def _named(name: str) -> Prepare:
    def prepare(root: Path) -> None:
        path = root / "train" / "cat" / name
        Image.fromarray(pixels(1)).save(root / "train/cat/0.png")
        (root / "train/cat/0.png").rename(path)

    return prepare


def _cached(content: bytes) -> Prepare:
    def prepare(root: Path) -> None:
        (root / ".hiddenmix").mkdir()
        (root / ".hiddenmix/images-original.safetensors").write_bytes(content)

    return prepare


DATA = [
    _damaged("truncated", png(Image.fromarray(pixels(9)))[:-60], "cannot be read"),
    _damaged("of 0 bytes", b"", "is empty"),
    _damaged("that is text", b"words", "is not an image"),
    _damaged("that is PostScript", POSTSCRIPT, "is not an image"),
    _damaged("of 1x1 pixels", png(Image.fromarray(pixels(9, side=1))), "is 1x1 pixels"),
    _damaged("of 20,000x20,000 pixels", huge_png(20_000), "is too large"),
    _damaged("with a text bomb", text_bomb(), "cannot be read"),
    _damaged("of another size", png(Image.fromarray(pixels(9, side=11))), "is 11x11 pixels"),
    _saved("in CMYK", Image.fromarray(pixels(9)).convert("CMYK"), "jpg"),
    _saved("with a palette", Image.fromarray(pixels(9)).convert("P")),
    _saved("of 16 bits", Image.fromarray(np.full((10, 10), 40_000, np.uint16))),
    _images(
        "image folder without test/",
        "has no folder test/.*\n  add dataset.test_fraction=0.2",
        lambda r: shutil.rmtree(r / "test"),
    ),
    _images(
        "image that is a web page",
        "train/dog/1.png is a web page: its download failed",
        lambda r: (r / "train/dog/1.png").write_text("<!DOCTYPE html><html>404</html>"),
    ),
    _images(
        "class with 0 images",
        "holds no image",
        _all(
            lambda r: (r / "train/dog/0.png").unlink(),
            lambda r: (r / "train/dog/1.png").unlink(),
        ),
    ),
    _images("classes differ", "differ in classes", lambda r: (r / "test/bird").mkdir()),
    _images(
        "one class alone",
        "two or more classes",
        _all(
            lambda r: shutil.rmtree(r / "train/dog"),
            lambda r: shutil.rmtree(r / "test/dog"),
        ),
    ),
    _images("a pipe", "is not a regular file", lambda r: os.mkfifo(r / "train/cat/pipe.png")),
    _images(
        "image is a link to itself",
        "is a link that leads nowhere",
        lambda r: (r / "train/cat/loop.png").symlink_to("loop.png"),
    ),
    _images(
        "folders in a loop of links",
        "1 network",
        lambda r: (r / "train/cat/up").symlink_to("../cat"),
        Gets.RECOVERED,
    ),
    _images("file name with a newline", "1 network", _named("new\nline.png"), Gets.RECOVERED),
    _images(
        "file name not in UTF-8", "1 network", _named(os.fsdecode(b"\xff.png")), Gets.RECOVERED
    ),
    _images(
        "cache damaged",
        "1 network",
        _cached(b"\xff" * 100),
        Gets.RECOVERED,
    ),
    _images(
        "cache is a malicious pickle",
        "1 network",
        _cached(pickle.dumps(Evil())),
        Gets.RECOVERED,
    ),
    _images(
        "cache folder is a file",
        "1 network",
        lambda r: (r / ".hiddenmix").write_text(""),
        Gets.RECOVERED,
    ),
    Bad(
        "batch larger than a small folder, by default",
        "batch_size=128 is not allowed\n  allowed: 2 to 4 training images; 128 is the default, set for "
        "example batch_size=2",
        ("dataset=image_folder", "dataset.root=images"),
        before=Before.IMAGES,
    ),
    Bad("mnist not there", "mnist is not complete", ("dataset=mnist", "dataset.download=false")),
]

ROWS = [*VALUES, *PLACES, *RESULTS, *CHECKPOINTS, *DATA]

STUDY = ALONE
"""The command that made the studies of `Before`, and that is given again."""


def make_images(folder: Path) -> None:
    """images/ in `folder`."""
    make_folder(folder / "images", images=2)
