"""`sweep=wandb`: the file for W&B, and the commands that W&B's own agent makes of it."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb.wandb_agent
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb.sdk.launch.sweeps.utils import load_sweep_config

import moe
from hydra_plugins.moe_sweeps.wandb_file import parameter
from moe.errors import ConfigError
from moe.schema import Config
from moe.sweep.record import sweep_of
from tests.conftest import TINY
from tests.wandb_files import offline_runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs `python -m moe.train sweep=wandb OVERRIDES...`; the file that it wrote."""
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.delenv("WANDB_ENTITY", raising=False)

    def write(*overrides: str) -> Path:
        done = process("moe.train", "sweep=wandb", *overrides, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = tmp_path.glob("multirun/*/wandb_sweep.yaml")
        begin, work = (line.strip() for line in done.stdout.splitlines() if line.startswith("  "))
        assert begin == f"wandb sweep {path.relative_to(tmp_path)}"
        # A team that the config names goes before the variable's.
        entity = "team" if "logger.entity=team" in overrides else os.environ.get("WANDB_ENTITY", "ENTITY")
        assert work.startswith(f"wandb agent {entity}/")
        return Path(path)

    return write


class Captured:
    """In place of W&B's process: what its agent would have started."""

    def __init__(self, env: dict[str, str], command: list[str], **_: Any) -> None:
        self.env, self.command = env, command


def agent(path: Path, chosen: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Captured:
    """What W&B's agent starts for a run whose values its server chose, as JSON says them."""
    said = load_sweep_config(str(path))
    assert said is not None
    monkeypatch.setattr(wandb.wandb_agent, "AgentProcess", Captured)
    for name, value in (("DIR", str(folder)), ("SWEEP_ID", "sweep77"), ("RUN_ID", ""), ("SWEEP_PARAM_PATH", "")):
        monkeypatch.setenv(f"WANDB_{name}", value)  # the agent sets them; so they are unset again afterwards
    working = wandb.wandb_agent.Agent(None, multiprocessing.Queue(), sweep_id="sweep77")
    working._sweep_command = list(said["command"])
    args = json.loads(json.dumps({key: {"value": value} for key, value in chosen.items()}))
    working._command_run({"run_id": "abc123", "program": said["program"], "args": args})
    started: Captured = working._run_processes["abc123"]
    return started


def composed(command: list[str]) -> Config:
    assert command[:4] == ["/usr/bin/env", "python", "-m", "moe.train"]
    return moe.compose(*command[4:])


def test_the_file_says_what_was_asked_for(written: Callable[..., Path]) -> None:
    path = written("experiment=gates", "gate.width=16,32,64", "seed=range(3)", "logger.entity=team")
    said = load_sweep_config(str(path))
    assert said == {
        "name": path.parent.name,
        "project": "moe",
        "entity": "team",
        "program": "moe.train",
        "command": [
            *("${env}", "python", "-m", "moe.train", "experiment=gates", "logger.entity=team"),
            "hydra.mode=RUN",  # also of an experiment that is a sweep by itself each is one run
            f"hydra.run.dir='multirun/{path.parent.name}/${{oc.env:WANDB_RUN_ID}}'",
            "${args_no_hyphens}",
        ],
        "method": "grid",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "parameters": {"gate.width": {"values": [16, 32, 64]}, "seed": {"values": [0, 1, 2]}},
    }
    # Nothing was run, and a run in that folder will be one of the sweep's.
    assert sorted(file.name for file in path.parent.iterdir()) == ["sweep.json", "wandb_sweep.yaml"]
    sweep = sweep_of(path.parent / "abc123")
    assert sweep is not None and sweep.swept == ["gate.width", "seed"]


def test_an_experiment_that_is_a_sweep_by_itself_is_searched_by_its_own_values(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "somebody")
    path = written("experiment=verdict", "seed=3,4")
    said: Any = load_sweep_config(str(path))
    assert said["parameters"]["seed"] == {"values": [3, 4]}
    rivals = said["parameters"]["rival"]["values"]
    assert len(rivals) == 14 and "hydra.mode=RUN" in said["command"]
    chosen = composed(agent(path, {"rival": rivals[0], "seed": 4}, tmp_path, monkeypatch).command)
    assert (chosen.experiment, chosen.rival, chosen.seed) == ("verdict", rivals[0], 4)


def test_every_value_survives_the_file_and_the_agent(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        *("experiment=held_out", "gate.width=16,32", "base.net.blocks=[[8],[16]],[[4]]", "logger.tags=['a, b',c]"),
        *("gate=mlp,conv", "base.recipe.clip=null,1e-05", "base.recipe.augment.flip=true,false"),
        *("logger.project='it\\'s a'", "taxonomy.branches={a:['0',bird,cat],b:[1,3,4,5,6,7,8,9]},{x:[0,1],y:[2]}"),
    )
    values = {key: said["values"] for key, said in load_sweep_config(str(path))["parameters"].items()}  # type: ignore[index]
    # Numbers and truth values are plots' axes; the rest is text in Hydra's own grammar.
    assert values["base.recipe.clip"] == ["null", 1e-05]
    assert values["base.recipe.augment.flip"] == [True, False]
    assert values["gate"] == ["mlp", "conv"]
    first = composed(agent(path, {key: value[0] for key, value in values.items()}, tmp_path, monkeypatch).command)
    assert first.gate.net["width"] == 16 and first.gate.net["_target_"] == "moe.nets.gates.MLPGate"
    assert first.base.net["blocks"] == [[8], [16]]
    assert first.base.recipe.clip is None and first.base.recipe.augment.flip is True
    assert first.taxonomy.branches == {"a": ["0", "bird", "cat"], "b": [1, 3, 4, 5, 6, 7, 8, 9]}
    assert first.logger.tags == ["a, b", "c"] and first.logger.project == "it's a"
    last = composed(agent(path, {key: value[-1] for key, value in values.items()}, tmp_path, monkeypatch).command)
    assert last.gate.net["width"] == 32 and last.gate.net["_target_"] == "moe.nets.gates.ConvGate"
    assert last.base.net["blocks"] == [[4]]
    assert last.base.recipe.clip == 1e-05 and last.base.recipe.augment.flip is False
    assert last.taxonomy.branches == {"x": [0, 1], "y": [2]}


def test_wandbs_own_engine_takes_the_file(written: Callable[..., Path]) -> None:
    sweeps = pytest.importorskip("sweeps", reason="W&B's engine of sweeps needs numpy below 2")
    path = written(
        *("experiment=gates", "hydra.sweeper.method=bayes", "gate.dropout=interval(0,0.5)", "gate=mlp,conv"),
        *("gate.width=int(interval(16,512))", "gate.recipe.optimizer.lr=tag(log,interval(0.0001,0.01))"),
    )
    said = load_sweep_config(str(path))
    assert sweeps.config.schema_violations_from_proposed_config(dict(said)) == []
    chosen = sweeps.next_run(dict(said), []).config
    assert set(chosen) == {"gate.dropout", "gate", "gate.width", "gate.recipe.optimizer.lr"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("a.b=interval(0,0.5)", {"distribution": "uniform", "min": 0.0, "max": 0.5}),
        ("a.b=int(interval(1,9))", {"distribution": "int_uniform", "min": 1, "max": 9}),
        ("a.b=tag(log,interval(0.1,1))", {"distribution": "log_uniform_values", "min": 0.1, "max": 1.0}),
        ("a.b=tag(log,int(interval(1,9)))", {"distribution": "q_log_uniform_values", "min": 1, "max": 9, "q": 1}),
        ("a.b=range(1,4)", {"values": [1, 2, 3]}),
        ("a.b='x y',null", {"values": ["'x y'", "null"]}),
    ],
)
def test_hydras_sweeps_in_wandbs_words(override: str, said: dict[str, Any]) -> None:
    parsed = OverridesParser.create().parse_override(override)
    assert parameter("a.b", parsed, "bayes") == said
    if "values" not in said:
        with pytest.raises(ConfigError, match="has no grid; give its values, or set"):
            parameter("a.b", parsed, "grid")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["net@base.net=tiny_vgg,fat_vgg"],
            "W&B takes no parameter named net@base.net; sweep it with -m, ",
        ),
        (["+gate.recipe.optimizer.eps=0.1,0.2"], "W&B takes no parameter named +gate.recipe.optimizer.eps"),
        (["gate.widht=16,32"], "gate.widht: there is no such key; did you mean gate.width?"),
        (["gate.width=-1,32"], "gate.width must be a whole number above 0, not -1"),
        (["seed=0,1", "hydra.sweeper.method=bays"], "hydra.sweeper.method must be one of grid, random, bayes"),
        (
            ["seed=0,1", "target=experts"],
            "target=experts has no accuracy on val to search by; ",
        ),
        (["seed=0,1", "logger=none"], "sweep=wandb needs runs that W&B sees"),
        (["experiment=gates", "gate.width=8"], "sweep=wandb has nothing to search; give values to sweep, like gate"),
    ],
)
def test_what_no_run_could_begin_with_is_refused(
    process: Any, tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    done = process("moe.train", "sweep=wandb", *overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"moe: {sentence}")
    assert not list(tmp_path.glob("multirun/*/wandb_sweep.yaml"))


def test_what_the_agent_starts_trains_and_is_the_sweeps(
    run: Path, store: Path, written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "store")
    own = [override for override in TINY if override != "logger=none"]
    path = written(*own, f"paths.store={tmp_path / 'store'}", "gate.width=4,8", "seed=0")
    started = agent(path, {"gate.width": 8}, tmp_path, monkeypatch)
    # W&B's agent says just `python`.
    there = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment = {**started.env, **there, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(started.command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((path.parent / "abc123" / "results.json").read_text())
    assert found["config"]["gate"]["width"] == 8
    (gates,) = offline_runs(path.parent).values()
    assert gates.run["display_name"] == "gates-mlp-w8-s0"
    assert (gates.run["run_id"], gates.run["sweep_id"], gates.run["run_group"]) == (
        "abc123",
        "sweep77",
        path.parent.name,
    )
    # What W&B maximises.
    assert gates.summary["val/accuracy"] == pytest.approx(found["val"]["accuracy"])
