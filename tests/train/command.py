"""The real command on scikit-learn's digits, in this process."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

QUICK = (
    "experiment=demo",
    "base.recipe.epochs=2",
    "expert.recipe.epochs=2",
    "router.recipe.epochs=2",
    "gate.recipe.epochs=2",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
)
NETWORKS = ("base", "curved", "straight", "router")


def train(folder: Path, *overrides: str) -> tuple[int, Path]:
    """Exit code and run folder of `python -m moe.train` in this process, its store beside the run."""
    from moe.train import main

    before, root = sys.argv, logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    run = folder / "run"
    sys.argv = ["moe.train", *QUICK, f"hydra.run.dir={run}", f"paths.store={folder / 'store'}"]
    sys.argv += [f"paths.data={folder / 'data'}", *overrides]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
        root.setLevel(level)  # Hydra's logging is the command's
        root.handlers[:] = handlers
    return int(ended.value.code or 0), run


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def copy_of(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained / "store", folder / "store")
    return folder
