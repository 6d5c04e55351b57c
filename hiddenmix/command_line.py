"""The door of every command: a user's mistake ends in at most two lines and a non-zero exit code."""

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config import (
    AdamConfig,
    CnnConfig,
    Config,
    DatasetConfig,
    PreactResNet18Config,
    SgdConfig,
    TorchvisionConfig,
    UserError,
    allowed,
    show,
)

USER_MISTAKE = 2
"""Exit code of a command that was refused."""


def guarded(command: Callable[[], int]) -> int:
    """Run `command` and return its exit code; print a user's mistake without a traceback."""
    # OpenMP's threads spin while they wait; on a shared machine two of them, each waiting for a core
    # that the other holds, slow small networks by ten times. Read when torch loads, so set before.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Hydra would print its errors and a hint at full tracebacks itself; this makes it raise them.
    full = os.environ.setdefault("HYDRA_FULL_ERROR", "1")
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
    except RecursionError as error:
        if not re.search(r"omegaconf|antlr4", _origin(error)):
            raise
        text = "the configuration refers to itself, or is nested too deeply\n  see --help"
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
    except BaseException as error:
        if getattr(error, "exit_code", None) is None:
            raise
        sys.stderr.write(f"stopped by {error}; the same command goes on from here\n")
        return int(error.exit_code)  # type: ignore[attr-defined]
    finally:
        os.environ["HYDRA_FULL_ERROR"] = full
    sys.stderr.write("\n".join(text.splitlines()[:2]) + "\n")
    return USER_MISTAKE


def _origin(error: BaseException) -> str:
    """The file that raised `error`."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last.tb_frame.f_code.co_filename if last is not None else ""


def explain(error: BaseException) -> str:
    """A Hydra or OmegaConf error in at most two lines: the key, the value and what is allowed."""
    text = "\n".join(str(each) for each in (error, error.__cause__) if each is not None)
    if found := re.search(r"Could not find '([^'/]+)/([^']*)'", text):
        group, name = found.groups()
        options = re.search(rf"Available options in '{re.escape(group)}':\n((?:\t.*\n?)*)", text)
        names = ", ".join(options.group(1).split()) if options else "see --help"
        return f"{group}={show(name)} is not allowed\n  allowed: {names}"
    key = _key(text)
    if key and re.search(r"could not be converted|not a|Incompatible value|Cannot convert", text):
        value = re.search(r"Value '(.*?)' of type", text)
        shown = show(value.group(1)) if value else "that value"
        return f"{key}={shown} is not allowed\n  allowed: {allowed(key)}"
    if key and re.search(r"not in|Could not override|is not in struct|Key '", text):
        known = ", ".join(_keys(key))
        return f"{show(key)} is no key of the configuration\n  allowed: {known}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show(lines[0])[:300] + "\n  see python -m hiddenmix.train --help"


def _key(text: str) -> str | None:
    for pattern in (r"full_key: (\S+)", r"Could not override '([^']+)'", r"Key '([^']+)'"):
        if found := re.search(pattern, text):
            return found.group(1)
    return None


def _keys(key: str) -> list[str]:
    """The keys beside `key`, in its own group where it has one."""
    groups: dict[str, list[type[Any]]] = {
        "dataset": [DatasetConfig],
        "model": [CnnConfig, PreactResNet18Config, TorchvisionConfig],
        "optimizer": [SgdConfig, AdamConfig],
    }
    group = key.split(".", maxsplit=1)[0]
    if "." not in key or group not in groups:
        return [field.name for field in fields(Config)]
    names = dict.fromkeys(field.name for node in groups[group] for field in fields(node))
    return [f"{group}.{name}" for name in names]
