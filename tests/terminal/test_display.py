"""The console of every command, and when bars move on it."""

import io
import sys

import pytest

from hiddenmix.terminal import Display, interactive, make_console


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
