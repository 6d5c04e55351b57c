"""The console of every command, and when bars move on it."""

import io
import sys
from types import SimpleNamespace

import pytest

from hiddenmix.terminal import Display, interactive, make_console
from hiddenmix.terminal import display as display_module


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stdout(monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> io.StringIO:
    """`out` as stdout, in an environment that says nothing about it."""
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr("os.isatty", lambda number: False)
    return out


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_pipe_is_wide_and_columns_decide(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    stdout(monkeypatch, io.StringIO())
    monkeypatch.setenv("TERM", term)
    assert make_console().width == 160
    monkeypatch.setattr("os.isatty", lambda number: number == 0)  # as in `... | less`
    assert make_console().width < 160
    monkeypatch.setenv("COLUMNS", "70")
    assert make_console().width == 70
    monkeypatch.setenv("COLUMNS", "0")  # nothing at all would be printed
    assert make_console().width == 80


def test_text_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = stdout(monkeypatch, io.StringIO())
    Display(make_console(), 1).say(":dog: [red] [/b] 1,437")
    assert pipe.getvalue() == ":dog: [red] [/b] 1,437\n"


def test_no_bars_move_in_a_file_that_is_to_have_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = stdout(monkeypatch, io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = make_console()
    assert console.is_terminal
    assert not interactive(console)
    display = Display(console, 1)
    with display.shown():
        display.begin("a network", 3, 0)
        display.epoch("a network", 1, 3, 0.5, 1000)
        display.end("a network", "done", trained=True)
    assert pipe.getvalue() == "[1/1] a network: done\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_rest_is_estimated_once_each_worker_has_trained_one(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The first of eight networks takes long as torch starts, the second is there, the others take
    10 s each."""
    pipe = stdout(monkeypatch, io.StringIO())
    now = 0.0
    monkeypatch.setattr(display_module, "time", SimpleNamespace(monotonic=lambda: now))
    display = Display(make_console(), 8, workers)
    for number, seconds in enumerate((1000, 0, *[10] * 6), start=1):
        now += seconds
        display.end(f"network {number}", "done", trained=seconds > 0)
    lines = pipe.getvalue().splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("about ")]
    assert lines[place - 1] == f"[{workers + 2}/8] network {workers + 2}: done"
    said = {
        1: "about 50.0 s for the 5 networks to come",
        2: "about 40.0 s for the 4 networks to come",
    }
    assert lines[place] == said[workers]


def test_after_the_last_network_none_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = stdout(monkeypatch, io.StringIO())
    monkeypatch.setattr(display_module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    for networks in (2, 3):
        display = Display(make_console(), networks, what="trial")
        for _ in range(networks):
            display.end("a trial", "done", trained=True)
    assert [line for line in pipe.getvalue().splitlines() if line.startswith("about")] == [
        "about 0.0 s for the trial to come"
    ]


def test_bars_show_a_name_with_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As markup, `[/b]` closes what nobody opened: an error."""
    monkeypatch.setenv("TERM", "xterm")
    out = stdout(monkeypatch, Terminal())
    console = make_console()
    assert interactive(console)
    display = Display(console, 1)
    with display.shown() as shown:
        shown.begin("digits-cnn-blocks[/b]", 3, 0)
        shown.epoch("digits-cnn-blocks[/b]", 1, 3, 0.5, 1000)
    assert "blocks[/b]" in out.getvalue()
