"""The command from Python: `hiddenmix.run` trains as `python -m hiddenmix.train` does."""

import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hiddenmix import report
from hiddenmix.config import (
    Config,
    UserError,
    check,
    check_meaning,
    configurations,
    counted,
    normalised,
)
from hiddenmix.study.planning import check_requests
from hiddenmix.study.running import run_command
from hiddenmix.study.store import OUTPUTS
from hiddenmix.system import Interrupted
from hiddenmix.terminal import as_hydra_reads, explain, make_console

if TYPE_CHECKING:
    import pandas as pd

# Networks draw their first weights and their dropout from torch's default generators, which threads
# share: two runs at once would disturb each other's.
_ONE_AT_A_TIME = threading.RLock()


def run(
    request: Sequence[str] | Config | Sequence[Config],
    *,
    study: str | None = None,
    quiet: bool = False,
    workers: int | str | None = None,
) -> "pd.DataFrame":
    """Train what `request` asks for, beside its baselines, and return the study's networks.

    `request`: overrides as on the command line (`["layer=conv1,conv2", "mode=triplet"]`; commas sweep),
    or configurations. `study` names the folder below `outputs/`; `quiet` prints nothing. `workers`: one
    unless it is given, since several start processes, which a script must then be ready for
    (`if __name__ == "__main__":`). Networks that are there are not trained again.

    Returns a row a network, as `hiddenmix.results`. Raises `UserError` for what the command would
    refuse, before anything is written; networks that fail are named in a warning. May be called from
    any thread; calls run one after another.
    """
    with _ONE_AT_A_TIME:
        texts: list[str] = []
        if isinstance(request, Config):
            configs = [request]
        elif all(isinstance(each, Config) for each in request):
            configs = [each for each in request if isinstance(each, Config)]
        else:
            texts = [str(each) for each in request]
            try:
                configs = configurations(as_hydra_reads(["-m", *texts])[1:])  # commas sweep
            except (HydraException, OmegaConfBaseException) as error:
                raise UserError(explain(error)) from error
        if not configs:
            raise UserError("nothing to run: no configuration was given")
        named = any(text.startswith("workers=") for text in texts)
        for number, config in enumerate(configs):
            chosen = config.workers if named else 1
            asked = replace(
                config, study=study or config.study, workers=chosen if workers is None else workers
            )
            configs[number] = normalised(asked)
            check(configs[number])
        check_meaning(configs)
        check_requests(configs)
        more = [] if study is None else [f"study={study}"]
        command = [*(["-m"] if len(configs) > 1 else []), *texts, *more]
        try:
            console = make_console()
            console.quiet = quiet
            code = run_command(configs, command, console=console)
        except Interrupted as signal:
            raise KeyboardInterrupt(str(signal)) from None
        if code:
            said = _failures({each.study for each in configs})
            warnings.warn(said, RuntimeWarning, stacklevel=2)
        frames = [report.results(OUTPUTS / name) for name in {each.study: 0 for each in configs}]
        if len(frames) == 1:
            return frames[0]
        import pandas as pd

        return pd.concat(frames, ignore_index=True)


def _failures(studies: set[str]) -> str:
    """The failed networks of `studies`, in a line."""
    found = [(OUTPUTS / name, report.read_study(OUTPUTS / name)) for name in studies]
    failed = [each for _, study in found for each in study.failures]
    networks = len(failed) + sum(len(study.cells) for _, study in found)
    named = "; ".join(f"{each.cell}: {each.message}" for each in failed[:10])
    return f"{len(failed)} of {counted(networks, 'network')} failed: {named}"
