"""The pages that people read, and what stands in them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OURS = "python -m hiddenmix"

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of `page` in order, indented ones too."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, text.replace("\n" + indent, "\n")) for indent, language, text in found]


def prose(page: Path) -> str:
    """`page` without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose of `page`."""
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: Path) -> list[list[str]]:
    """The command lines of `page` as arguments: in its shell blocks, and whole ones in its prose."""
    lines = []
    for block in blocks(page):
        whole = joined(block.text.replace("\\\n", " ").splitlines())
        if block.language in ("sh", "bash"):
            lines += whole
        elif not block.language:  # what a terminal shows
            lines += [each for line in whole if (each := line.removeprefix("$ ")).startswith(OURS)]
    lines += [each for each in spans(page) if each.startswith(OURS) and "<" not in each]
    return [found for line in lines for found in split(line)]


def joined(lines: list[str]) -> list[str]:
    """`lines`, those within a quotation as one with the lines that it begins and ends in."""
    found: list[str] = []
    waiting = ""
    for line in lines:
        waiting += line
        try:
            shlex.split(waiting, comments=True)
        except ValueError:  # a quotation is still open
            waiting += "\n"
            continue
        found.append(waiting)
        waiting = ""
    return [*found, waiting] if waiting else found


def split(line: str) -> list[list[str]]:
    """The commands that `&&` joins in a line of the shell, comments aside; what sbatch wraps is one."""
    parts: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    found = [part for part in parts if part]
    for part in list(found):
        if part[0] == "sbatch" and "--wrap" in part:
            first = part[part.index("--wrap") + 1].splitlines()[0]
            found += split(re.sub(r"^(exec|srun -c \d+) ", "", first))
    return found
