"""W&B not installed, and its service process killed: said once, and training goes on."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moe import config
from moe.loggers import StageLoggers

pytestmark = pytest.mark.fault("W&B absent, unreachable or dead")
STAGE: Any = SimpleNamespace(name="base", kind="base", key="base-0123456789abcdef")


def loggers(folder: Path, mode: str = "offline") -> StageLoggers:
    settings = config.Logger(kind="wandb", project="moe", mode=mode, tags=[])
    plain = config.compose("experiment=demo").plain()
    return StageLoggers(settings, folder, plain, "gates")


@pytest.mark.parametrize("mode", ["auto", "offline", "online"])
def test_not_installed(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    opened = loggers(tmp_path, mode)
    assert caplog.messages == ["W&B is not installed (pip install wandb); this run goes on without it"]
    assert opened.open(STAGE) is None and opened.wandb_run(STAGE, [{"epoch": 0}]) is None
    opened.close()
    assert len(caplog.messages) == 1


def test_its_service_process_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = loggers(tmp_path)
    logger = opened.open(STAGE)
    assert logger is not None
    logger.log_metrics({"val/nll": 1.0}, step=1)
    services = [process for process in children() if "wandb-core" in process[1]]
    assert services  # else this test kills nothing
    for process, _ in services:
        os.kill(process, signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        for step in range(2, 60):
            logger.log_metrics({"val/nll": 1.0}, step=step)
        opened.close()
    said = [message for message in caplog.messages if message.startswith("W&B ")]
    assert sum("logs no more of this stage" in message for message in said) <= 1
    assert any("logs no more of this stage" in message or "could not finish" in message for message in said)


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
