"""`trainer=ddp` with two processes on the CPU, by the real command."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from moe import cpus, ddp
from moe.config import compose
from moe.errors import ConfigError
from moe.train import main
from tests import wandb_files
from tests.commands import Commands
from tests.ddp_commands import TWO, command, entries, trained

STAGES = ("base", "curved", "straight", "router", "gates")
# What is drawn apart by each process is left out. 1,038 images by 61 leave a last batch of one, which one of the two
# processes has; of three images often none is routed to one of the gates, which then takes no step, not even one by
# its momentum. By SGD, since Adam makes steps of gradients that are nothing but rounding, which some processors do
# otherwise of half a batch.
ALIKE = (
    *(f"{name}.net.dropout=0" for name in ("base", "expert", "router")),
    "gate.dropout=0",
    "base.recipe.batch_size=61",
    "gate.recipe.batch_size=3",
    *(f"{name}.recipe.optimizer._target_=torch.optim.SGD" for name in ("base", "expert", "router", "gate")),
    *(f"+{name}.recipe.optimizer.momentum=0.9" for name in ("base", "expert", "router", "gate")),
    *(f"{name}.recipe.optimizer.lr=0.01" for name in ("base", "expert", "router", "gate")),
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Path:
    folder = tmp_path_factory.mktemp("one")
    trained(commands, folder, *ALIKE)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("two")
    said = trained(commands, folder, *ALIKE, *TWO, "logger=wandb", "logger.mode=offline")
    return folder, said.stdout


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "results.json").read_text())
    return found


def test_two_processes_leave_one_run(two: tuple[Path, str]) -> None:
    folder, said = two
    assert sorted(path.name for path in folder.iterdir()) == ["run", "store"]
    assert {path.name for path in (folder / "run").iterdir()} == {
        *("hydra", "train.log", "results.json", "predictions.safetensors", "wandb")
    }
    assert set(entries(folder)) == set(STAGES)
    assert not list((folder / "store" / ".unfinished").iterdir())
    lines, logged = said.splitlines(), (folder / "run" / "train.log").read_text()
    for stage in STAGES:
        epochs = len(entries(folder)[stage].record["curves"])
        for number in range(1, epochs + 1):
            assert sum(line.startswith(f"{stage}: epoch {number} of ") for line in lines) == 1
            assert len(re.findall(rf"INFO moe.modules.callbacks: {stage}: epoch {number} of ", logged)) == 1
        assert sum(line.startswith(f"{stage}: training ") for line in lines) == 1
        assert sum(line.startswith(f"{stage}: kept epoch ") for line in lines) == 1
    assert sum(line.startswith("run folder") for line in lines) == 1
    machine = entries(folder)["base"].record["machine"]
    model = f", {cpus.model()}" if cpus.model() else ""
    assert re.fullmatch(rf"2 processes, each CPU \S+ \(\S+\), 1 thread{re.escape(model)}", machine)


def test_two_processes_are_one_wandb_run_a_stage(two: tuple[Path, str]) -> None:
    runs = [wandb_files.read(path) for path in sorted((two[0] / "run" / "wandb").glob("offline-run-*/run-*.wandb"))]
    assert sorted(run.config["stage"] for run in runs) == sorted(STAGES)
    for run in runs:
        curves = entries(two[0])[run.config["stage"]].record["curves"]
        nll = [row["val/nll"] for row in run.history if "val/nll" in row]
        assert nll == pytest.approx([epoch["val/nll"] for epoch in curves], abs=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_train_what_one_does(stage: str, one: Path, two: tuple[Path, str]) -> None:
    alone, together = entries(one)[stage], entries(two[0])[stage]
    # The number of devices is not in the key, and the record is otherwise the same.
    assert alone.key == together.key and alone.record["epoch"] == together.record["epoch"]
    theirs = together.tensors()
    for name, weights in alone.tensors().items():
        # The sum over a batch is taken in another order.
        torch.testing.assert_close(theirs[name], weights, rtol=0, atol=1e-5)
    for expected, found in zip(alone.record["curves"], together.record["curves"], strict=True):
        assert set(found) == set(expected)
        for name in set(expected) - {"seconds"}:
            # Accuracies (of each branch, too) are of the same count of images: every one counts once.
            assert found[name] == pytest.approx(expected[name], abs=1e-6 if "accuracy" in name else 1e-5), name


def test_two_processes_have_the_results_of_one(one: Path, two: tuple[Path, str]) -> None:
    alone, together = results(one), results(two[0])
    assert together["key"] == alone["key"]
    assert together["val"]["accuracy"] == alone["val"]["accuracy"]
    assert together["test"]["accuracy"] == alone["test"]["accuracy"]


def test_what_each_process_has_is_said_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team, told = ddp.Team(2), {"epoch": 3, "curves": [], "earlier": 0.5, "machine": "CPU of a rank, 4 threads"}

    def start(config: Any, folder: Path) -> None:
        team.scratch = tmp_path
        save_file({"weight": torch.ones(1)}, tmp_path / ddp.WEIGHTS)
        team.heard.put((1, {"fitted": None}))
        team.heard.put((0, {"fitted": told}))

    monkeypatch.setattr(team, "_start", start)
    fitted = team.fit("base", "base-0", {}, None, tmp_path)
    assert fitted.machine == "2 processes, each CPU of a rank, 4 threads"
    assert (fitted.epoch, fitted.earlier, fitted.weights["weight"].item()) == (3, 0.5, 1.0)


def test_one_device_is_trained_on_by_the_command_itself() -> None:
    # PyTorch counts a machine's processors as one device.
    assert ddp.world_size(compose("trainer=ddp", "trainer.accelerator=cpu").trainer, {}) == 1
    assert ddp.world_size(compose("trainer=cpu").trainer, {"WORLD_SIZE": "4"}) == 1
    assert ddp.world_size(compose(*TWO).trainer, {"WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "1"}) == 2


@pytest.mark.parametrize(
    ("variable", "launcher"),
    [("WORLD_SIZE", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun"), ("OMPI_COMM_WORLD_SIZE", "mpirun")],
)
def test_copies_that_a_launcher_has_started_are_refused(variable: str, launcher: str) -> None:
    with pytest.raises(ConfigError, match=rf"{launcher} has started this command 4 times \({variable}=4\): start it"):
        ddp.world_size(compose(*TWO).trainer, {variable: "4"})


def test_frozen_networks_that_share_a_trunk_do_not_keep_gates_from_their_weights(
    tmp_path: Path, commands: Commands
) -> None:
    shared = ("expert.init=base", "expert.trunk=shared", "router=base", "gate.frozen=live")
    trained(commands, tmp_path, *TWO, *shared, "gate.recipe.select=last", "gate.recipe.epochs=1")
    gates = entries(tmp_path)["gates"].tensors()
    assert gates and all(name[0].isdigit() or name == "temperatures" for name in gates)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("trainer.devices=2",), "trainer.devices must be 1 or a list of one device, not 2; trainer=ddp trains over"),
        (("trainer=ddp", "trainer.devices=0"), "trainer.devices must be auto (all), a whole number above 0"),
        (("trainer.devices=[a]",), "whole number above 0 or a list of devices' numbers, not ['a']"),
        (("trainer=ddp", "trainer.devices=[0,-1]"), "or a list of devices' numbers, not [0, -1]"),
        (("trainer=ddp", "trainer.strategy=fsdp"), "trainer.strategy must be ddp (trainer=ddp) or, for one device, a"),
        (("trainer=ddp", "+trainer.num_nodes=2"), "trainer.num_nodes cannot be set: one machine trains a network"),
        (("trainer=ddp", "+trainer.use_distributed_sampler=true"), "a batch is dealt to the devices by the command"),
        (("+trainer.sync_batchnorm=true",), "trainer.sync_batchnorm is for several devices; set trainer=ddp"),
    ],
)
def test_what_several_devices_do_not_take(overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        compose(*overrides)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("trainer.accelerator=gpu", "trainer.devices=auto"), "moe: trainer.accelerator=gpu: this machine has no"),
        (("gate.recipe.batch_size=1",), "moe: gate.recipe.batch_size must be at least 2, an image for each device"),
    ],
)
def test_what_no_machine_or_batch_has_is_refused_before_training(
    overrides: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "trainer.accelerator=gpu" in overrides and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["moe.train", *command(*TWO, *overrides)[3:]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence) and said.count("\n") == 1
