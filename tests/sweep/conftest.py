"""What starts a sweep."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.running import Sweep, arguments


@pytest.fixture
def sweep(run: Path, store: Path, process: Any, tmp_path: Path) -> Sweep:
    """Runs `python -m moe.train -m` with the tiny networks' overrides, its folder `tmp_path/sweep`."""
    own = tmp_path / "store"
    shutil.copytree(store, own)

    def start(*overrides: str, folder: str = "sweep") -> "subprocess.CompletedProcess[str]":
        done: subprocess.CompletedProcess[str] = process(
            "moe.train", *arguments(tmp_path, *overrides, folder=folder), cwd=tmp_path
        )
        return done

    return start
