"""docs/architecture.md says what is there: every path and name, and the drawing of the rooms."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hiddenmix"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
[DRAWING] = re.findall(r"^```mermaid\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
SPANS = dict.fromkeys(re.findall(r"`([^`\n]+)`", PROSE))
PLACES = [span for span in SPANS if "/" in span]
"""Between backticks only paths have a slash: a file or folder, or `file:qualified name`."""
NAMED = [place for place in PLACES if ":" in place]
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def definitions(body: list[ast.stmt], within: str = "") -> Iterator[str]:
    """Functions, classes, methods, constants and fields by qualified name, local ones aside."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield within + name
            case ast.ClassDef(name=name):
                yield within + name
                yield from definitions(node.body, f"{within}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield within + name
            case ast.Assign(targets=targets):
                yield from (within + each.id for each in targets if isinstance(each, ast.Name))


def missing(place: str) -> bool:
    """Whether `place` names a path that is not there, or what its file does not define."""
    path, _, name = place.partition(":")
    if not name:
        return not (ROOT / path).exists()
    if not (ROOT / path).is_file():
        return True
    return name not in definitions(ast.parse((ROOT / path).read_text()).body)


@pytest.mark.parametrize("place", PLACES)
def test_what_the_page_names_is_there(place: str) -> None:
    assert re.fullmatch(r"[\w./-]+|[\w./]+\.py:[A-Za-z_][\w.]*", place)
    assert not missing(place)


def test_the_page_names_much_and_a_wrong_name_is_found() -> None:
    assert len(NAMED) >= 60
    assert len(PLACES) - len(NAMED) >= 10
    assert all(any(place.startswith(f"hiddenmix/{room}/") for place in NAMED) for room in ROOMS)
    # Each kind of name is known, and another one beside it is not.
    for known, wrong in (
        ("hiddenmix/study/store.py:Cell.finish", "hiddenmix/study/store.py:finish"),
        ("hiddenmix/study/store.py:FORMAT", "hiddenmix/study/store.py:FORMATS"),
        ("hiddenmix/report/verdict.py:told", "hiddenmix/report/verdict.py:Verdict.told"),
        ("hiddenmix/mixing/draws.py:draw", "hiddenmix/mixing/draws.py:Path"),
        ("hiddenmix/mixing/draws.py:Draw", "hiddenmix/mixing/drawing.py:Draw"),
        ("conf/dataset", "conf/datasets"),
    ):
        assert not missing(known)
        assert missing(wrong)


def test_paths_are_not_written_in_another_way() -> None:
    """A path without its folder, or outside of backticks, would not be checked."""
    elsewhere = {span for span in SPANS if re.search(r"\.py\b", span)} - set(PLACES)
    assert elsewhere == {"__init__.py"}  # of each room
    bare = re.sub(r"`[^`\n]+`", "", PROSE)
    assert not re.search(r"\.py\b|\b(hiddenmix|tests|conf|scripts)/", bare)


def drawn() -> tuple[set[str], set[tuple[str, str]]]:
    """The drawing's boxes and its arrows `a & b --> c & d`; one to a frame goes to all within it."""
    boxes: set[str] = set()
    frames: dict[str, set[str]] = {}
    arrows: set[tuple[str, str]] = set()
    frame: str | None = None
    head, *lines = DRAWING.splitlines()
    assert head == "flowchart TD"
    for line in map(str.strip, lines):
        if found := re.fullmatch(r'subgraph (\w+) \[" "\]', line):
            frame = found[1]
            frames[frame] = set()
        elif line == "end":
            frame = None
        else:
            sides = re.fullmatch(r"([\w &]+?) (-->|-\.->) ([\w &]+)", line)
            assert sides, f"not understood: {line}"
            left, right = sides[1].split(" & "), sides[3].split(" & ")
            boxes |= {*left, *right}
            if frame is not None:
                frames[frame] |= {*left, *right}
            if sides[2] == "-->":
                arrows |= {(one, other) for one in left for other in right}
    whole = {(one, to) for one, other in arrows for to in frames.get(other, {other})}
    return boxes - frames.keys(), whole


def imported() -> set[tuple[str, str]]:
    """Which room imports which, wherever in its files; `randomness` is a room of one file."""
    rooms = {*ROOMS, "randomness"}
    found: set[tuple[str, str]] = set()
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                modules = [f"{node.module}.{each.name}" for each in node.names]
            elif isinstance(node, ast.Import):
                modules = [each.name for each in node.names]
            for module in modules:
                package, _, rest = module.partition(".")
                if package == "hiddenmix":
                    found.add((own, rest.partition(".")[0]))
    return {(one, other) for one, other in found if {one, other} <= rooms and one != other}


def test_the_drawing_has_every_room_and_its_arrows_are_the_imports() -> None:
    boxes, arrows = drawn()
    assert boxes == {*ROOMS, "randomness", "commands"}
    assert len(ROOMS) == 10
    assert arrows == imported()


def test_the_table_has_the_lines_of_the_rule_and_arrows_run_downwards() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [each["layers"] for each in rules["contracts"] if each["name"] == "rooms"]
    lines: dict[str, int] = {}
    for number, names, purpose in re.findall(r"^\| (\d) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE):
        assert purpose
        lines |= dict.fromkeys(re.findall(r"`(\w+)`", names), int(number))
    assert lines == {
        name: number for number, line in enumerate(layers, start=1) for name in line.split(" | ")
    }
    assert all(lines[one] < lines[other] for one, other in drawn()[1])
