"""A study's command, given again, finds every run finished: its results are what the command makes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "arguments", "jobs"),
    [
        ("gate_widths/run.sh", ["0"], [7, 7]),
        ("gate_architectures/run.sh", ["0"], [18]),
        ("verdict/run.sh", ["10,11,12,13,14,15,16,17"], [112, 8]),
        ("verdict/run.sh", ["0,1,2,3,4", "hydra.sweep.dir=experiments/verdict/earlier"], [70, 5]),
        ("verdict/narrow.sh", ["10,11,12,13,14,15,16,17"], [112, 8]),
        ("verdict/narrow.sh", ["0,1,2,3,4", "hydra.sweep.dir=experiments/verdict/narrow_earlier"], [70, 5]),
        ("verdict/tried.sh", [], [3, 1]),
        ("verdict/wide.sh", ["s", "0", "rival=hard,cascaded,soft,flat,base,ensemble,cascade"], [7]),
        ("gate_rates/run.sh", ["0"], [15]),
        ("gate_images/run.sh", ["10,11,12,13"], [12, 12, 12]),
    ],
)
def test_a_study_given_again_trains_nothing(script: str, arguments: list[str], jobs: list[int], tmp_path: Path) -> None:
    study = script.partition("/")[0]
    shutil.copytree(ROOT / "experiments" / study, tmp_path / "experiments" / study)
    # No images are there to train by, so that a run which is not found finished ends the command.
    command = ["sh", str(tmp_path / "experiments" / script), *arguments, "data.root=/nonexistent"]
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert re.findall(r": (\d+) jobs?, (\d+) left to run", ended.stdout) == [(str(count), "0") for count in jobs]
