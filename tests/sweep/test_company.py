"""Real sweeps on digits with hydra/launcher=together. The networks of `store` are there: gates alone are trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

import moe
from moe.store import Store
from moe.store.entry import TENSORS
from tests.conftest import TINY, Process
from tests.stored import train_anew
from tests.wandb_files import offline_runs

SWEPT = ("gate.width=4,16", "gate.dropout=0.5")
LOGGED = (*SWEPT, "logger=wandb", "logger.mode=offline")


@pytest.fixture
def own(run: Path, store: Path, tmp_path: Path) -> Path:
    """A copy of the session's store."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def sweep(process: Process, own: Path, *overrides: str, launcher: str = "together") -> Any:
    arguments = ["-m", *TINY, f"paths.store={own}", f"hydra.sweep.dir={own.parent / launcher}", *overrides]
    return process("moe.train", *arguments, f"hydra/launcher={launcher}", cwd=own.parent)


def found(folder: Path) -> dict[tuple[int, float], dict[str, Any]]:
    """The results of a sweep's jobs by width and dropout."""
    read = [json.loads(path.read_text()) for path in folder.glob("*/results.json")]
    return {(job["config"]["gate"]["width"], job["config"]["gate"]["dropout"]): job for job in read}


def probabilities(folder: Path) -> dict[tuple[int, float], Tensor]:
    """What the mixtures of a sweep's jobs say of the test images."""
    said = [load_file(path.parent / "predictions.safetensors") for path in folder.glob("*/results.json")]
    return {name: tensors["probabilities"] for name, tensors in zip(found(folder), said, strict=True)}


def test_jobs_train_once_and_each_has_its_results(process: Process, own: Path) -> None:
    done = sweep(process, own, *LOGGED)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = found(own.parent / "together")
    assert len(jobs) == 2
    assert done.stdout.count("gates: training those of 2 jobs together") == 1
    spent = [job["seconds"]["gates"] for job in jobs.values()]
    assert all(s["together"] == 2 and not s["reused"] and s["seconds"] == spent[0]["seconds"] for s in spent)
    assert len({job["stages"]["gates"]["key"] for job in jobs.values()}) == 2

    # A W&B run each, with its own curves.
    runs = offline_runs(own.parent / "together")
    gates = {one.config["key"]: one for name, one in runs.items() if name.startswith("gates-")}
    assert gates.keys() == {job["stages"]["gates"]["key"] for job in jobs.values()}
    for key, one in gates.items():
        curves = json.loads((own / key / "entry.json").read_text())["curves"]
        assert [row["val/nll"] for row in one.history if "val/nll" in row] == [epoch["val/nll"] for epoch in curves]

    # Alone they are other entries of the store, and all but the same weights.
    assert sweep(process, own, *SWEPT, launcher="basic").returncode == 0
    alone = found(own.parent / "basic")
    said, said_alone = (probabilities(own.parent / launcher) for launcher in ("together", "basic"))
    for name, job in jobs.items():
        keys = [side[name]["stages"]["gates"]["key"] for side in (jobs, alone)]
        assert keys[0] != keys[1] and "together" not in alone[name]["seconds"]["gates"]
        # Not the weights: those of classes that a specialist has no output for change nothing, so that their
        # gradients are rounding alone, and Adam makes whole steps of them.
        assert (said[name] - said_alone[name]).abs().max() < 1e-5
        assert job["val"] == pytest.approx(alone[name]["val"], abs=1e-5)
        curves = [json.loads((own / key / "entry.json").read_text())["curves"] for key in keys]
        assert [set(epoch) for epoch in curves[0]] == [set(epoch) for epoch in curves[1]]

    # A finished run is opened by the keys that it names.
    folder = next((own.parent / "together").glob("*/results.json")).parent
    assert moe.load(str(folder)).results["stages"]["gates"]["key"] in gates

    # Given again the command leaves finished jobs alone, and a job whose results are gone trains nothing.
    key = json.loads((folder / "results.json").read_text())["stages"]["gates"]["key"]
    (folder / "results.json").unlink()
    for job in alone.values():
        shutil.rmtree(own / job["stages"]["gates"]["key"])
    done = sweep(process, own, *LOGGED)
    assert "2 jobs, 1 left to run" in done.stdout and "training" not in done.stdout, done.stdout
    assert f"gates     reuse  {key}" in done.stdout.splitlines()  # which the plan says before
    assert found(own.parent / "together").keys() == jobs.keys()

    # An entry that was damaged since is put aside, and its gates are trained again.
    (folder / "results.json").unlink()
    (own / key / TENSORS).write_bytes((own / key / TENSORS).read_bytes()[:-1])
    done = sweep(process, own, *LOGGED)
    assert done.returncode == 0 and f"{own / key} is damaged: it is made anew" in done.stdout, done.stdout + done.stderr
    assert found(own.parent / "together").keys() == jobs.keys()

    # So are gates whose base was trained anew since, and came to other weights.
    base = Store(own).get(next(iter(jobs.values()))["stages"]["base"]["key"])
    assert base is not None
    train_anew(base)
    for path in (own.parent / "together").glob("*/results.json"):
        path.unlink()
    done = sweep(process, own, *LOGGED)
    assert done.returncode == 0 and done.stdout.count("gates: training those of 2 jobs together") == 1, done.stdout
    assert done.stdout.count("learnt from networks that were trained anew since: it is made anew") == 2
    again = found(own.parent / "together")
    keys = [{job["stages"]["gates"]["key"] for job in side.values()} for side in (jobs, again)]
    assert keys[0] == keys[1] and all(again[name]["test"] != job["test"] for name, job in jobs.items())


def test_what_cannot_be_stacked_is_trained_alone_and_each_failure_is_its_jobs_own(process: Process, own: Path) -> None:
    done = sweep(process, own, "gate=mlp,conv", "gate.width=4,8", "gate.recipe.optimizer.lr=0.001,1e38")
    assert done.returncode == 1, done.stdout + done.stderr
    jobs = [json.loads(path.read_text()) for path in (own.parent / "together").glob("*/results.json")]
    # With the right learning rate two MLPs together and two convolutions alone.
    kinds = sorted((job["config"]["gate"]["_target_"], job["seconds"]["gates"].get("together", 1)) for job in jobs)
    conv, mlp = "moe.nets.gates.ConvGate", "moe.nets.gates.MLPGate"
    assert kinds == [(conv, 1), (conv, 1), (mlp, 2), (mlp, 2)]
    assert "4 failed" in done.stderr and done.stderr.count("gates: the loss ") == 4
    assert done.stdout.count("gates: trained alone: ConvGate cannot be stacked") == 4
    assert "Traceback" not in done.stdout + done.stderr
