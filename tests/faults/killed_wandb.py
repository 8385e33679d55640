"""Logs to W&B, kills its service process in the middle, and goes on: `python killed_wandb.py FOLDER`."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from moe import config, schema
from moe.loggers import StageLoggers

STAGE: Any = SimpleNamespace(name="base", kind="base", key="base-0123456789abcdef")


def loggers(folder: Path, mode: str) -> StageLoggers:
    settings = schema.Logger(kind="wandb", project="moe", mode=mode, tags=[])
    return StageLoggers(settings, folder, config.compose("experiment=demo").plain(), "gates")


def main() -> None:
    """Print every warning, then how many processes were killed."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    opened = loggers(Path(sys.argv[1]), "offline")
    logger = opened.open(STAGE)
    assert logger is not None
    logger.log_metrics({"val/nll": 1.0}, step=1)
    services = [process for process, command in children() if "wandb-core" in command]
    for process in services:
        os.kill(process, signal.SIGKILL)
    for step in range(2, 60):
        logger.log_metrics({"val/nll": 1.0}, step=step)
    opened.close()
    print(f"killed {len(services)}", flush=True)


def children() -> list[tuple[int, str]]:
    """Every process below this one, with its command."""
    found, parents = [], {os.getpid()}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            line = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent in parents:
            parents.add(int(path.name))
            found.append((int(path.name), line))
    return found


if __name__ == "__main__":
    main()
