"""The numbers of `speed.py` as tables, for the terminal and as Markdown."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Found = dict[str, Any]


Row = tuple[str, ...]


@dataclass(frozen=True)
class _Rows:
    title: str
    head: Row
    rows: list[Row]


def _contents(found: Found) -> Iterator[_Rows]:
    batch = found["environment"]["settings"]["batch_size"]
    rows: list[Row] = []
    for name, values in found["seconds"].items():
        middle = statistics.median(values)
        spread = f"{min(values) * 1e3:.1f} to {max(values) * 1e3:.1f}"
        rows.append((name, f"{middle * 1e3:.1f}", spread, f"{batch / middle:,.0f}"))
    head = ("contestant", "ms a step, median", "range", "images/s")
    yield _Rows(f"Contestants, n = {len(values)} rounds", head, rows)
    rows = [
        (name, f"{one['median']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", one["goal"])
        for name, one in found["ratios"].items()
    ]
    yield _Rows("Ratios within a round", ("ratio of times", "median", "range", "goal"), rows)
    paper = found["paper"]
    rows = [
        ("operations of a step", f"{paper['operations'] / 1e9:.2f} G"),
        ("bytes of a step", f"{paper['bytes'] / 1e6:.0f} MB"),
        ("matrix product, float32", f"{paper['operations_per_second'] / 1e9:.0f} Gop/s"),
        ("memory", f"{paper['bytes_per_second'] / 1e9:.1f} GB/s"),
        ("time of the operations", f"{paper['compute_seconds'] * 1e3:.1f} ms"),
        ("time of the bytes", f"{paper['memory_seconds'] * 1e3:.1f} ms"),
    ]
    yield _Rows("The floor on paper", ("", "value"), rows)
    one = found["one_offs"]
    passes = one["full_evaluation_seconds"] / one["accuracy_seconds"]
    rows = [
        (f"accuracy of {one['test_images']:,} images", f"{one['accuracy_seconds']:.2f} s"),
        ("their full evaluation", f"{one['full_evaluation_seconds']:.2f} s ({passes:.0f} passes)"),
        ("saving a checkpoint", f"{one['checkpoint_seconds'] * 1e3:.0f} ms"),
        ("training with checkpoints / without", f"{one['checkpointing_on_over_off']:.4f}"),
    ]
    rows += [
        (f"compiling: {name}", f"{value:.0f} s")
        for name, value in found.get("compile_seconds", {}).items()
    ]
    yield _Rows("Beside the steps", ("", "value"), rows)
    yield from _apart(found)


def _apart(found: Found) -> Iterator[_Rows]:
    rows: list[Row]
    if "memory" in found:
        rows = [
            (
                f"{one['images']:,.0f}",
                "kept" if kind.startswith("keep") else "as it comes",
                f"{one['data'] / 1e6:.0f}",
                f"{one['before'] / 1e6:.0f}",
                f"{one['peak'] / 1e6:.0f}",
            )
            for kind, one in found["memory"].items()
        ]
        head = ("images", "freed memory", "data, MB", "peak before training, MB", "peak, MB")
        yield _Rows("Memory", head, rows)
    if "sweep" in found:
        sweep = found["sweep"]
        rows = [
            (name, f"{value:.2f}", f"{100 * value / sweep['seconds']:.1f}")
            for name, value in sweep["parts"].items()
        ]
        rows.append(("all", f"{sweep['seconds']:.2f}", "100.0"))
        title = f"A sweep of 20 settings on digits, {sweep['networks']} networks"
        yield _Rows(title, ("part", "seconds", "%"), rows)
    if "decode" in found:
        decode = found["decode"]
        names = {
            "decode_all": "decoding on all cores",
            "decode_one": "decoding on one core",
            "cache_build": "building the cache",
            "cache_open": "opening the cache",
        }
        rows = [(text, f"{decode[key]:.2f} s") for key, text in names.items()]
        yield _Rows(f"{decode['files']:,} JPEG files of 32x32 pixels", ("", "time"), rows)


def tables(found: Found) -> Iterator[Table]:
    """For the terminal."""
    for content in _contents(found):
        table = Table(title=content.title, title_justify="left")
        for number, name in enumerate(content.head):
            table.add_column(name, justify="right" if number else "left")
        for row in content.rows:
            table.add_row(*row)
        yield table


def markdown(found: Found) -> str:
    """The same tables, and what they were measured on, as Markdown."""
    environment = found["environment"]
    versions = ", ".join(f"{name} {value}" for name, value in environment["versions"].items())
    lines = [
        f"{environment['threads']} threads on {environment['device']}; {versions}; load average "
        f"{environment['load']:.1f} at the start.",
        "",
        f"`{environment['command']}`",
        "",
        f"`{environment['form']}`",
    ]
    for content in _contents(found):
        lines += ["", f"**{content.title}**", ""]
        lines.append("| " + " | ".join(content.head) + " |")
        lines.append("| --- |" + " ---: |" * (len(content.head) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in content.rows]
    return "\n".join(lines)
