"""The drawing of the rooms in docs/architecture.md as SVG, from its Mermaid text and the table below it.

A room stands on its line of the table. An arrow that passes a line on its way has a place there, like a
room, so that none runs through a box; within a line, places follow the mean of what they are joined to.
"""

import re
from itertools import pairwise

WIDTH, LINE, BOX = 860, 84, (118, 34)

ARROW = r"^ *([\w &]+?) (-->|-\.->) ([\w &]+)$"

Place = str | tuple[str, str, int]
"""A room, or where the arrow between two rooms passes a line."""


def drawing(mermaid: str, page: str) -> str:
    """An `<svg>` of the boxes and arrows in `mermaid`; `page` has the table of lines and rooms."""
    rank = {
        name: int(number)
        for number, names in re.findall(r"^\| (\d) \| (.+?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    rank["commands"] = 1
    arrows, dotted, framing = _arrows(mermaid)
    rooms = dict.fromkeys(name for arrow in dotted + arrows for name in arrow)
    lines: list[list[Place]] = [[] for _ in range(max(rank.values()))]
    for name in rooms:
        lines[rank[name] - 1].append(name)
    ways: dict[tuple[str, str], list[Place]] = {}
    for one, other in dotted + arrows:
        passed: list[Place] = [(one, other, line) for line in range(rank[one] + 1, rank[other])]
        for number, place in enumerate(passed, start=rank[one]):
            lines[number].append(place)
        ways[one, other] = [one, *passed, other]
    _untangle(lines, list(ways.values()))
    at = _positions(lines)
    height = LINE * len(lines)
    svg = [
        f'<svg class="rooms" viewBox="0 0 {WIDTH} {height}" role="img"',
        ' aria-label="Which room imports which; the table below has the rooms by line">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"',
        ' orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    half = BOX[1] / 2
    for name in framing:
        x, y = at[name]
        top = LINE * rank[name] + 8
        svg.append(
            f'<rect class="frame" x="4" y="{top}" width="{WIDTH - 8}" height="{height - top - 4}"/>'
        )
        svg.append(f'<path marker-end="url(#head)" d="M{x:.0f} {y + half:.0f}V{top}"/>')
    for arrow, way in ways.items():
        points = [at[place] for place in way]
        points[0] = (points[0][0], points[0][1] + half)
        points[-1] = (points[-1][0], points[-1][1] - half)
        curve = "".join(
            f"C{x:.0f} {(y + b) / 2:.0f} {a:.0f} {(y + b) / 2:.0f} {a:.0f} {b:.0f}"
            for (x, y), (a, b) in pairwise(points)
        )
        style = ' class="any"' if arrow in dotted else ""
        start = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
        svg.append(f'<path{style} marker-end="url(#head)" d="{start}{curve}"/>')
    for name in rooms:
        x, y = at[name]
        svg.append(
            f'<rect x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" height="{BOX[1]}"'
            f' rx="6"/><text x="{x:.0f}" y="{y:.0f}">{name}</text>'
        )
    return "".join(svg) + "</svg>\n"


def _arrows(mermaid: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[str]]:
    """The arrows, the dotted ones, and the rooms with an arrow to the frame."""
    frames = re.findall(r"subgraph (\w+)", mermaid)
    kinds: dict[str, list[tuple[str, str]]] = {"-->": [], "-.->": []}
    for left, kind, right in re.findall(ARROW, mermaid, re.MULTILINE):
        kinds[kind] += [(one, other) for one in left.split(" & ") for other in right.split(" & ")]
    arrows = [pair for pair in kinds["-->"] if pair[1] not in frames]
    framing = [one for one, other in kinds["-->"] if other in frames]
    return arrows, kinds["-.->"], framing


def _untangle(lines: list[list[Place]], ways: list[list[Place]]) -> None:
    """Order each line by the mean place of its neighbours, downwards and upwards, until it settles."""
    joined: dict[Place, list[Place]] = {}
    for way in ways:
        for one, other in pairwise(way):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    for _ in range(24):
        for line in (*lines, *reversed(lines)):
            where = {
                place: (number + 0.5) / len(each)
                for each in lines
                for number, place in enumerate(each)
            }

            def mean(place: Place, where: dict[Place, float] = where) -> float:
                near = [where[each] for each in joined[place]]
                return sum(near) / len(near)

            line.sort(key=mean)


def _positions(lines: list[list[Place]]) -> dict[Place, tuple[float, float]]:
    """The middle of each place: a passing arrow takes a quarter of a room's width."""
    at: dict[Place, tuple[float, float]] = {}
    for number, line in enumerate(lines):
        widths = [1.0 if isinstance(place, str) else 0.25 for place in line]
        unit, x = WIDTH / sum(widths), 0.0
        for place, width in zip(line, widths, strict=True):
            at[place] = (x + unit * width / 2, LINE * (number + 0.5))
            x += unit * width
    return at
