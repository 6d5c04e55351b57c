"""Code and weights known by their content."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hiddenmix.config.errors import UserError
from hiddenmix.config.files import source_digest, with_digests
from hiddenmix.config.schema import ImportConfig, TorchvisionConfig


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()


def test_code_is_known_by_its_content_and_that_of_what_it_imports_here(folder: Path) -> None:
    write(folder / "firstnet.py", "import torch\nfrom firstblocks.deep import Block\n")
    write(folder / "firstblocks/deep.py", "from . import more\nimport otherpart as part\n")
    write(folder / "firstblocks/more.py", "")
    write(folder / "otherpart.py", "1 / 0")
    write(folder / "unrelated.py", "")
    digests = [source_digest("firstnet.Net")]
    for name in ("firstnet", "firstblocks/deep", "firstblocks/more", "otherpart"):
        path = folder / f"{name}.py"
        path.write_text(path.read_text() + "changed = 1\n")
        digests.append(source_digest("firstnet.Net"))
    assert len(set(digests)) == 5
    (folder / "unrelated.py").write_text("changed = 1")
    assert source_digest("firstnet.Net") == digests[-1]
    assert "firstnet" not in sys.modules  # nothing ran


NET = """
from torch import nn
from commentedblocks import Block

class Net(nn.Sequential):
    def __init__(self, width=2, name=None):
        super().__init__(nn.Linear(width, True), Block(f"{width:>{width}.{width}f}"), nn.ReLU())

class Other(Net):
    pass
"""

SAME = [
    NET + "# a comment\n",
    NET.replace("\n", "\n\n").replace("(width, True)", "(\n            width,  # in\n True,\n )"),
    NET.replace("class Net", '"""A bare text."""\nclass Net'),
    '"""What it is: \\d."""' + NET.replace("    pass", '    """Another."""'),
    NET.replace("    def", '    """A network."""\n\n    def').replace(
        "        super", "        'Of'\n        super"
    ),
    NET.replace('f"{', "f'{").replace('f}"', "f}'"),
]

OTHER = [
    NET.replace("ReLU", "Tanh"),
    NET.replace("True", "1"),
    NET.replace("width=2", "width=2.0"),
    NET.replace("name=None", "name='None'"),
    NET.replace("name=None", "name=''"),
    NET.replace("name=None", "*, name=None"),
    NET.replace("nn.Linear(width, True), ", ""),
    NET.replace("Other(Net)", "Other"),
    NET.replace(".{width}f", "f"),
    NET + "Net = Other\n",
    NET.replace("):\n        super", ")"),
]


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_comments_docstrings_and_layout_are_no_other_code(folder: Path) -> None:
    write(folder / "commentednet.py", NET)
    write(folder / "commentedblocks.py", "class Block:\n    'One.'\n")
    first = source_digest("commentednet.Net")
    # Also what Python 3.12 and 3.13 find: none must take another's networks for changed ones.
    assert first == "e3b74314cb92ad79"
    for code in SAME:
        write(folder / "commentednet.py", code)
        assert source_digest("commentednet.Net") == first, code
    digests = set()
    for code in OTHER:
        write(folder / "commentednet.py", code)
        digests.add(source_digest("commentednet.Net"))
    assert len(digests | {first}) == len(OTHER) + 1
    write(folder / "commentednet.py", NET)
    write(folder / "commentedblocks.py", "class Block:  # one\n    pass\n")
    assert source_digest("commentednet.Net") == first


def test_the_same_code_elsewhere_is_the_same(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for where in (folder, other):
        write(where / "samenet.py", "import samepart\n")
        write(where / "samepart/__init__.py", "")
    here = source_digest("samenet.Net")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(other)
        patch.syspath_prepend(other)
        assert source_digest("samenet.Net") == here


def test_an_installed_package_is_known_as_a_whole() -> None:
    assert source_digest("torchvision.models.resnet18") == source_digest("torchvision.ops.Conv2d")
    assert source_digest("torchvision.models.resnet18") != source_digest("safetensors.torch.load")


def test_installed_packages_that_own_code_imports_are_not_walked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "walknet.py", "import torch\nimport walkpart\n")
    write(folder / "walkpart/deep.py", "")
    walked: list[Path] = []
    rglob = Path.rglob

    def walk(here: Path, pattern: str) -> Iterator[Path]:
        walked.append(here)
        return rglob(here, pattern)

    monkeypatch.setattr(Path, "rglob", walk)
    source_digest("walknet.Net")
    assert walked == [folder / "walkpart"]


def test_files_that_are_not_there_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there is no module nosuchnet"):
        source_digest("nosuchnet.Net")
    write(folder / "weights.pt", "")
    write(folder / "weights.safetensors", "one")
    for wrong in ("weights.pt", "missing.safetensors", "."):
        with pytest.raises(UserError, match=r"a \.safetensors file"):
            with_digests(TorchvisionConfig(weights=wrong))
    with pytest.raises(UserError, match=r"^model\.weights=missing\.safetensors: no such file\n"):
        with_digests(TorchvisionConfig(weights="missing.safetensors"))
    monkeypatch.setenv("HOME", str(folder))
    at_home = with_digests(TorchvisionConfig(weights="~/weights.safetensors"))
    assert at_home.weights == "~/weights.safetensors"
    model = TorchvisionConfig(weights="weights.safetensors")
    assert at_home.weights_digest == with_digests(model).weights_digest
    first = with_digests(model)
    write(folder / "weights.safetensors", "other")
    assert with_digests(first).weights_digest not in (None, first.weights_digest)
    assert with_digests(replace(first, weights=None)).weights_digest is None
    assert model.weights_digest is None


def test_what_is_filled_in_cannot_be_given(folder: Path) -> None:
    write(folder / "givennet.py", "")
    model = with_digests(ImportConfig(target="givennet.Net", source="mine"))
    assert isinstance(model, ImportConfig)
    assert model.source == source_digest("givennet.Net")
