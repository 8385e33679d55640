"""Hydra's plugins of `moe`: how a sweep's jobs are found (GridSweeper here) and run (`launchers`).

Hydra imports this at every start, so that anything slow is imported late.
"""

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.moe_sweeps.launchers import Overrides, ProcessLauncher, job_folder
from hydra_plugins.moe_sweeps.submitit import SubmititLauncher, elsewhere

# What of Hydra's says which job one is, in the text of an interpolation.
NUMBER = re.compile(r"hydra[.:]job\.(num|id)\b")


class GridSweeper(Sweeper):
    """The grid of Hydra's basic sweeper, but finished jobs are skipped and a wrong one fails alone.

    `params` are the values of a preset, as on the command line, which wins; `max_batch_size` is the number of
    jobs given to the launcher at once.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._config = hydra_context, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job of the grid that has no results yet; a job's failure ends nothing."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        from moe.checks import check_whole
        from moe.sweep.callback import opened
        from moe.sweep.names import check_choices, preset

        parser = OverridesParser.create(config_loader=self._context.config_loader)
        if self.max_batch_size is not None:
            check_whole("hydra.sweeper.max_batch_size", self.max_batch_size)
        given = preset(self.params)
        overrides = parser.parse_overrides([*given, *arguments])
        check_choices(overrides)
        as_typed: Any = OmegaConf.to_container(self._config.hydra.sweep, resolve=False)
        _check_folder(str(as_typed["subdir"]))
        batches = BasicSweeper.split_arguments(overrides, self.max_batch_size)
        sweep = opened(self._config.hydra.sweep.dir)
        open_jobs = [[job for job in batch if self._is_open(sweep, job)] for batch in batches]
        sweep.write()
        total, left = len(sweep.jobs), sum(map(len, open_jobs))
        print(
            f"sweep       {sweep.folder}: {total} job{'s' * (total != 1)}"
            + (f", {left} left to run" if left < total else ""),
            flush=True,
        )
        returns, index = [], 0
        for batch in filter(None, open_jobs):
            returns.append(self._launcher.launch(batch, initial_job_idx=index))
            index += len(batch)
        return returns

    def _is_open(self, sweep: Any, job: Overrides) -> bool:
        """Whether a job has to run; one whose config is wrong is marked as failed."""
        from moe.config import hydra_errors, parse
        from moe.errors import ConfigError, UserError
        from moe.sizes import anywhere, resolved
        from moe.sweep import names, record

        name, wrong = names.job_name(job, sweep.swept), None  # where even that cannot be composed
        try:
            with hydra_errors():
                composed = self._context.config_loader.load_sweep_config(self._config, list(job))
                name = record.within(sweep.folder, job_folder(composed))
                asked = parse(composed)
                # Of a job on another machine, whose device is not known here, each may be what its config came to be.
                found = anywhere(asked) if elsewhere(self._launcher) else [resolved(asked, say=False)]
        except UserError as error:
            wrong = error
        if sweep.jobs.get(name) == list(job):
            return False  # named twice, as by seed=0,0: it is one job
        if name in sweep.jobs:
            one, other = ([o for o in said if o.split("=")[0] in sweep.swept] for said in (sweep.jobs[name], job))
            both = f"{' '.join(one)} and {' '.join(other)}"
            raise ConfigError(f"hydra.sweep.subdir gives two jobs the folder {name}: {both}; name in it what is swept")
        sweep.jobs[name] = list(job)
        if wrong is not None:
            record.write_failure(sweep.folder / name, wrong)
            return False
        done = any(record.finished(sweep.folder / name, config) is not None for config in found)
        if done:  # a wrong config may have failed there since
            (sweep.folder / name / record.FAILURE).unlink(missing_ok=True)
        return not done


def _check_folder(subdir: str) -> None:
    """Raise ConfigError where jobs' folders would be called by the jobs' numbers."""
    from moe.errors import ConfigError

    if number := NUMBER.search(subdir):
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: a sweep that is given again finds its finished jobs by their folders, and a "
            f"job has no {number[0]} of its own; name what is swept, as ${{seed}}, or add hydra/sweeper=basic"
        )


def register() -> None:
    """Make the plugins known to Hydra, whose search does not see into an editable installation."""
    from hydra_plugins.moe_sweeps.together import TogetherLauncher
    from hydra_plugins.moe_sweeps.wandb_file import WandbSweeper

    for plugin in (GridSweeper, ProcessLauncher, SubmititLauncher, TogetherLauncher, WandbSweeper):
        Plugins.instance().register(plugin)
