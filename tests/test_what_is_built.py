"""What a config may name to be built, and nothing else anywhere."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from moe import checks, targets
from moe.config import compose
from tests.configs import changed, composed, refusal, sentence


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "os.system",
        "builtins.open",
        "torch.hub.load",
        "subprocess.run",
        "torch.nn.Linear",
        "moe.nets.VGG",
        "moe.nets.vgg",
        "moe.nets.vgg.deeper.VGG",
        "moe.nets.vgg.VGG.__init__",
        "moe.nets..vgg.VGG",
        "moe.nets_evil.vgg.VGG",
        "moe.modules.expert.Expert",
        "torchvision.models.get_model",
        "torchvision.models.get_weight",
        "torchvision.models.register_model",
        "torchvision.models._api",
        "torchvision.models.vgg.vgg11_bn",
        "torchvision.datasets.CIFAR10",
        "VGG",
        "",
        None,
        7,
    ],
)
def test_only_networks_of_the_project_and_of_torchvision_are_built(target: Any) -> None:
    assert refusal(changed("base.net._target_", target)) == (
        f"base.net._target_: {target!r} is not an allowed network; allowed are moe.nets.MODULE.CLASS "
        "and the builders torchvision.models.NAME"
    )


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "VGG"])
def test_torchvisions_builders_are_allowed_by_their_names(name: str) -> None:
    targets.check_network(f"torchvision.models.{name}", "base.net._target_")


@pytest.mark.parametrize("place", ["expert.net._target_", "router.net._target_", "gate._target_"])
def test_every_networks_target_is_checked(place: str) -> None:
    assert refusal(changed(place, "torch.load")).startswith(f"{place}: 'torch.load' is not an allowed network")


@pytest.mark.parametrize("key", ["_target_", "_partial_", "_args_", "_recursive_"])
@pytest.mark.parametrize("place", ["base.net", "gate", "trainer", "router.recipe.optimizer"])
def test_nothing_nested_is_built(place: str, key: str) -> None:
    for value, where in (({key: "os.system"}, f"{place}.x.{key}"), ([{key: "os.system"}], f"{place}.x.0.{key}")):
        assert refusal(changed(f"{place}.x", value)).startswith(f"{where} is not allowed")


def test_nothing_nested_is_built_from_the_command_line() -> None:
    assert sentence("+base.net.x={_target_:os.system,command:ls}").startswith("base.net.x._target_ is not allowed")


@pytest.mark.parametrize("target", ["torch.optim.Adagrad", "torch.load", "Adam", None])
def test_only_listed_optimisers_are_built(target: Any) -> None:
    said = refusal(changed("gate.recipe.optimizer._target_", target))
    assert said.startswith("gate.recipe.optimizer._target_ must be one of torch.optim.Adam, ")


def test_the_arguments_of_an_optimiser_that_was_changed_are_to_be_removed() -> None:
    other = "base.recipe.optimizer._target_=torch.optim.AdamW"
    said = sentence(other)
    assert said.startswith("base.recipe.optimizer: torch.optim.AdamW takes lr, betas, eps, weight_decay, ")
    remove = "~base.recipe.optimizer.momentum ~base.recipe.optimizer.nesterov"
    assert said.endswith(f", not momentum, nesterov; what it does not take is removed with {remove}")
    assert set(compose(other, *remove.split()).base.recipe.optimizer) == {"_target_", "lr", "weight_decay"}


@pytest.mark.parametrize("target", targets.KNOWN_OPTIMIZERS)
def test_what_an_optimiser_takes_is_read_as_python_has_it(target: str) -> None:
    takes = list(inspect.signature(getattr(torch.optim, target.rpartition(".")[2])).parameters)
    said = refusal(changed("gate.recipe.optimizer", {"_target_": target, "lr": 0.1, "params": 0, "nothing": 1}))
    said = said.removeprefix(f"gate.recipe.optimizer: {target} takes ").partition(", not params, nothing; ")[0]
    assert ["params", *said.split(", ")] == takes


def test_a_gate_of_the_users_own_may_name_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = "in_shape, num_classes, num_experts, weights"
    (tmp_path / "mine.py").write_text(f"class Mine:\n    def __init__(self, {frame}, step=8): ...\n")
    for path in targets.NETS.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(targets, "NETS", tmp_path)
    shipped = composed("experiment=held_out").plain()["gate"]
    own = {key: value for key, value in shipped.items() if key not in ("_target_", "width", "depth", "dropout")}
    checks.check(changed("gate", {**own, "_target_": "moe.nets.mine.Mine", "step": 2}))
    values = changed("gate", {**own, "_target_": "moe.nets.mine.Mine", "stpe": 2})
    assert refusal(values) == "gate.stpe: moe.nets.mine.Mine takes no stpe; did you mean step?"


def test_an_optimiser_is_told_its_rate() -> None:
    said = "base.recipe.optimizer.lr has no value; give it one with base.recipe.optimizer.lr=VALUE"
    assert sentence("~base.recipe.optimizer.lr") == said


def test_a_network_of_the_users_own_is_read_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vgg", "gates"):  # what the others are
        (tmp_path / f"{name}.py").write_text("class VGG: ...\nclass MLPGate: ...\n")
    monkeypatch.setattr(targets, "NETS", tmp_path)
    values = changed("base.net", {"_target_": "moe.nets.mine.Net", "depth": 3, "widht": 8})
    assert refusal(values) == "base.net._target_: there is no Net in moe.nets.mine"
    (tmp_path / "mine.py").write_text("class Net:\n    def __init__(self\n")
    assert refusal(values).startswith("base.net._target_: moe.nets.mine is no Python: ")
    (tmp_path / "mine.py").write_text("class Net:\n    def __init__(self, in_shape, *, depth, width): ...\n")
    assert refusal(values) == "base.net.widht: moe.nets.mine.Net takes no widht; did you mean width?"
    # Its arguments are its own, whatever the config's of the same name may be.
    (tmp_path / "mine.py").write_text("class Net:\n    def __init__(self, in_shape, *, step, seed): ...\n")
    checks.check(changed("base.net", {"_target_": "moe.nets.mine.Net", "step": 2, "seed": "a"}))
    # What a class hands on to another is found out when it is built.
    (tmp_path / "mine.py").write_text("class Net:\n    def __init__(self, depth, **more): ...\n")
    checks.check(values)
