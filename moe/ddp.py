"""`trainer=ddp`: one stage trained by a process for each device, all of them started, watched and ended by this one.

Lightning's own launchers do not fit. `ddp` runs the whole command again in each process, which would compose a second
run folder, take the store's locks and log; `ddp_spawn` leaves in its processes what callbacks keep in memory. Nor is
the command itself one of the ranks: where a rank dies, the others wait inside NCCL, where neither an exception nor
Ctrl-C reaches them. This process waits for none of them, and so can end them all.
"""

import json
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lightning_fabric.plugins.environments.lightning import find_free_network_port
from pytorch_lightning.loggers import Logger

from moe import errors
from moe.config import Plain
from moe.errors import ConfigError, RankError, UserError
from moe.modules.fit import Fitted, make_trainer
from moe.modules.place import Place

# What says, in the environment, that a launcher has started this command so many times.
COPIES = {
    "WORLD_SIZE": "torchrun",
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
}
LAST_WORDS_SECONDS = 5.0  # for the other processes once one has ended
RANK = "moe.rank"


def world_size(trainer: Plain, environment: Mapping[str, str] | None = None) -> int:
    """How many devices train a network together; 1 but for `trainer=ddp` where there are several.

    Raises ConfigError where the machine has no such devices, or where a launcher has started copies of the command.
    """
    if trainer.get("strategy") != "ddp":
        make_trainer(trainer)
        return 1
    for variable, launcher in COPIES.items():
        copies = (os.environ if environment is None else environment).get(variable, "1")
        if copies != "1":
            raise ConfigError(
                f"trainer=ddp starts a process for each device of one machine itself, but {launcher} has started this "
                f"command {copies} times ({variable}={copies}): start it once"
            )
    return make_trainer(trainer, place=Place()).num_devices


def fit(stage: str, task: Plain, world: int, logger: Logger | None, folder: Path) -> Fitted:
    """Train a stage over `world` processes and return what the first of them keeps.

    `task` says which stage of which config (see `moe.rank`), `logger` gets what that process logs. Raises the
    UserError that ended a process, or RankError, whose process leaves its last words in `folder`.
    """
    with tempfile.TemporaryDirectory(prefix="moe-ddp-") as scratch:
        team = Team(stage, Path(scratch))
        try:
            team.start({**task, "world": world, "port": find_free_network_port(), "logger": logger is not None})
            return team.watch(logger, folder)
        finally:
            team.end()


class Team:
    """The processes that train one stage."""

    def __init__(self, stage: str, scratch: Path) -> None:
        self.stage, self.scratch = stage, scratch
        self.processes: list[subprocess.Popen[bytes]] = []
        self.heard: queue.Queue[tuple[int, Plain | None]] = queue.Queue()
        self.fitted: Plain | None = None
        self.failures: dict[int, str] = {}
        self.codes: dict[int, int] = {}

    def start(self, task: Plain) -> None:
        """Start every rank; each ends by itself where this process is gone, whose end of its stdin then closes."""
        threads = max(1, (os.cpu_count() or 1) // task["world"])
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        for rank in range(task["world"]):
            mouth, ear = os.pipe()
            with self.words(rank).open("wb") as words:
                process = subprocess.Popen(
                    [sys.executable, "-m", RANK],
                    stdin=subprocess.PIPE,
                    stdout=None if rank == 0 else subprocess.DEVNULL,  # the first one draws the progress bar
                    stderr=words,
                    env=environment,
                    pass_fds=[ear],
                    start_new_session=True,  # Ctrl-C is this process's, which then ends them
                )
            self.processes.append(process)
            os.close(ear)
            said = {**task, "rank": rank, "scratch": str(self.scratch), "messages": ear}
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it is dead already; its end of the other pipe says so
                process.stdin.write(json.dumps(said).encode() + b"\n")
                process.stdin.flush()
            threading.Thread(target=self._listen, args=(rank, mouth), daemon=True).start()

    def words(self, rank: int) -> Path:
        """The file of what a rank says on stderr."""
        return self.scratch / f"rank-{rank}.txt"

    def _listen(self, rank: int, mouth: int) -> None:
        with os.fdopen(mouth, "rb") as messages:
            for line in messages:
                if line.endswith(b"\n"):  # the last one of a process that is killed may be cut off
                    self.heard.put((rank, json.loads(line)))
        self.heard.put((rank, None))

    def watch(self, logger: Logger | None, folder: Path) -> Fitted:
        """Pass on what the ranks say until all have ended, or one has and the others had time for a last word."""
        failed: UserError | None = None
        deadline: float | None = None
        while len(self.codes) < len(self.processes):
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                rank, message = self.heard.get(timeout=left)
            except queue.Empty:
                break
            if message is None:
                self.codes[rank] = _code(self.processes[rank])
                if rank == 0 or self.codes[rank] != 0:
                    deadline = deadline or time.monotonic() + LAST_WORDS_SECONDS
            elif "error" in message:
                failed = failed or getattr(errors, message["error"])(message["sentence"])
                deadline = deadline or time.monotonic() + LAST_WORDS_SECONDS
            elif "failure" in message:
                self.failures.setdefault(rank, message["failure"])
            else:
                self._pass_on(message, logger)
        if failed is not None:
            raise failed
        if self.fitted is None or self.codes.get(0) != 0:
            raise self._failure(folder)
        if logger is not None:
            logger.finalize("success")
        from safetensors.torch import load_file

        return Fitted(load_file(self.scratch / "weights.safetensors"), self.fitted["epoch"], self.fitted["curves"])

    def _pass_on(self, message: Plain, logger: Logger | None) -> None:
        if "fitted" in message:
            self.fitted = message["fitted"]
        elif "log" in message:
            name, level, text = message["log"]
            logging.getLogger(name).log(level, "%s", text)
        elif logger is not None:
            if "metrics" in message:
                logger.log_metrics(message["metrics"], message["step"])
            else:
                logger.log_hyperparams(message["hyperparameters"])
            logger.save()

    def _failure(self, folder: Path) -> RankError:
        """A rank that was killed is the cause of the others' errors; of errors the first is."""
        world = len(self.processes)
        for rank, code in self.codes.items():
            if code < 0 and rank not in self.failures:
                killed = f"rank {rank} of the {world} processes was killed by {signal.Signals(-code).name}"
                return RankError(f"{self.stage}: {killed}; no network came of it")
        rank, why = next(iter(self.failures.items()), (next(iter(self.codes)), "it ended without a word"))
        kept = folder / self.words(rank).name
        shutil.copyfile(self.words(rank), kept)
        return RankError(f"{self.stage}: rank {rank} of the {world} processes failed: {why} (all it said: {kept})")

    def end(self) -> None:
        """End every rank that has not ended, and wait for it."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()


def _code(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that has closed its messages, and so is about to end."""
    try:
        return process.wait(LAST_WORDS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
