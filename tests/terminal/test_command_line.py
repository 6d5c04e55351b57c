"""The door of the commands, each started as a user starts it."""

import subprocess
import sys
from importlib import metadata

import pytest

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
    assert done.stderr.startswith("python -m hiddenmix runs nothing itself: train\n")
