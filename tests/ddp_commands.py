"""Commands that train each network by two processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from moe.store import Store
from tests.commands import Commands
from tests.conftest import TINY

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "moe.train", *TINY, *overrides, "paths.store=store", "hydra.run.dir=run"]


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]), **more}


def trained(commands: Commands, folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    said = commands.run(command(*overrides)[1:], folder, environment())
    assert said.returncode == 0, said.stdout + said.stderr
    return said


def entries(folder: Path) -> dict[str, Any]:
    return {e.record["name"]: e for e in Store(folder / "store").entries() if e.record["kind"] != "outputs"}
