"""Between Hydra and a launcher of another engine: joblib, submitit, Ray.

`Elsewhere` stands in the place of the launcher that the user chose and hands it the jobs, so that a
mistake is refused before anything is submitted, a job that dies is named, and the others go on.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins._hiddenmix_sweep import Job, JobDiedError, under_way


class Elsewhere(Launcher):
    """Hands all jobs to the launcher that the user chose."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hiddenmix.train import given

        self._sweep = under_way()
        self._context, self._config = hydra_context, config
        with read_write(config), open_dict(config):
            config.hydra.launcher = self._sweep.chosen
        if "ray" in config.hydra.launcher:
            with open_dict(config):
                # A network that failed is not one that Ray should try three times more.
                config.hydra.launcher.ray.remote.setdefault("max_retries", 0)
        self._engine = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context,
            task_function=Job(given(), str(Path.cwd()), self._sweep.invocation),
            config=config,
        )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from hiddenmix.config import compose_jobs, expand_jobs
        from hiddenmix.train import check_jobs

        def compose(overrides: list[str]) -> DictConfig:
            return self._context.config_loader.load_sweep_config(self._config, overrides)

        self._sweep.launched += len(job_overrides)
        if not job_overrides:
            return []
        jobs = expand_jobs([list(each) for each in job_overrides], self._config, compose)
        configs = compose_jobs(jobs, compose)
        check_jobs(configs)
        self._sweep.studies |= {each.study for each in configs}
        first = max(initial_job_idx, len(self._sweep.jobs))
        common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        for number, overrides in enumerate(jobs, first):
            own = [each for each in filter_overrides(overrides) if each not in common]
            self._sweep.jobs[number] = " ".join(own)
        with _all_awaited(self._config.hydra.launcher["_target_"]):
            returns = self._launch(jobs, first)
        return [self._settled(number, each) for number, each in enumerate(returns, first)]

    def _launch(self, jobs: list[list[str]], first: int) -> Sequence[JobReturn]:
        try:
            return self._engine.launch(jobs, initial_job_idx=first)
        except BrokenProcessPool:
            # joblib gives all jobs up where one process is killed. What is done is not done again.
            return self._engine.launch(jobs, initial_job_idx=first)

    def _settled(self, number: int, ended: JobReturn) -> JobReturn:
        """The end of a job, noted. Hydra would leave the sweep at the first that failed."""
        from hiddenmix.config import UserError

        if ended.status is JobStatus.COMPLETED:
            self._sweep.code = max(self._sweep.code, int(ended.return_value))
            return ended
        error = ended._return_value
        if isinstance(error, (UserError, HydraException, OmegaConfBaseException)):
            self._sweep.mistake = self._sweep.mistake or error
        else:
            self._sweep.ended[number] = (
                str(error)
                if isinstance(error, JobDiedError)
                else _last_line(f"{type(error).__name__}: {error}")
            )
        return JobReturn(overrides=ended.overrides, status=JobStatus.COMPLETED, _return_value=1)


def _last_line(text: str) -> str:
    """What a traceback, or any other message, comes to."""
    from hiddenmix.terminal import clean

    lines = [line for line in text.splitlines() if line.strip(" -")]
    return clean(lines[-1] if lines else "", 500)


@contextmanager
def _all_awaited(engine: str) -> Iterator[None]:
    """submitit's launcher and Ray's wait for their jobs in turn, and for no more after one that died: let
    it count as one that failed."""
    place: Any
    if "submitit" in engine:
        from submitit.core.core import Job as Submitted

        place, name, words = Submitted, "results", _end_in_submitit
    elif "hydra_ray" in engine:
        import ray

        place, name, words = ray, "get", _end_in_ray
    else:
        yield
        return
    waits = getattr(place, name)

    def awaited(job: Any) -> Any:
        try:
            return waits(job)
        except Exception as error:
            ended = JobReturn(
                status=JobStatus.FAILED, _return_value=JobDiedError(words(job, error))
            )
            return [ended] if name == "results" else ended

    setattr(place, name, awaited)
    try:
        yield
    finally:
        setattr(place, name, waits)


def _end_in_submitit(job: Any, error: Exception) -> str:
    from submitit.core.utils import FailedJobError

    log = os.path.relpath(job.paths.stderr)
    if isinstance(error, FailedJobError):
        trace = str(error).split("-" * 22)[1]
        return f"{_last_line(trace)}; its log: {log}"
    return f"it ended without a result (state {job.state}); its log: {log}"


def _end_in_ray(job: Any, error: Exception) -> str:
    return f"{type(error).__name__}: {_last_line(str(error))}"
