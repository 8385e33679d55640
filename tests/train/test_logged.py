"""What the real command logs, read back from its files."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moe.store import Store
from tests.train.command import copy_of, results, train


def wandb_inspect(path: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *flags, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def wandb_runs(run: Path) -> dict[str, Path]:
    """The offline W&B file of each stage below a run folder."""
    found = {}
    for path in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        record = next(json.loads(line) for line in wandb_inspect(path).splitlines() if '"type":"run"' in line)["run"]
        assert record["run_group"] == f"{run.parent.name}/{run.name}"
        assert record["job_type"] == record["config"]["update"]["key"].split("-")[0]
        found[record["config"]["update"]["stage"]] = path
    return found


def test_wandb_offline_has_one_run_a_stage_and_the_numbers_of_results(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc, so no key
    copy_of(trained, tmp_path)
    router = next((tmp_path / "store").glob("router-*"))
    shutil.rmtree(router)
    code, run = train(tmp_path, "logger=wandb", "report=false", "gate.width=8")
    assert code == 0
    assert "WANDB_MODE" not in os.environ
    files = wandb_runs(run)
    assert set(files) == {"router", "gates"}
    test = results(run)["test"]
    ended = json.loads(wandb_inspect(files["gates"], "--summary"))
    assert ended["exit_code"] == 0
    assert ended["summary"]["test/accuracy"] == test["accuracy"]
    for leaf in ("curved", "straight"):
        assert ended["summary"][f"test/branch/{leaf}/accuracy"] == test["branch"][leaf]["accuracy"]
    # Every epoch has the accuracy of each branch: 2 epochs.
    history = [line for line in wandb_inspect(files["gates"]).splitlines() if '"type":"history"' in line]
    curves = [json.loads(line)["history"]["item"] for line in history]
    for leaf in ("curved", "straight"):
        assert sum(f"val/branch/{leaf}/accuracy" in item for item in curves) == 2


def test_a_crash_marks_its_stages_wandb_run_failed_and_leaves_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    specialist = ("expert.recipe.optimizer.lr=1e30", "expert.recipe.epochs=5")
    code, run = train(tmp_path, "logger=wandb", "base.recipe.epochs=1", *specialist)
    assert code == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("moe: curved: the loss or a gradient was NaN")]) == 1
    assert not (run / "results.json").exists()
    codes = {name: json.loads(wandb_inspect(file, "--summary"))["exit_code"] for name, file in wandb_runs(run).items()}
    assert codes == {"base": 0, "curved": 1}


def stage_key(run: Path, stage: str) -> str:
    key: str = results(run)["stages"][stage]["key"]
    return key


def test_csv_logger_writes_every_epoch(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=csv", "report=false", "gate.width=4")
    assert code == 0
    rows = list(csv.DictReader((run / "metrics" / "gates" / "metrics.csv").open()))
    accuracies = [float(row["val/accuracy"]) for row in rows if row["val/accuracy"]]
    (gates,) = (entry for entry in Store(tmp_path / "store").entries() if entry.key == stage_key(run, "gates"))
    assert accuracies == pytest.approx([epoch["val/accuracy"] for epoch in gates.record["curves"]], abs=1e-6)
