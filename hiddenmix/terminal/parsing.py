"""The flags of the commands that take no configuration: mistakes in two lines, as everywhere."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hiddenmix.config import UserError, show
from hiddenmix.terminal.hints import unknown_flag
from hiddenmix.terminal.signs import as_flags


class Parser(argparse.ArgumentParser):
    """argparse's, which names a mistake in two lines, and reads `–margin` as `--margin`."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        typed = sys.argv[1:] if args is None else args
        read = as_flags(typed)
        options, others = self.parse_known_args(read, namespace)
        others += [each for each in read if _flag_of(each, self) and not Path(each).exists()]
        if others:
            self.exit(2, f"{_unknown(others, self)}\n")
        return options

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        self.exit(2, f"{show(message)}\n  see {self.prog} --help\n")


def _flag_of(argument: str, parser: Parser) -> str | None:
    """`--margin` for `margin=0.5`, as other commands take it; `--dataset-root` for `dataset.root=x`."""
    name, _, value = argument.partition("=")
    flag = f"--{name.translate(str.maketrans('_.', '--'))}"
    return flag if value and flag in parser._option_string_actions else None


def _unknown(others: Sequence[str], parser: Parser) -> UserError:
    """For arguments that no flag of `parser` takes."""
    command = parser.prog.rsplit(".", maxsplit=1)[-1]
    flags = list(parser._option_string_actions)
    name, _, value = others[0].partition("=")
    if others[0].startswith("-"):
        return unknown_flag(name, value or "".join(others[1:2]), command, flags, configured=False)
    alike = _flag_of(others[0], parser)
    advice = f"write {alike} {show(value)}" if alike else f"see {parser.prog} --help"
    return UserError(f"{show(others[0])} is not allowed with {command}\n  {advice}")


def study_folder(folder: Path) -> str:
    """`; did you mean outputs/default?` where `folder` is no study and that is one, else nothing."""
    name = folder.name.removeprefix("study=")
    if (Path("outputs") / name / "cells").is_dir() and name:
        return f"; did you mean {show(Path('outputs') / name)}?"
    if folder.is_dir():
        inside = sorted(each.parent for each in folder.glob("*/cells") if each.is_dir())
        more = ", ..." if len(inside) > 3 else ""
        if inside:
            return f"; it holds {', '.join(show(each) for each in inside[:3])}{more}"
    return ""
