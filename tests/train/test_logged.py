"""What the real command logs, read back from its files."""

import csv
import os
import shutil
from pathlib import Path

import pytest

from moe.store import Store
from tests.train.command import copy_of, results, train
from tests.wandb_files import OfflineRun, offline_runs


def wandb_runs(run: Path) -> dict[str, OfflineRun]:
    """What each stage below a run folder logged."""
    found = {}
    for one in offline_runs(run).values():
        assert one.run["run_group"] == f"{run.parent.name}/{run.name}"
        assert one.run["job_type"] == one.config["key"].split("-")[0]
        found[one.config["stage"]] = one
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
    runs = wandb_runs(run)
    assert set(runs) == {"router", "gates"}
    test = results(run)["test"]
    ended = runs["gates"]
    assert ended.exit_code == 0
    assert ended.summary["test/accuracy"] == test["accuracy"]
    for leaf in ("curved", "straight"):
        assert ended.summary[f"test/branch/{leaf}/accuracy"] == test["branch"][leaf]["accuracy"]
    # Every epoch has the accuracy of each branch: 2 epochs.
    for leaf in ("curved", "straight"):
        assert sum(f"val/branch/{leaf}/accuracy" in item for item in ended.history) == 2


def test_a_crash_marks_its_stages_wandb_run_failed_and_leaves_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    specialist = ("expert.recipe.optimizer.lr=1e30", "expert.recipe.epochs=5")
    code, run = train(tmp_path, "logger=wandb", "base.recipe.epochs=1", *specialist)
    assert code == 1
    said = capsys.readouterr().err.strip().splitlines()
    (line,) = (line for line in said if line.startswith("moe: curved: the loss or a gradient was NaN"))
    assert line.endswith(". A smaller learning rate (expert.recipe.optimizer.lr) or expert.recipe.clip=1.0 may help")
    assert not (run / "results.json").exists()
    assert {name: one.exit_code for name, one in wandb_runs(run).items()} == {"base": 0, "curved": 1}


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
