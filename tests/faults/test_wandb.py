"""W&B not installed, and its service process killed: said once, and training goes on."""

import os
import sys
from pathlib import Path

import killed_wandb
import pytest

import moe
from tests.commands import Commands

pytestmark = pytest.mark.fault("W&B absent, unreachable or dead")


@pytest.mark.parametrize("mode", ["auto", "offline", "online"])
def test_not_installed(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    opened = killed_wandb.loggers(tmp_path, mode)
    assert caplog.messages == ["W&B is not installed (pip install wandb); this run goes on without it"]
    stage = killed_wandb.STAGE
    assert opened.open(stage) is None and opened.wandb_run(stage, [{"epoch": 0}]) is None
    opened.close()
    assert len(caplog.messages) == 1


def test_its_service_process_killed(tmp_path: Path, commands: Commands) -> None:
    """In a process of its own, which has no W&B afterwards."""
    # Without the service that a test before this one may have started in this process, and would be joined.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(moe.__file__).parents[1])}
    done = commands.run([killed_wandb.__file__, tmp_path], env=environment)
    assert done.returncode == 0, done.stderr
    *said, killed = done.stdout.splitlines()
    assert killed == "killed 1"
    said = [line for line in said if line.startswith("W&B ")]
    assert sum("logs no more of this stage" in line for line in said) <= 1
    assert any("logs no more of this stage" in line or "could not finish" in line for line in said), done.stdout
