"""Hydra's way in for sweeps: a launcher that runs all jobs of a sweep as one study.

Hydra looks for launchers in the namespace package `hydra_plugins`, which has no `__init__.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from hydra_plugins._hiddenmix_sweep import under_way


@dataclass
class HiddenmixLauncherConf:
    """The launcher's node in Hydra's configuration: `hydra/launcher: hiddenmix`."""

    _target_: str = "hydra_plugins.hiddenmix_launcher.HiddenmixLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="hiddenmix", node=HiddenmixLauncherConf, provider="hiddenmix"
)


class HiddenmixLauncher(Launcher):
    """Runs the jobs of a sweep in one process: data read once, baselines shared, all values checked
    before the first network trains."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._config, self._task = hydra_context, config, task_function

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from hiddenmix.config import compose_jobs, expand_jobs
        from hiddenmix.train import run_jobs

        def compose(overrides: list[str]) -> DictConfig:
            return self._context.config_loader.load_sweep_config(self._config, overrides)

        under_way().launched += len(job_overrides)
        if not job_overrides:
            return []
        asked = [list(each) for each in job_overrides]
        configs = compose_jobs(expand_jobs(asked, self._config, compose), compose)
        returns = [JobReturn(overrides=each, status=JobStatus.COMPLETED) for each in asked]
        composed = self._for_callbacks(asked, initial_job_idx, compose)
        callbacks = self._context.callbacks
        for config in composed:
            HydraConfig.instance().set_config(config)
            callbacks.on_job_start(config=config, task_function=self._task)
        with env_override(self._config.hydra.job.env_set):
            code = run_jobs(configs)
        sweep = under_way()
        sweep.code = max(sweep.code, code)
        for config, each in zip(composed, returns, strict=False):
            HydraConfig.instance().set_config(config)
            callbacks.on_job_end(config=config, job_return=each)
        return returns

    def _for_callbacks(
        self,
        jobs: list[list[str]],
        first: int,
        compose: Callable[[list[str]], DictConfig],
    ) -> list[DictConfig]:
        """The whole configuration of each job, which takes 50 ms: only where the user's callbacks, beside
        this program's one, ask for it."""
        if len(self._config.hydra.callbacks) < 2:
            return []
        composed = []
        for number, overrides in enumerate(jobs, first):
            config = compose(overrides)
            with read_write(config), open_dict(config):
                config.hydra.job.id = str(number)
                config.hydra.job.num = number
                config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir).absolute())
            composed.append(config)
        return composed
