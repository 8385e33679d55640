"""`trainer=ddp`: a network trained by a process for each device, all of them started, watched and ended by this one.

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

from moe import cpus, errors
from moe.errors import ConfigError, RankError, UserError, signal_name
from moe.modules.fit import Fitted, make_trainer
from moe.modules.place import Place
from moe.schema import Plain
from moe.sweep.record import SILENT

# What says, in the environment, that a launcher has started this command so many times.
COPIES = {
    "WORLD_SIZE": "torchrun",
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
}
LAST_WORDS_SECONDS = 5.0  # for the other processes once one has ended
WEIGHTS = "weights.safetensors"


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


class Team:
    """The `world` processes, one a device, that train a run's stages one after the other.

    They start with the first stage that is trained and end with `end`, or when this process does.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.processes: list[subprocess.Popen[bytes]] = []
        self.heard: queue.Queue[tuple[int, Plain | None]] = queue.Queue()
        self.scratch = Path()

    def fit(self, stage: str, key: str, config: Plain, logger: Logger | None, folder: Path) -> Fitted:
        """Train the stage of `key` in `config` and return what the first rank keeps; `logger` gets what it logs.

        `folder` is the run's. Raises the UserError that a rank ended with, or RankError, for which the rank leaves
        all that it said in `folder`.
        """
        if not self.processes:
            self._start(config, folder)
        task = json.dumps({"key": key, "logger": logger is not None}).encode() + b"\n"
        for process in self.processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it is dead; its end of the other pipe says so
                process.stdin.write(task)
                process.stdin.flush()
        fitted = self._watch(stage, logger, folder)
        if logger is not None:
            logger.finalize("success")
        from safetensors.torch import load_file

        fitted["machine"] = f"{self.world} processes, each {fitted['machine']}"
        return Fitted(load_file(self.scratch / WEIGHTS), **fitted)

    def _start(self, config: Plain, folder: Path) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="moe-ddp-"))
        threads = max(1, cpus.granted() // self.world)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        if sys.platform == "linux":
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # whatever the machine's name may resolve to
        greeting: Plain = {"config": config, "run": str(folder), "scratch": str(self.scratch)}
        greeting |= {"world": self.world, "port": find_free_network_port()}
        for rank in range(self.world):
            read_end, write_end = os.pipe()
            with self._words(rank).open("wb") as words:
                process = subprocess.Popen(
                    [sys.executable, "-m", "moe.rank"],
                    stdin=subprocess.PIPE,
                    stdout=None if rank == 0 else subprocess.DEVNULL,  # the first one draws the progress bar
                    stderr=words,
                    env=environment,
                    pass_fds=[write_end],
                    start_new_session=True,  # Ctrl-C is this process's, which then ends them
                )
            self.processes.append(process)
            os.close(write_end)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                told = {**greeting, "rank": rank, "messages": write_end}
                process.stdin.write(json.dumps(told).encode() + b"\n")
                process.stdin.flush()
            threading.Thread(target=self._listen, args=(rank, read_end), daemon=True).start()

    def _words(self, rank: int) -> Path:
        """The file of what a rank says on stderr."""
        return self.scratch / f"rank-{rank}.txt"

    def _listen(self, rank: int, read_end: int) -> None:
        with os.fdopen(read_end, "rb") as messages:
            for line in messages:
                if line.endswith(b"\n"):  # the last one of a process that is killed may be cut off
                    self.heard.put((rank, json.loads(line)))
        self.heard.put((rank, None))

    def _watch(self, stage: str, logger: Logger | None, folder: Path) -> Plain:
        """Pass on what the ranks say until all are done, or one has failed and the others had time for a last word."""
        fitted: Plain = {}
        error: UserError | None = None
        ended: dict[int, int] = {}
        failures: dict[int, str] = {}
        deadline: float | None = None
        waiting = set(range(self.world))
        while waiting:
            try:
                rank, message = self.heard.get(timeout=deadline and max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if message is None:
                ended[rank] = _code(self.processes[rank])
            elif "error" in message:
                error = error or getattr(errors, message["error"])(message["sentence"])
            elif "failure" in message:
                failures.setdefault(rank, message["failure"])
            elif "fitted" in message:
                waiting.discard(rank)
                fitted = message["fitted"] or fitted
            else:
                _pass_on(message, logger)
            if ended or error or failures:
                waiting -= ended.keys()
                deadline = deadline or time.monotonic() + LAST_WORDS_SECONDS
        if error is not None:
            raise error
        if ended or failures:
            raise self._failure(stage, ended, failures, folder)
        return fitted

    def _failure(self, stage: str, ended: dict[int, int], failures: dict[int, str], folder: Path) -> RankError:
        """A rank that was killed is the cause of the others' errors; of errors the first is."""
        killed = [rank for rank, code in ended.items() if code < 0 and rank not in failures]
        if killed:
            rank = killed[0]
            what = f"was killed by {signal_name(-ended[rank])}"
        else:
            rank = next(iter(failures or ended))
            what = f"failed: {failures.get(rank, SILENT)}"
        kept = folder / self._words(rank).name
        shutil.copyfile(self._words(rank), kept)
        return RankError(f"{stage}: rank {rank} of the {self.world} processes {what} (all it said: {kept})")

    def end(self) -> None:
        """End every rank and wait for it."""
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        if self.processes:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.processes.clear()


def _pass_on(message: Plain, logger: Logger | None) -> None:
    """What the first rank logs to the command's log and logger."""
    if "log" in message:
        name, level, text = message["log"]
        logging.getLogger(name).log(level, "%s", text)
    elif logger is not None:
        if "metrics" in message:
            logger.log_metrics(message["metrics"], message["step"])
        else:
            logger.log_hyperparams(message["hyperparameters"])
        logger.save()


def _code(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that has closed its messages, and so is about to end."""
    try:
        return process.wait(LAST_WORDS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
