"""The launchers whose jobs are processes of their own: ProcessLauncher, SubmititLauncher.

Hydra's own would not do: joblib's reuses its workers, so that a job cannot be given another GPU once CUDA has started,
and loses the whole sweep where one is killed; hydra-submitit-launcher's stops at the first job that dies.
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

Overrides = Sequence[str]


def job_folder(config: DictConfig) -> Path:
    """The folder of a job, from its whole composed config. It cannot depend on the job's number, which may change."""
    hydra, before = HydraConfig.instance(), HydraConfig.instance().cfg
    try:
        hydra.set_config(config)  # what ${hydra:...} reads
        parts = [
            str(OmegaConf.select(config, f"hydra.sweep.{key}", throw_on_missing=True)) for key in ("dir", "subdir")
        ]
    finally:
        hydra.cfg = before
    return Path(*parts)


class _CommandLauncher(Launcher):
    """A launcher whose jobs are each a `python -m moe.train` of its own."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def commands(self, job_overrides: Sequence[Overrides]) -> Any:
        """The command of every job; what is left of an earlier try that failed goes."""
        from moe.sweep.jobs import Command, hydra_flags
        from moe.sweep.record import FAILURE
        from moe.wandb_session import wandb_mode

        flags, found, modes = hydra_flags(self.config), [], set()
        for overrides in job_overrides:
            composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            folder = job_folder(composed)
            (folder / FAILURE).unlink(missing_ok=True)
            found.append(Command(list(overrides), folder, flags))
            if composed.logger.kind == "wandb" and not composed.plan:
                modes.add(str(composed.logger.mode))
        with suppress(Exception):  # each job deals with W&B's trouble itself
            for mode in sorted(modes):
                # So that it is said here what the jobs say where nobody may look.
                wandb_mode(mode, lambda _, said: print(said, flush=True))
        return found

    def said_plan(self, command: Any) -> bool:
        """Whether a job was only planned; it is printed what it would train."""
        from moe.sweep import jobs, record

        planned = record.planned(command.folder)
        if planned:
            print((command.folder / jobs.OUTPUT).read_text(errors="replace"), end="", flush=True)
        return planned

    def returned(self, command: Any) -> JobReturn:
        """What Hydra is told of a job that has ended: its accuracy on `val`, or its failure."""
        from moe.errors import UserError
        from moe.sweep import record

        done = JobReturn(overrides=list(command.overrides), working_dir=os.getcwd())
        try:
            results = record.results(command.folder)
            if record.failed(command.folder):
                raise UserError(record.read_failure(command.folder) or "it ended without a word")
            done.return_value = None if results is None else record.objective(results)
            done.status = JobStatus.COMPLETED
        except UserError as error:
            done.return_value, done.status = error, JobStatus.FAILED
        return done


class ProcessLauncher(_CommandLauncher):
    """Each job in a process of its own, `n_jobs` at once, each on a GPU to itself.

    Without `n_jobs` there are as many at once as there are GPUs, or one. `threads` is the number of CPU threads
    of a job; without it the CPUs that this process may use are shared out.
    """

    def __init__(self, n_jobs: int | None = None, threads: int | None = None) -> None:
        self.n_jobs, self.threads = n_jobs, threads

    def launch(self, job_overrides: Sequence[Overrides], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and wait for all of them. Ctrl-C or SIGTERM ends those that run."""
        from moe import cpus
        from moe.checks import check_whole
        from moe.errors import UserError
        from moe.sweep import gpus, jobs, record

        for key, value in (("n_jobs", self.n_jobs), ("threads", self.threads)):
            if value is not None:
                check_whole(f"hydra.launcher.{key}", value)
        devices = gpus.visible()
        at_once = self.n_jobs or len(devices) or 1
        threads = self.threads or max(1, cpus.granted() // at_once)
        environment = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
        commands = self.commands(job_overrides)
        stop, running = threading.Event(), set[subprocess.Popen]()

        def one(number: int, command: Any) -> None:
            begun = time.monotonic()

            def started(process: subprocess.Popen, gpu: str | None) -> None:
                nonlocal begun
                running.add(process)
                begun = time.monotonic()
                print(f"{head}  started{f' on GPU {gpu}' if gpu is not None else ''}  {command.folder}", flush=True)

            head = f"job {number:>{len(str(initial_job_idx + len(commands)))}}"
            try:
                jobs.run(command, devices, environment, started, stop.is_set)
            except Exception as error:  # of this job's folder, say, that cannot be written: the others go on
                with suppress(UserError, OSError):
                    record.write_failure(command.folder, error)
                print(f"{head}  failed: {record.line(error)}", flush=True)
                return
            if stop.is_set():
                return
            if self.said_plan(command):
                return
            why = record.read_failure(command.folder)
            ended = "done" if why is None else f"failed: {why}"
            print(f"{head}  {ended} after {time.monotonic() - begun:.0f} s", flush=True)

        with ThreadPoolExecutor(at_once) as pool:
            waiting = [pool.submit(one, initial_job_idx + n, c) for n, c in enumerate(commands, 1)]
            try:
                for future in waiting:
                    future.result()
            except BaseException:
                stop.set()
                for future in waiting:
                    future.cancel()
                _end(running)
                raise
        return [self.returned(command) for command in commands]


def _end(running: set[subprocess.Popen]) -> None:
    """Ask the jobs to stop, and end those that do not."""
    from moe.sweep.jobs import STOP_SECONDS

    begun = list(running)  # one more may be starting, and ends itself
    for process in begun:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in begun:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


class SubmititLauncher(_CommandLauncher):
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

        executor = self._executor()
        # Slurm gives each job its own; on one machine the jobs share what this process sees.
        devices = gpus.visible() if self.cluster == "local" else []
        commands = self.commands(job_overrides)
        with executor.batch():
            submitted = [executor.submit(Task(command, devices)) for command in commands]
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

    def _executor(self) -> Any:
        """What submits the jobs. Raises ConfigError, naming the parameter, where submitit does not take one."""
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
            executor.update_parameters(**{k: v for k, v in self.parameters.items() if v is not None})
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as raised:
            option = "slurm_local" if self.cluster == "local" else self.cluster
            said = str(raised).partition("\n")[0].partition(" Valid arguments: ")[0]
            raise ConfigError(f"hydra/launcher={option}: {said}") from None
        return executor


def elsewhere(launcher: Launcher) -> bool:
    """Whether a launcher's jobs may run on other machines than this one, as those of one that is not known here may."""
    if isinstance(launcher, SubmititLauncher):
        return launcher.cluster != "local"
    return not isinstance(launcher, ProcessLauncher | BasicLauncher)
