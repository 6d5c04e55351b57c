"""The door of the commands, each started as a user starts it."""

import subprocess
import sys
from importlib import metadata

import pytest

from hiddenmix import __main__ as package
from hiddenmix import tune
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


def test_the_package_runs_a_command_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hiddenmix", *arguments])
        try:
            code = package.main()
        except SystemExit as left:
            code = left.code
        return (code, *capsys.readouterr())

    assert run("tune", "--help") == (0, f"{tune.USAGE}\n", "")
    code, _, said = run("train", "alpha=0")
    assert (code, said.splitlines()[0]) == (2, "alpha=0.0 is not allowed")
    code, _, said = run("report", "outputs/nowhere")
    assert (code, "nowhere is not a folder" in said) == (2, True)
    code, _, said = run("evaluate", "outputs/nowhere")
    assert (code, "nowhere is no study" in said) == (2, True)
    code, _, said = run("layers", "--nope")
    assert (code, said.splitlines()[0]) == (2, "--nope is no flag of layers")
    code, _, said = run("trian", "layer=conv1")
    assert code == 2
    assert said == f"python -m hiddenmix has no command trian layer=conv1\n{package.COMMANDS}\n"


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
