"""What an unreachable or dead W&B costs a training, and what kill -9 loses."""

import glob
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from moe import compose
from moe.loggers import FLUSH_SECONDS, StageLogger, StageLoggers
from tests.conftest import TINY
from tests.wandb_files import read

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def loggers(folder: Path, *overrides: str, last: str = "gates") -> StageLoggers:
    config = compose("experiment=gates", "logger.mode=offline", *overrides)
    return StageLoggers(config.logger, folder, config.plain(), last)


class Broken:
    """A W&B run whose process has died."""

    name, offline, dir = "gates-mlp-s0", True, "/w/wandb/offline-run-1/files"
    config: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("Connection lost")


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_a_dead_wandb_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = StageLogger(Broken())
    with caplog.at_level(logging.WARNING):
        logger.log_metrics({"val/nll": 1.0}, step=1)
        logger.log_metrics({"val/nll": 0.9}, step=2)
    assert [r.getMessage() for r in caplog.records] == [
        "W&B logs no more of this stage (Connection lost); training goes on"
    ]
    opened = loggers(tmp_path)
    opened.runs["gates"] = Broken()
    with caplog.at_level(logging.INFO):
        opened.close()
    assert "            to upload the rest: wandb sync /w/wandb/offline-run-1" in caplog.messages


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_without_a_network_a_command_says_so_at_once_and_goes_on(
    run: Path, store: Path, process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "store")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # nobody listens there
    done = process(
        *("moe.train", *TINY, "logger=wandb", "gate.width=4", "hydra.run.dir=run", f"paths.store={tmp_path / 'store'}"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    told = lines.index("W&B: http://127.0.0.1:1 does not answer within 3 s; what runs is logged offline")
    assert told < next(number for number, line in enumerate(lines) if line.startswith("base: reused"))
    place = tmp_path / "run" / "wandb"
    assert lines[-2:] == [
        f"W&B         offline; to see the curves: wandb leet {place}",
        f"            to upload them: wandb sync {place}/offline-run-*",
    ]
    assert list(place.glob("offline-run-*"))


@pytest.mark.fault("W&B absent, unreachable or dead")
def test_kill_9_loses_no_more_than_a_moment(tmp_path: Path) -> None:
    """Of a real training, killed with W&B's own process: what it said a second before is in the file."""
    command = [sys.executable, "-m", "moe.train", *TINY, "target=base", "logger=wandb", "logger.mode=offline"]
    command += ["base.recipe.epochs=10000", "base.recipe.patience=null", "hydra.run.dir=run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    said: dict[int, float] = {}
    end = float("inf")
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if epoch := re.match(r"base: epoch (\d+)", line):
                # Lightning's curves say an epoch when the next begins, after it was logged.
                said[int(epoch[1]) - 1] = time.monotonic()
                end = min(end, time.monotonic() + random.uniform(2.0, 3.0))
            if time.monotonic() > end:
                break
        for process in family(training.pid):
            os.kill(process, signal.SIGKILL)
        killed = time.monotonic()
    (path,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    kept = {row["epoch"] for row in read(path).history if "val/accuracy" in row}
    before = {epoch for epoch, when in said.items() if when < killed - FLUSH_SECONDS - 1.0}
    assert before and before <= kept
    assert kept == set(range(len(kept)))


def family(process: int) -> list[int]:
    """A process and all that it started."""
    children = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            parent = int(Path(path).read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            children += family(int(path.split("/")[2]))
    return [process, *children]
