"""W&B: names, groups and values of the runs."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from moe import compose
from moe.loggers import StageLoggers, gate_kind, run_name, top_level
from moe.stages import Stage
from moe.store import Store
from moe.sweep.record import Sweep
from moe.taxonomy import Node
from tests.conftest import TINY
from tests.wandb_files import OfflineRun, offline_runs

ROOT = Path(__file__).parents[1]
CONFIG = compose("experiment=gates", "gate.width=128", "seed=3").plain()


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def stage(name: str, kind: str) -> Stage:
    return Stage(name, kind, Node("base", (0, 1)), {"seed": 0})


def loggers(folder: Path, *overrides: str, last: str = "gates") -> StageLoggers:
    config = compose("experiment=gates", "logger.mode=offline", *overrides)
    return StageLoggers(config.logger, folder, config.plain(), last)


@pytest.mark.parametrize(
    ("name", "kind", "swept", "said"),
    [
        ("gates", "gates", {"gate.width": 128, "seed": 3}, "gates-confidence-w128-s3"),
        (
            "gates",
            "gates",
            {"gate.weights": "per_class", "gate.dropout": 0.25},
            "gates-confidence-per_class-dropout0.25-s3",
        ),
        ("gates", "gates", {"gate": "confidence", "gate.depth": 2}, "gates-confidence-d2-s3"),
        ("gates", "gates", {"experiment": "flat", "net@base.net": "fat_vgg"}, "gates-confidence-flat-fat_vgg-s3"),
        ("gates", "gates", {"base.net.blocks": [[8], [16]]}, "gates-confidence-blocks816-s3"),
        ("gates", "gates", {"base.recipe.augment.flip": True}, "gates-confidence-fliptrue-s3"),
        # The base knows nothing of the gates, the router, the specialists.
        ("base", "base", {"gate.width": 128, "net@router.net": "fat_vgg", "mixture.routing": "soft"}, "base-s3"),
        ("base", "base", {"base.recipe.optimizer.lr": 1e-4, "net@base.net": "fat_vgg"}, "base-lr0.0001-fat_vgg-s3"),
        ("natural", "expert", {"trainer.precision": "bf16-mixed"}, "natural-bf16-mixed-s3"),
        # Outside of sweeps the experiment is named, but not twice.
        ("gates", "gates", None, "gates-confidence-s3"),
        ("base", "base", None, "gates-base-s3"),
    ],
)
def test_a_runs_name_says_what_is_different(name: str, kind: str, swept: dict[str, Any] | None, said: str) -> None:
    assert run_name(name, kind, CONFIG, swept) == said


def test_swept_values_are_at_the_top_by_names_without_dots() -> None:
    assert gate_kind({"gate": {"_target_": "moe.nets.gates.ConfidenceGate"}}) == "confidence"
    assert top_level("gates", CONFIG, {"gate.width": 128, "gate.weights": "joint", "seed": 3}) == {
        "gate_kind": "confidence",
        "width": 128,
        "weights": "joint",
    }
    # `lr` twice and `gate` of the splits are taken; a list is one value.
    swept = {"base.recipe.optimizer.lr": 0.1, "gate.recipe.optimizer.lr": 0.2, "data.splits.gate": 5, "data.mean": [0]}
    assert top_level("base", CONFIG, swept) == {
        "base_recipe_optimizer_lr": 0.1,
        "gate_recipe_optimizer_lr": 0.2,
        "data_splits_gate": 5,
        "mean": "[0]",
    }


@pytest.fixture(scope="module")
def swept(run: Path, store: Path, process: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over two widths and, so that each second job finds its gates in the store, over tags."""
    where = tmp_path_factory.mktemp("swept")
    shutil.copytree(store, where / "store")
    done = process(
        *("moe.train", "-m", *TINY, "logger=wandb", "logger.mode=offline", f"paths.store={where / 'store'}"),
        *(f"hydra.sweep.dir={where / 'my sweep'}", "gate.width=4,8", "logger.tags=[first],[second]"),
        cwd=where,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return where


@pytest.fixture(scope="module")
def runs(swept: Path) -> dict[str, OfflineRun]:
    """What the sweep's jobs logged, by the runs' names."""
    return offline_runs(swept / "my sweep")


def test_a_sweeps_jobs_share_a_group_and_a_folder(swept: Path, runs: dict[str, OfflineRun]) -> None:
    folder = swept / "my sweep"
    assert not list(folder.glob("*/wandb"))  # one for all jobs, and in it one run each: only gates were trained
    assert len(list(folder.glob("wandb/offline-run-*/run-*.wandb"))) == 4
    assert set(runs) == {f"gates-mlp-w{width}-tags{tag}-s0" for width in (4, 8) for tag in ("first", "second")}
    for one in runs.values():
        assert one.run["run_group"] == "my sweep"
        assert one.run["job_type"] == "gates"
        assert one.run["tags"][:3] == ["demo", "held_out", "sweep"]


def test_a_run_has_the_swept_values_and_the_results_numbers(swept: Path, runs: dict[str, OfflineRun]) -> None:
    for path in (swept / "my sweep").glob("*/results.json"):
        found = json.loads(path.read_text())
        width, (tag,) = found["config"]["gate"]["width"], found["config"]["logger"]["tags"]
        one = runs[f"gates-mlp-w{width}-tags{tag}-s0"]
        assert one.config["width"] == width and one.config["gate_kind"] == "mlp" and one.config["tags"] == f'["{tag}"]'
        # The whole config as it was composed: Lightning's hyperparameters would leave of `gate` only the network.
        assert {key: one.config[key] for key in found["config"]} == json.loads(json.dumps(found["config"]))
        assert one.summary["test/accuracy"] == found["test"]["accuracy"]
        assert one.summary["val/accuracy"] == pytest.approx(found["val"]["accuracy"])
        for leaf in ("curved", "straight"):
            assert one.summary[f"test/branch/{leaf}/accuracy"] == found["test"]["branch"][leaf]["accuracy"]
        assert one.summary["verdict/uniform/difference"] == found["verdict"]["uniform"]["difference"]
        assert one.summary["cost/flops_per_image/routed"] == found["cost"]["flops_per_image"]["routed"]
        assert one.summary["seconds/base"] == found["seconds"]["base"]["seconds"]


def test_gates_of_the_store_have_the_curves_of_their_training(swept: Path, runs: dict[str, OfflineRun]) -> None:
    gates = [entry for entry in Store(swept / "store").entries() if entry.record["kind"] == "gates"]
    entries = {entry.record["inputs"]["net"]["width"]: entry for entry in gates}
    for width in (4, 8):
        trained, reused = (
            [row for row in runs[f"gates-mlp-w{width}-tags{tag}-s0"].history if "epoch" in row]
            for tag in ("first", "second")
        )
        recorded = entries[width].record["curves"]
        assert len(recorded) == 2 and len(reused) == 2  # epochs; a training logs val and train in rows of their own
        for row, epoch in zip(reused, recorded, strict=True):
            own = {name: value for name, value in row.items() if not name.startswith("_")}
            assert own == {name: value for name, value in epoch.items() if name != "seconds"}
        names = {name for row in trained for name in row if "/" in name} - {"trainer/global_step"}
        assert names == {name for row in reused for name in row if "/" in name}


def test_the_agents_run_is_that_of_the_last_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = tmp_path / "config-abc123.yaml"
    parameters.write_text("wandb_version: 1\n\ngate.width:\n  value: 128\ngate.weights:\n  value: joint\n")
    for name, value in (("RUN_ID", "abc123"), ("SWEEP_ID", "sweep77"), ("SWEEP_PARAM_PATH", parameters)):
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    opened = loggers(tmp_path / "job", "gate.width=128")
    assert not {"WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"} & set(os.environ)
    for name, kind in (("base", "base"), ("gates", "gates")):
        opened.wandb_run(stage(name, kind)).log({"epoch": 0})
    opened.close()
    runs = offline_runs(tmp_path / "job")
    base, gates = runs["gates-base-s0"], runs["gates-confidence-s0"]
    assert (gates.run["run_id"], gates.run["sweep_id"]) == ("abc123", "sweep77")
    assert base.run["run_id"] != "abc123" and "sweep_id" not in base.run
    assert base.run["project"] == gates.run["project"] == "theirs"
    assert gates.config["gate.width"] == 128 and "gate.width" not in base.config


def test_a_run_without_an_address_has_none_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    opened = loggers(tmp_path, "logger.mode=auto")
    assert opened.wandb_run(stage("gates", "gates")) is not None
    with caplog.at_level("INFO"):
        opened.close()
    assert not any(message.startswith("W&B") for message in caplog.messages)


def test_a_job_of_a_sweep_is_found_by_its_folder(tmp_path: Path) -> None:
    Sweep(tmp_path / "s", [], ["gate.width"], {}).write()
    opened = loggers(tmp_path / "s" / "job", "gate.width=16")
    assert opened.place == tmp_path / "s" and opened.swept == {"gate.width": 16}
    assert loggers(tmp_path / "alone", "gate.width=16").place == tmp_path / "alone"
