"""The trials of one side of a tuning, in Optuna's storage, where several processes share them.

Each place among a side's trials belongs to the process that holds its lock. A trial whose process is
gone is begun again with the same values, in the same place; its finished networks are there.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiddenmix import randomness
from hiddenmix.config import Choice, Range, Space, UserError, show
from hiddenmix.report import Trial
from hiddenmix.study import locks
from hiddenmix.study.store import study_locked
from hiddenmix.system import install_extra

if TYPE_CHECKING:
    import optuna

FOLDER = "tune"
"""Of a study, for the trials of its tunings: a study of its own, with Optuna's file."""

_BUSY_SECONDS = 60.0
"""For which a process waits while another writes into the storage."""


def check_optuna() -> None:
    """Raise `UserError` where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"tuning needs Optuna, which cannot be imported: {show(error)}\n"
            f"  {install_extra('tune')}"
        ) from None


@contextmanager
def storage(study: Path) -> Iterator["optuna.storages.RDBStorage"]:
    """Optuna's SQLite file among the trials `study`. Raises `UserError` where it cannot be read."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = study / "optuna.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    url, waits = f"sqlite:///{path}", {"connect_args": {"timeout": _BUSY_SECONDS}}
    broken = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
    try:
        with study_locked(study):  # two processes would make its tables at once
            found = optuna.storages.RDBStorage(url, engine_kwargs=waits)
    except (*broken, RuntimeError) as error:  # RuntimeError: of another version of Optuna
        raise _unusable(path, error) from error
    try:
        yield found
    except broken as error:
        raise _unusable(path, error) from error
    finally:
        found.remove_session()
        found.engine.dispose()


def _unusable(path: Path, error: Exception) -> UserError:
    cause = error.__cause__ or error
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return UserError(
        f"{path.name} in {show(path.parent)} cannot be used: {show(reason)}\n"
        "  without that file the same command makes the same trials again, from finished networks"
    )


_DONE = ("COMPLETE", "PRUNED")
"""States of Optuna's that a trial keeps."""


@dataclass(frozen=True)
class Claim:
    """A trial that this process holds."""

    place: int
    values: dict[str, str]
    """As they are typed, by key."""
    trial: "optuna.trial.Trial"


class SideTrials:
    """The trials of one side."""

    def __init__(
        self,
        study: Path,
        found: "optuna.storages.RDBStorage",
        name: str,
        space: Space,
        first: Mapping[str, Any],
        seed: int,
    ) -> None:
        """`name` is the side's own among all tunings of the study; `first` are the values of the first
        trial, for as many keys as are known; `seed` is that of the sampler."""
        import optuna

        self._folder, self._name, self._space = study, name, space
        self._first, self._seed = first, seed
        self._tried: set[int] = set()
        self._distributions = {key: _distribution(each) for key, each in space.items()}
        with study_locked(study):
            self._study = optuna.create_study(
                storage=found,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0),
            )

    @property
    def size(self) -> float:
        """How many settings there are to try."""
        return math.prod(each.size for each in self._space.values())

    def begun(self, trials: int) -> int:
        """How many of the first `trials` places have a trial."""
        return sum(place < trials for place in self._latest())

    def left(self, trials: int) -> int:
        """How many of `trials` are to be made yet, at most."""
        done = [place < trials and _in(each, *_DONE) for place, each in self._latest().items()]
        return max(0, int(min(trials, self.size)) - sum(done))

    def claim(self, trials: int, stack: ExitStack) -> Claim | None:
        """A trial to be made, whose place `stack` holds from then on; None where all are done or in
        other hands. One that failed in this process is not tried again."""
        with study_locked(self._folder):
            latest = self._latest()
            # One that waits would be the next that Optuna hands out, whatever place is meant.
            order = sorted(range(trials), key=lambda place: not _in(latest.get(place), "WAITING"))
            for place in order:
                if place in self._tried or _in(latest.get(place), *_DONE):
                    continue
                planned = self._planned(place, trials, latest)
                if planned is None:
                    return None
                with ExitStack() as own:
                    if not own.enter_context(locks.locked(self._lock(place), timeout=0)):
                        continue
                    # Its holder may have ended it a moment ago.
                    frozen = self._latest().get(place)
                    if _in(frozen, *_DONE):
                        continue
                    claim = self._begin(place, frozen, planned)
                    stack.enter_context(own.pop_all())
                self._tried.add(place)
                return claim
        return None

    def elsewhere(self, trials: int) -> bool:
        """Whether a trial is in another process's hands, or was a moment ago."""
        for place, frozen in self._latest().items():
            if place < trials and not _in(frozen, *_DONE):
                if place not in self._tried:
                    return True
                with locks.locked(self._lock(place), timeout=0) as free:
                    if not free:
                        return True
        return False

    def report(self, claim: Claim, validation: Sequence[float]) -> bool:
        """Tell the accuracies of the seeds so far; returns whether to stop the trial."""
        claim.trial.report(sum(validation) / len(validation), len(validation) - 1)
        return bool(claim.trial.should_prune())

    def end(self, claim: Claim, state: str, validation: Sequence[float]) -> None:
        """Record that a trial is `complete`, `stopped` or `failed`."""
        from optuna.trial import TrialState

        claim.trial.set_user_attr("validation", list(validation))
        if state == "complete":
            self._study.tell(claim.trial, sum(validation) / len(validation))
        else:
            states = {"stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
            self._study.tell(claim.trial, state=states[state])

    def trials(self, trials: int) -> list[Trial]:
        """What became of the first `trials` places, in order."""
        names = {"COMPLETE": "complete", "PRUNED": "stopped"}
        return [
            Trial(
                place=place,
                values=self._texts(frozen.params),
                state=names.get(frozen.state.name, "failed"),
                validation=tuple(frozen.user_attrs.get("validation", ())),
            )
            for place, frozen in sorted(self._latest().items())
            if place < trials
        ]

    def _planned(
        self, place: int, trials: int, latest: Mapping[int, "optuna.trial.FrozenTrial"]
    ) -> Mapping[str, Any] | None:
        """The values of a trial, as far as they are not left to the sampler; None where all settings
        were tried."""
        if place in latest:
            return dict(latest[place].params)
        if place == 0:
            return self._first
        if self.size > trials:
            return {}
        tried = [each.params for each in latest.values()]
        return next((each for each in grid(self._space) if each not in tried), None)

    def _begin(
        self, place: int, frozen: "optuna.trial.FrozenTrial | None", planned: Mapping[str, Any]
    ) -> Claim:
        import optuna
        from optuna.trial import TrialState

        if frozen is not None and _in(frozen, "RUNNING"):  # its process is gone
            self._study.tell(frozen.number, state=TrialState.FAIL)
        if not _in(frozen, "WAITING"):
            self._study.enqueue_trial(dict(planned), user_attrs={"place": place})
        # Each place draws from a stream of its own, so that a tuning which was interrupted, or is
        # given more trials, goes on as it would have.
        number = int(randomness.stream(self._seed, "tune", place).integers(2**32))
        self._study.sampler = optuna.samplers.TPESampler(seed=number)
        trial = self._study.ask(self._distributions)
        return Claim(place, self._texts(trial.params), trial)

    def _latest(self) -> dict[int, "optuna.trial.FrozenTrial"]:
        """The last trial of each place."""
        found = self._study.get_trials(deepcopy=False)
        return {each.user_attrs["place"]: each for each in found if "place" in each.user_attrs}

    def _lock(self, place: int) -> Path:
        return self._folder / "locks" / f"{FOLDER}-{self._name}-{place}.lock"

    def _texts(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {
            key: params[key] if isinstance(params[key], str) else repr(params[key])
            for key in self._space
            if key in params
        }


def _in(frozen: "optuna.trial.FrozenTrial | None", *states: str) -> bool:
    return frozen is not None and frozen.state.name in states


def _distribution(space: Choice | Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(space, Choice):
        return CategoricalDistribution(space.values)
    if space.whole:
        return IntDistribution(
            int(space.low), int(space.high), log=space.log, step=int(space.step or 1)
        )
    return FloatDistribution(space.low, space.high, log=space.log, step=space.step)


def grid(space: Space) -> list[dict[str, Any]]:
    """Every setting of a finite space, as values of Optuna's."""
    values: list[Sequence[Any]] = []
    for each in space.values():
        if isinstance(each, Choice):
            values.append(each.values)
        else:
            step = each.step or 1
            values.append([each.low + number * step for number in range(int(each.size))])
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*values)]
