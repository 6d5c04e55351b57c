"""`python -m hiddenmix.train`: train settings of mixup at a layer, beside their baselines.

Hydra composes and sweeps; a command's jobs are collected here and run as one study in one process,
unless a launcher of the user's choice (joblib, submitit, ...) or another sweeper takes them elsewhere.
"""

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from hydra.utils import get_original_cwd
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hiddenmix.config import (
    Config,
    UserError,
    check_meaning,
    config_folder,
    from_hydra,
    refuse_grid,
    register,
    show,
)
from hiddenmix.system import Interrupts, start_server, stop_server
from hiddenmix.terminal import (
    VERSION,
    as_hydra_reads,
    clean,
    decimal_commas,
    given_twice,
    guarded,
    prepare,
)
from hydra_plugins._hiddenmix_sweep import Made, begin, under_way


class Door(Callback):
    """Stands before Hydra's own work: a wrong value is refused before Hydra makes a folder, or takes
    the folder back. Hydra lets nothing but `SystemExit` out of a callback."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""

        def action() -> None:
            refuse_grid(config)
            configs = [from_hydra(config)]
            _check(configs)
            under_way().checked = configs

        _leave_on_error(action)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember what Hydra is about to make, and stand between it and another engine's launcher."""
        sweep = under_way()
        sweep.made = _leave_on_error(lambda: _made(config))
        if not str(config.hydra.launcher["_target_"]).endswith("HiddenmixLauncher"):
            sweep.chosen = config.hydra.launcher
            with read_write(config), open_dict(config):
                config.hydra.launcher = {"_target_": "hydra_plugins.hiddenmix_elsewhere.Elsewhere"}


def _made(config: DictConfig) -> Made:
    """What Hydra is about to make. Its record of a sweep over several studies lies beside them: in the
    name of one that none of the jobs has it would look like a further study."""
    swept = any(
        OverridesParser.create().parse_override(each).is_sweep_override()
        for each in config.hydra.overrides.task
        if each.startswith("study=")
    )
    several = swept or "study" in (config.hydra.sweeper.get("params") or {})
    folder = OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"]  # type: ignore[index, call-overload]
    if several or OmegaConf.is_interpolation(config, "study"):
        with read_write(config):
            config.hydra.sweep.dir = folder.replace("outputs/${study}/hydra/", "outputs/.hydra/")
    return Made(config)


def _leave_on_error(action: Any) -> Any:
    outcome: list[Any] = []

    def command() -> int:
        outcome.append(action())
        return 0

    try:
        code = guarded(command)
    except Exception:  # a bug: Hydra would turn it into a warning and go on
        traceback.print_exc()
        sys.exit(1)
    if code:
        sys.exit(code)
    return outcome[0]


def _check(configs: list[Config]) -> None:
    check_meaning(configs)
    if configs[0].workers != 1 and configs[0].device in ("auto", "cpu"):
        # While this process loads torch and the data, the one that workers come from does so too.
        start_server()
    _load_torch()
    from hiddenmix.study import check_requests, load_data

    check_requests(configs)
    load_data(configs)
    _note_twice()


def _note_twice() -> None:
    """Say which of two values of a key is taken, once the command is known to run."""
    for line in (*given_twice(given()), *decimal_commas(given())):
        sys.stderr.write(f"note: {line}\n")


def _load_torch() -> None:
    # All that loads torch is imported late, so that --help answers at once. A signal waits, since
    # torch's own start-up would not survive it.
    with Interrupts().installed() as interrupts, interrupts.deferred():
        import hiddenmix.study  # noqa: F401
    interrupts.check()


def run_jobs(configs: list[Config]) -> int:
    """All jobs of a sweep as one command; returns its exit code. Raises as `study.run_command` does."""
    _check(configs)
    return _run(configs)


def check_jobs(configs: list[Config]) -> None:
    """What can be checked of an engine's jobs before they are handed to it. Raises `UserError`."""
    check_meaning(configs)
    _load_torch()
    from hiddenmix.study import check_elsewhere

    check_elsewhere(configs)
    _note_twice()


def run_job(config: DictConfig, command: Sequence[str], invocation: str) -> int:
    """One job of a sweep in an engine's process, of the user's `command`; its exit code."""
    prepare()
    mine = from_hydra(config)
    if mine.workers == "auto" and "SLURM_JOB_ID" not in os.environ:
        mine.workers = 1  # the engine already runs a job on each core that it wants to use
    _load_torch()
    from hiddenmix.study import PartOfSweep, check_requests, run_command

    check_requests([mine])
    return run_command([mine], command, PartOfSweep(int(HydraConfig.get().job.num), invocation))


COMMAND = "HIDDENMIX_COMMAND"
"""Environment variable with the user's own arguments: this module may be there twice, once as the main
one."""


def given() -> tuple[str, ...]:
    """The arguments of the command under way, as the user gave them."""
    return tuple(shlex.split(os.environ[COMMAND]))


def _run(configs: list[Config]) -> int:
    from hiddenmix.study import run_command

    return run_command(configs, given())


def _task(config: DictConfig) -> int:
    """A single run, to whose errors Hydra would add a line."""
    if HydraConfig.get().job.chdir:
        # Studies, data and the paths that are printed are of the folder the command was given in.
        os.chdir(get_original_cwd())
    # Without `Door`, as a user may have it, nothing is checked yet.
    if (configs := under_way().checked) is None:
        configs = [from_hydra(config)]
        _leave_on_error(lambda: _check(configs))
    code = _leave_on_error(lambda: _run(configs))
    if code:
        sys.exit(code)
    return 0


def _end_elsewhere(error: Exception | None) -> int:
    """End a sweep whose jobs another engine ran; `error` is what came of it."""
    from hiddenmix.study import conclude_elsewhere

    sweep = under_way()
    code = conclude_elsewhere(sweep.studies, sweep.invocation, sweep.jobs, sweep.ended)
    code = max(sweep.code, code)
    if error is not None:
        text = clean(str(error).strip().splitlines()[-1] if str(error).strip() else error, 500)
        sys.stderr.write(f"the launcher reports {type(error).__name__}: {text}\n")
        code = max(code, 1)
    if sweep.mistake is not None:
        raise sweep.mistake
    return code


def _check_text() -> None:
    """Refuse bytes that are no text here, before they are written into a study."""
    for argument in sys.argv[1:]:
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            raise UserError(
                f"{show(argument)} is not UTF-8 text here\n"
                "  set PYTHONUTF8=1 where the locale is another; names of files must be UTF-8"
            )


def _completed_line() -> list[str]:
    """Of a shell's question how to go on with a line, the flag of that line that names the user's own
    folder, whose files are then offered too: Hydra looks for it in the question."""
    if not any(each.startswith("query=") for each in sys.argv[1:]):
        return []
    words = os.environ.get("COMP_LINE", "").split()
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            value = value if equals else "".join(words[number + 1 : number + 2])
            if Path(value).expanduser().is_dir():
                return ["--config-dir", str(Path(value).expanduser())]
    return []


def _check_flags() -> None:
    """Refuse what is wrong with a `--flag` in two lines, where Hydra's own parser prints a page."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise UserError(f"{show(message)}\n  see python -m hiddenmix.train --hydra-help")

    parser.error = refuse  # type: ignore[method-assign]
    flags = parser.parse_args()
    for name in ("cfg", "info"):
        if flags.multirun and getattr(flags, name):
            raise UserError(
                f"--{name} shows one setting\n  leave out -m and give one value for each key"
            )


def main() -> None:
    """The command."""
    register()
    begin()
    application = hydra.main(
        version_base="1.3", config_path=str(config_folder()), config_name="config"
    )
    task: TaskFunction = application(_task)

    def command() -> int:
        if "--version" in sys.argv[1:]:
            print(VERSION)  # noqa: T201
            return 0
        _check_text()
        os.environ[COMMAND] = shlex.join(sys.argv[1:])
        sys.argv[1:] = as_hydra_reads(sys.argv[1:])
        _check_flags()
        sys.argv[1:1] = _completed_line()
        failure: Exception | None = None
        try:
            task(None)  # Hydra's decorator takes the configuration from argv
        except (UserError, HydraException, OmegaConfBaseException):
            if (made := under_way().made) is not None:
                made.remove()
            raise
        except Exception as error:
            if under_way().chosen is None:
                raise
            failure = error
        sweep = under_way()
        if sweep.made is not None and not sweep.launched and failure is None:
            sweep.made.remove()
            raise UserError(
                "nothing to train: a glob(...) of the command finds no file\n"
                "  allowed: names of files of conf/, such as optimizer=glob(*)"
            )
        return sweep.code if sweep.chosen is None else _end_elsewhere(failure)

    code: Any = 1
    try:
        code = guarded(command)
    except SystemExit as left:
        code = left.code
    if code:
        stop_server()
    sys.exit(code)


if __name__ == "__main__":
    main()
