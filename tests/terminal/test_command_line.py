"""The door of the commands, each started as a user starts it."""

import subprocess
import sys
from importlib import metadata

import pytest

from hiddenmix.config import UserError
from hiddenmix.terminal import told_or_run

VERSION = f"hiddenmix {metadata.version('hiddenmix')}\n"
COMMANDS = [
    "hiddenmix",
    *(f"hiddenmix.{name}" for name in ("train", "layers", "tune", "report", "evaluate")),
]


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_the_version_of_hiddenmix_not_of_a_library(command: str) -> None:
    done = started(command, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")


def test_the_package_lists_its_commands() -> None:
    done = started("hiddenmix")
    assert done.returncode == 0
    assert all(f"python -m {command} " in done.stdout for command in COMMANDS[1:])
    assert done.stdout == started("hiddenmix", "--help").stdout


def test_the_package_itself_runs_nothing() -> None:
    done = started("hiddenmix", "train")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "python -m hiddenmix runs nothing itself: train\n  write python -m hiddenmix.train\n"
    )


def _refused() -> int:
    raise UserError("no\n  allowed: yes")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--help", (0, "usage: it\n", "")),
        ("-h", (0, "usage: it\n", "")),
        ("--version", (0, VERSION, "")),
        ("key=value", (2, "", "no\n  allowed: yes\n")),
    ],
)
def test_a_command_without_a_parser_explains_itself_and_does_nothing(
    argument: str,
    told: tuple[int, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", argument])
    code = told_or_run("usage: it", _refused)
    assert (code, *capsys.readouterr()) == told
