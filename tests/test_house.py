"""The rooms: what may import what and by which door, how long a file may be, what loads torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hiddenmix"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_import_rules_hold() -> None:
    """The contracts stand in pyproject.toml, under tool.importlinter."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_has_one_reason_to_exist(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """What a file imports of this package: (module, names), wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hiddenmix"):
            yield str(node.module), [each.name for each in node.names]
        elif isinstance(node, ast.Import):
            yield from (
                (each.name, []) for each in node.names if each.name.startswith("hiddenmix.")
            )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_room_is_entered_by_its_door(path: Path) -> None:
    """Another room's files are its own business: its `__all__` is what others may use."""
    own = path.relative_to(PACKAGE).parts[0]
    for module, names in imports(path):
        room, *inside = module.split(".")[1:] or [""]
        if room in ROOMS and room != own:
            assert not inside, f"{module} is inside of another room"
            assert set(names) <= set(import_module(module).__all__), (module, names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_its_tests_stand_beside_it(room: str) -> None:
    door = import_module(f"hiddenmix.{room}")
    assert door.__doc__
    assert list(door.__all__) == sorted(door.__all__, key=lambda name: (not name.isupper(), name))
    assert any((ROOT / "tests" / room).glob("test_*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_in_a_door_hides_a_file_of_its_room(room: str) -> None:
    """`from hiddenmix.<room> import <name>` gives the module of that name, or there is none."""
    door = import_module(f"hiddenmix.{room}")
    files = [path.stem for path in (PACKAGE / room).glob("[!_]*.py")]
    assert not [name for name in files if not isinstance(getattr(door, name, door), ModuleType)]


def test_the_package_and_the_report_load_no_torch() -> None:
    code = (
        "import sys, hiddenmix, hiddenmix.config, hiddenmix.report.__main__\n"
        "import hiddenmix.report.figures, hiddenmix.data.decoding, hiddenmix.data.image_cache\n"
        "assert 'torch' not in sys.modules\n"
        "hiddenmix.draw\n"
        "assert 'torch' in sys.modules and 'torchvision' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
