"""The launcher whose jobs submitit starts, on a Slurm cluster or this machine; which launchers reach other machines."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from hydra_plugins.moe_sweeps.launchers import CommandLauncher, Overrides, ProcessLauncher


class SubmititLauncher(CommandLauncher):
    """Each job by submitit: `cluster` is slurm, or local for processes on this machine.

    A job out of time is submitted again, `max_num_timeout` times at most. All other parameters are those of
    `submitit.AutoExecutor.update_parameters` (timeout_min, gpus_per_node, slurm_partition, ...).
    """

    def __init__(self, cluster: str, submitit_folder: str, max_num_timeout: int = 3, **parameters: Any) -> None:
        self.cluster, self.folder, self.max_num_timeout = cluster, submitit_folder, max_num_timeout
        self.parameters = {k: OmegaConf.to_object(v) if OmegaConf.is_config(v) else v for k, v in parameters.items()}

    def launch(self, job_overrides: Sequence[Overrides], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the jobs and wait for all of them. Ctrl-C or SIGTERM cancels those that have not ended."""
        from moe.sweep import gpus, record
        from moe.sweep.submitted import Task

        self._executor()  # what it does not take is said before anything else
        # Slurm gives each job its own; on one machine the jobs share what this process sees.
        devices = gpus.visible() if self.cluster == "local" else {}
        commands = self.commands(job_overrides)
        executor = self._executor(any(command.gpu for command in commands))
        submitted = self._submitted(executor, [Task(command, devices) for command in commands])
        try:
            for command, job in zip(commands, submitted, strict=True):
                print(f"submitted {job.job_id}  {command.folder}", flush=True)
            for command, job in zip(commands, submitted, strict=True):
                error = job.exception()
                self.said_plan(command)
                if error is not None and record.failed(command.folder):
                    why = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
                    record.write_failure(command.folder, why)
        except (KeyboardInterrupt, SystemExit):
            # Left alone they would hold the jobs' folders, and those of the next command wait for them on GPUs.
            for job in submitted:
                if not job.done():
                    print(f"cancelled {job.job_id}", flush=True)
                    job.cancel(check=False)
            raise
        return [self.returned(command) for command in commands]

    def _submitted(self, executor: Any, tasks: Sequence[Any]) -> list[Any]:
        """Submitit's job of each task, all in one array. Raises ConfigError with what the cluster says against it."""
        from submitit.core.utils import FailedJobError

        from moe.errors import ConfigError

        try:
            with executor.batch():
                return [executor.submit(task) for task in tasks]
        except FailedJobError as refused:  # of an account or a partition that is unknown, say
            said = [line for line in str(refused).splitlines() if line.strip()]
            raise ConfigError(f"{self._option}: {said[-1] if said else 'the jobs were refused'}") from None

    @property
    def _option(self) -> str:
        return f"hydra/launcher={'slurm_local' if self.cluster == 'local' else self.cluster}"

    def _executor(self, gpu: bool = True) -> Any:
        """What submits the jobs; without `gpu` it asks for none.

        Raises ConfigError, naming the parameter, where submitit does not take one.
        """
        from moe.checks import NATURAL, check_whole
        from moe.errors import ConfigError

        check_whole("hydra.launcher.max_num_timeout", self.max_num_timeout, NATURAL)
        try:
            import submitit
        except ModuleNotFoundError:
            raise ConfigError("hydra/launcher=slurm_local and slurm need submitit>=1.5: pip install submitit") from None
        try:
            own = {f"{self.cluster}_max_num_timeout": self.max_num_timeout}  # the constructor alone takes it
            executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster, **own)
            given = {k: v for k, v in self.parameters.items() if v is not None and (gpu or k != "gpus_per_node")}
            executor.update_parameters(**given)
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as raised:
            said = str(raised).partition("\n")[0].partition(" Valid arguments: ")[0]
            raise ConfigError(f"{self._option}: {said}") from None
        return executor


def elsewhere(launcher: Launcher) -> bool:
    """Whether a launcher's jobs may run on other machines than this one, as those of one that is not known here may."""
    if isinstance(launcher, SubmititLauncher):
        return launcher.cluster != "local"
    return not isinstance(launcher, ProcessLauncher | BasicLauncher)
