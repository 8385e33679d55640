"""What W&B's offline files hold, read back by W&B's own command."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OfflineRun:
    """One `.wandb` file: its run record, whole config, history, last summary, exit code (None where it was cut off)."""

    path: Path
    run: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None


def read(path: Path) -> OfflineRun:
    """The file at `path`, also of a run that was cut off."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    records = [json.loads(line) for line in said.splitlines()]
    run = next(record["run"] for record in records if record["type"] == "run")
    config = dict(run["config"]["update"])
    for record in records:
        if record["type"] == "config":
            config.update(record["config"]["update"])
    summary: dict[str, Any] = {}
    for record in records:
        if record["type"] == "summary":
            summary.update(record["summary"]["update"])
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    code = next((record["exit"].get("exit_code", 0) for record in records if record["type"] == "exit"), None)
    return OfflineRun(path, run, config, history, summary, code)


def offline_runs(folder: Path) -> dict[str, OfflineRun]:
    """Every offline run below `folder/wandb`, by its name."""
    found = [read(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]
    return {one.run["display_name"]: one for one in found}
