"""One job of a sweep as a process of its own: `python -m moe.train` with the job's overrides."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from moe.errors import signal_name
from moe.package import CONF, CONFIG_NAME
from moe.results.files import RESULTS
from moe.sweep import gpus
from moe.sweep.record import SILENT, planned, read_failure, taken, write_failure

OUTPUT = "output.txt"
STOP_SECONDS = 30.0
OF_SWEEPS = re.compile(r"[+~]*hydra[./](launcher|sweeper|sweep|run|mode)\b")  # overrides that a job has others of


@dataclass(frozen=True)
class Command:
    """How a job is run alone. `flags` are what the sweep's command says to Hydra itself and its jobs need, too.

    `gpu` is whether it may have one.
    """

    overrides: Sequence[str]
    folder: Path
    flags: Sequence[str] = ()
    gpu: bool = True

    def arguments(self) -> list[str]:
        """The arguments of `python -m moe.train`."""
        # A preset or an experiment may make many jobs of whatever it is given to; this is one of them.
        return [*self.flags, *self.overrides, "hydra.mode=RUN", f"hydra.run.dir={quoted(str(self.folder))}"]

    def __str__(self) -> str:
        return shlex.join(["python", "-m", "moe.train", *self.arguments()])


def hydra_flags(config: DictConfig) -> list[str]:
    """What this command says to Hydra itself and each of its jobs needs, too.

    That is where configs are (--config-path) and others (--config-dir), which one is the first (--config-name), and
    what of `hydra` is overridden, but for that which makes many jobs of one command.
    """
    sources = [str(s.path) for s in config.hydra.runtime.config_sources if s.provider == "command-line"]
    main = [str(s.path) for s in config.hydra.runtime.config_sources if s.provider == "main"]
    name = str(config.hydra.job.config_name)
    # As they were typed: an interpolation is each job's own.
    given: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return [
        *(flag for path in main if Path(path) != CONF for flag in ("--config-path", path)),
        *(flag for path in sources for flag in ("--config-dir", path)),
        *(["--config-name", name] if name != CONFIG_NAME else []),
        *(said for said in given if OF_SWEEPS.match(said) is None),
    ]


def quoted(value: str) -> str:
    """A value as Hydra's grammar reads it back: in quotes where it holds more than plain characters."""
    if re.fullmatch(r"[A-Za-z0-9/._+-]+", value):
        return value
    # A backslash stands for itself, but for those before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"'{escaped}'"


def run(
    command: Command,
    devices: Mapping[str, str] = MappingProxyType({}),
    environment: Mapping[str, str] | None = None,
    started: Callable[[subprocess.Popen, str | None], None] = lambda process, gpu: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Run a job to its end and, if it may have a GPU, on one of `devices` that no other job has, waiting for one.

    What it prints goes to `output.txt` in its folder, behind what another process has said that is still at work there.
    A job that leaves neither results nor a word of why gets that word here. `started` is told the process and its GPU;
    nothing is started once `stopped` says so, or it is ended at once.
    """
    held = gpus.lease(devices, stopped) if devices and command.gpu else None
    if stopped():
        if held is not None:
            held.close()
        return
    inherited = {**os.environ, **(environment or {})}
    if held is not None:
        inherited["CUDA_VISIBLE_DEVICES"] = held.gpu
        if "CUDA_VISIBLE_DEVICES" not in os.environ:
            # The numbers are nvidia-smi's, which has that order.
            inherited.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    command.folder.mkdir(parents=True, exist_ok=True)
    before = _written(command.folder)
    try:
        with (command.folder / OUTPUT).open("ab") as output:
            if not taken(command.folder):
                output.truncate(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "moe.train", *command.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=inherited,
                start_new_session=True,  # Ctrl-C in a terminal is the launcher's, which then ends its jobs
                pass_fds=[held.handle] if held is not None else [],
            )
    finally:
        if held is not None:
            held.close()  # the job's own process holds it now
    try:
        started(process, held.gpu if held is not None else None)
        if stopped():  # since it was asked above: whoever ends what runs may not have seen this process
            process.terminate()
        code = process.wait()
    except BaseException:  # this process is to end, or submitit has its job start again
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        raise
    after = _written(command.folder)
    # Results are the last that a run writes: what ends it then, while W&B is still told of it, takes nothing from them.
    without = after is None or (code != 0 and after == before)
    silent = without and read_failure(command.folder) in (None, SILENT)
    if silent and not stopped() and not (code == 0 and planned(command.folder)):
        write_failure(command.folder, _why(code, command.folder / OUTPUT))


def _written(run: Path) -> tuple[int, int] | None:
    """What tells a run's results from those of another try; None without any."""
    try:
        found = (run / RESULTS).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _why(code: int, output: Path) -> str:
    if code < 0:
        return f"killed by {signal_name(-code)}"
    said = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return f"exit code {code}: {said[-1].removeprefix('moe: ')}" if said else f"exit code {code}"
