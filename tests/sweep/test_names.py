"""Folders of sweeps and jobs are named by what was overridden."""

import re

import pytest

from moe.sweep.names import job_name, short, sweep_name, swept

COMMAND = ["experiment=gates", "gate.width=32,64", "seed=0,1"]


def test_a_sweep_is_named_by_what_it_sweeps_and_the_same_command_finds_it_again() -> None:
    name = sweep_name(COMMAND)
    assert re.fullmatch(r"gates_width_seed-[0-9a-f]{8}", name)
    assert sweep_name(COMMAND[::-1]).rpartition("-")[2] == name.rpartition("-")[2]
    assert sweep_name(["experiment=gates", "gate.width=32,64,128", "seed=0,1"]) != name


def test_a_preset_names_its_sweep_and_other_values_of_it_are_another_sweep() -> None:
    names = {sweep_name(["sweep=gate_widths"], {"gate.width": widths}) for widths in ("16,32", "16,64", "16,32")}
    assert len(names) == 2
    assert all(name.startswith("gate_widths-") for name in names)


def test_the_same_overrides_of_another_config_are_another_sweep() -> None:
    assert sweep_name(COMMAND, None, "config") == sweep_name(COMMAND)
    assert sweep_name(COMMAND, None, "mine").rpartition("-")[0] == "gates_width_seed"
    assert sweep_name(COMMAND, None, "mine") != sweep_name(COMMAND)


def test_experiments_can_be_swept_in_one_folder() -> None:
    assert sweep_name(["experiment=gates,flat"]).startswith("experiments-")


def test_a_job_is_named_by_its_swept_values_and_a_hash_of_all() -> None:
    one = job_name(["experiment=gates", "gate.width=32", "seed=0"], ["gate.width", "seed"])
    assert re.fullmatch(r"width-32_seed-0-[0-9a-f]{8}", one)
    # Another order is the same job, another value of what is not swept is another one.
    assert job_name(["seed=0", "gate.width=32", "experiment=gates"], ["gate.width", "seed"])[-8:] == one[-8:]
    assert job_name(["experiment=soft", "gate.width=32", "seed=0"], ["gate.width", "seed"])[-8:] != one[-8:]


def test_what_is_swept_by_its_target_is_named_by_what_it_belongs_to() -> None:
    # A folder's name goes through the command line, where `_target_` is what may not be built.
    job = ["gate.recipe.optimizer._target_=torch.optim.AdamW"]
    assert job_name(job, ["gate.recipe.optimizer._target_"]).startswith("optimizer-AdamW-")
    swept_targets = ["experiment=gates", "gate.recipe.optimizer._target_=torch.optim.Adam,torch.optim.SGD"]
    assert sweep_name(swept_targets).startswith("gates_optimizer-")


def test_a_name_holds_no_character_that_a_shell_or_hydra_would_read() -> None:
    name = job_name(["taxonomy.branches={a:[0,1],b:'x y'}"], ["taxonomy.branches"])
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name)


@pytest.mark.parametrize(
    ("override", "is_swept"),
    [
        ("seed=0,1", True),
        ("seed=range(3)", True),
        ("gate=choice(mlp,conv)", True),
        ("lr=interval(0.1,1)", True),
        ("base.net.blocks=[[8],[16]]", False),
        ("base.net.blocks=[[8],[16]],[[4]]", True),
        ("taxonomy.branches={a:[0,1],b:[2]}", False),
        ("logger.tags=['a,b']", False),
        ("logger.project='a,b'", False),
        ("seed=0", False),
    ],
)
def test_what_hydra_takes_for_many_values(override: str, is_swept: bool) -> None:
    assert swept([override]) == ([override.partition("=")[0]] if is_swept else [])


def test_a_presets_parameters_are_swept_too() -> None:
    assert swept(["seed=0,1", "trainer=cpu"], {"gate.width": "1,2", "seed": "0"}) == ["gate.width", "seed"]


def test_short_names() -> None:
    assert [short(key) for key in ("gate.width", "+trainer.x", "net@base.net", "seed")] == ["width", "x", "net", "seed"]
