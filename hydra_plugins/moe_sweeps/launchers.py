"""The launchers whose jobs are processes of their own: what they share, and ProcessLauncher.

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


class CommandLauncher(Launcher):
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
            found.append(Command(list(overrides), folder, flags, gpu=composed.trainer.accelerator != "cpu"))
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
                raise UserError(record.read_failure(command.folder) or record.SILENT)
            done.return_value = None if results is None else record.objective(results)
            done.status = JobStatus.COMPLETED
        except UserError as error:
            done.return_value, done.status = error, JobStatus.FAILED
        return done


class ProcessLauncher(CommandLauncher):
    """Each job in a process of its own, `n_jobs` at once, each on a GPU to itself if it may use one.

    Without `n_jobs` there are as many at once as there are GPUs that jobs may use, or one. `threads` is the number of
    CPU threads of a job; without it the CPUs that this process may use are shared out.
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
        devices, commands = gpus.visible(), self.commands(job_overrides)
        at_once = self.n_jobs or (len(devices) if any(command.gpu for command in commands) else 0) or 1
        threads = self.threads or max(1, cpus.granted() // at_once)
        given = self.threads is not None or "OMP_NUM_THREADS" not in os.environ
        environment = {"OMP_NUM_THREADS": str(threads)} if given else {}
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
