"""The command line of a sweep of tiny networks, what its jobs left, and the processes they run in."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import TINY

# How long and where a run was made; all else must be the same again.
WHEN = ("seconds", "versions", "git", "machine", "peak_memory_bytes", "peak_gpu_memory_bytes")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
Sweep = Callable[..., "subprocess.CompletedProcess[str]"]


def arguments(where: Path, *overrides: str, folder: str = "sweep") -> list[str]:
    return ["-m", *TINY, f"paths.store={where / 'store'}", f"hydra.sweep.dir={where / folder}", *overrides]


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What every finished job of a sweep found, but for times and places, by its folder's name."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/results.json"))}
    return {name: {k: v for k, v in job.items() if k not in WHEN} for name, job in found.items()}


def jobs(folder: Path) -> dict[str, Path]:
    """The folder of every job by its overrides' last value."""
    said = json.loads((folder / "sweep.json").read_text())["jobs"]
    return {overrides[-1].partition("=")[2]: folder / name for name, overrides in said.items()}


def wait(until: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(*said: str) -> list[int]:
    """The processes of this machine whose command line holds all of `said`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(part in line for part in said):
            found.append(int(path.parent.name))
    return found
