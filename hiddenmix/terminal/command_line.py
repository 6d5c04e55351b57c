"""The door of every command: a user's mistake ends in at most two lines and a non-zero exit code."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import metadata
from traceback import walk_tb

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config import UserError, WrongValuesError, show
from hiddenmix.system import keep_freed_memory
from hiddenmix.terminal.explaining import explain
from hiddenmix.terminal.signs import plain
from hiddenmix.terminal.streams import write_any_text

VERSION = f"hiddenmix {metadata.version('hiddenmix')}"
"""What `--version` of every command prints."""

_CONFIGURATION = ("hydra", "omegaconf", "antlr4", "yaml")

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
    except WrongValuesError as errors:
        typed = [plain(each.partition("=")[0]).lstrip("+") for each in sys.argv[1:]]
        sys.stderr.write(f"{errors.as_typed(typed)}\n")
        return USER_MISTAKE
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
