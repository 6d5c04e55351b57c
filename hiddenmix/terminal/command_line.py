"""The door of every command: a user's mistake ends in at most two lines and a non-zero exit code."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import metadata
from itertools import chain
from traceback import walk_tb

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config import GROUPS, Config, UserError, allowed, show
from hiddenmix.system import keep_freed_memory
from hiddenmix.terminal.arguments import nearest
from hiddenmix.terminal.streams import write_any_text

VERSION = f"hiddenmix {metadata.version('hiddenmix')}"
"""What `--version` of every command prints."""

_CONFIGURATION = ("hydra", "omegaconf", "antlr4", "yaml")

_PACKAGES = {
    **dict.fromkeys(("submitit_slurm", "submitit_local"), "slurm"),
    **{"joblib": "joblib", "ray": "ray", "ray_aws": "ray"},
}
"""The extra that each launcher of another engine is in."""

USER_MISTAKE = 2
"""Exit code of a command that was refused."""


def prepare() -> None:
    """What a process that trains needs to begin with."""
    # OpenMP's threads spin while they wait; on a shared machine two of them, each waiting for a core
    # that the other holds, slow small networks by ten times. Read when torch loads, so set before.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if sys.platform == "darwin":  # what torch lacks on Apple's GPUs, the CPU does; read as it loads
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    keep_freed_memory()
    write_any_text()
    # Figures are files. A notebook's own backend, which its `!python -m` inherits, may not exist here.
    os.environ["MPLBACKEND"] = "agg"
    # It tells of a HOME that it cannot write into at every start; nothing is lost by that.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def guarded(command: Callable[[], int]) -> int:
    """Run `command` and return its exit code; print a user's mistake without a traceback."""
    prepare()
    # Hydra would print its errors and a hint at full tracebacks itself; this makes it raise them.
    former = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        return command()
    except UserError as error:
        text = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        text = explain(error)
    except BrokenPipeError:
        # The reader went away (`| head`); Python would complain while closing the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno is None:
            raise
        where = f": {show(error.filename)}" if error.filename is not None else ""
        sys.stderr.write(
            f"stopped: {error.strerror}{where}\n"
            "  once that is mended, the same command goes on from here\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped by SIGINT\n")
        return 128 + signal.SIGINT
    except Exception as error:
        # Such as an integer of 5,000 digits, which Hydra's parser does not expect.
        if not _of_configuration(error):
            raise
        first = (str(error).splitlines() or [""])[0]
        text = f"the configuration is not understood: {show(first or type(error).__name__)}\n"
        text += "  see python -m hiddenmix.train --help"
    except BaseException as error:
        if getattr(error, "exit_code", None) is None:
            raise
        sys.stderr.write(f"stopped by {error}; the same command goes on from here\n")
        return int(error.exit_code)  # type: ignore[attr-defined]
    finally:
        if former is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = former
    sys.stderr.write("\n".join(text.splitlines()[:2]) + "\n")
    return USER_MISTAKE


def told_or_run(usage: str, command: Callable[[], int]) -> int:
    """`guarded`, for a command without a parser of its arguments: --help prints `usage` alone."""

    def told() -> int:
        for flags, text in (({"-h", "--help"}, usage), ({"--version"}, VERSION)):
            if flags & set(sys.argv[1:]):
                print(text)  # noqa: T201
                return 0
        return command()

    return guarded(told)


def _of_configuration(error: BaseException) -> bool:
    """Whether Hydra, or what it reads configurations with, raised `error`, not this package."""
    rooms = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    packages = [str(room).split(".", maxsplit=1)[0] for room in rooms]
    known = [name for name in packages if name in _CONFIGURATION or name == "hiddenmix"]
    return bool(known) and known[-1] != "hiddenmix"


def explain(error: BaseException) -> str:
    """A Hydra or OmegaConf error in at most two lines: the key, the value and what is allowed."""
    text = "\n".join(str(each) for each in (error, error.__cause__) if each is not None)
    if found := re.search(r"Could not find '([^']+)/([^'/]*)'", text):
        group, name = found.groups()
        if group == "hydra/launcher" and name in _PACKAGES:
            extra = _PACKAGES[name]
            return (
                f"hydra/launcher={show(name)} needs a package that is not installed\n"
                f"  pip install 'hiddenmix[{extra}]'"
            )
        options = re.search(rf"Available options in '{re.escape(group)}':\n((?:\t.*\n?)*)", text)
        names = ", ".join(options.group(1).split()) if options else "see --help"
        return f"{group}={show(name)} is not allowed\n  allowed: {names}"
    if "does not support sweep type" in text:
        return (
            "interval(...) is a range without an end to its values\n"
            "  allowed in a sweep: values with commas, range(...), choice(...), glob(...)"
        )
    if found := re.search(r"Ambiguous value for argument '([^=]+)=(.*)'", text):
        key, values = found.groups()
        return (
            f"{show(key)}={show(values)} is more than one value\n"
            f"  add -m to train each of them; one list is written {show(key)}=[{show(values)}]"
        )
    key = _key(text)
    wrong = r"could not be converted|not a|Incompatible value|Cannot convert|not Optional"
    if key and re.search(wrong, text):
        value = re.search(rf"Value '(.*?)' of type|merging override {re.escape(key)}=(.*)", text)
        shown = show(value.group(1) or value.group(2)) if value else "that value"
        plain = re.sub(r"\[\d+\]", "", key)  # model.channels[0]
        return f"{key}={shown} is not allowed\n  allowed: {allowed(plain)}"
    if key and re.search(r"not in|Could not override|is not in struct|Key '", text):
        known = ", ".join(_keys(key, text))
        return f"{show(key)} is no key of the configuration{nearest(key)}\n  allowed: {known}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show(lines[0])[:300] + "\n  see python -m hiddenmix.train --help"


def _key(text: str) -> str | None:
    for pattern in (r"full_key: (\S+)", r"Could not override '([^']+)'", r"Key '([^']+)'"):
        if found := re.search(pattern, text):
            return found.group(1)
    return None


def _keys(key: str, text: str) -> list[str]:
    """The keys beside `key`: those of its group's class, which the error's `text` names."""
    group = key.split(".", maxsplit=1)[0]
    for node in chain.from_iterable(GROUPS.values()):
        if "." in key and re.search(rf"\b{node.__name__}\b", text):
            return [f"{group}.{field.name}" for field in fields(node)]
    return [field.name for field in fields(Config)]
