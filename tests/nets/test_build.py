import sys
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from moe.config import compose
from moe.errors import ConfigError
from moe.nets.build import build_gate, build_network, head_names
from moe.nets.gates import ConvGate, MLPGate
from moe.nets.initial import start_from_
from moe.nets.vgg import VGG
from moe.package import CONF

VGG_NET = {"_target_": "moe.nets.vgg.VGG", "blocks": [[2]], "hidden": 3}


def group(name: str) -> list[Any]:
    paths = [path for path in sorted((CONF / name).glob("*.yaml")) if path.stem != "base"]  # which stands for another
    return [pytest.param(yaml.safe_load(path.read_text()), id=path.stem) for path in paths]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("net", group("net"))
def test_every_shipped_network_classifies_cifar10s_images(net: dict[str, Any]) -> None:
    if net["_target_"] == "???":
        net = {"_target_": "torchvision.models.resnet18"}  # the group that leaves the network's name to the user
    if net.get("size") == "auto":
        net = {**net, "size": "s"}  # the device chooses it before anything is built
    with torch.device("meta"):  # shapes alone: vgg11_bn has 129 million parameters
        built = build_network(net, (3, 32, 32), 7).eval()
        assert built(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "gate").glob("*.yaml"))])
def test_every_shipped_gate_weighs_classes_and_experts(name: str) -> None:
    gate = compose(f"gate={name}").gate.net
    with torch.device("meta"):
        built = build_gate(gate, (3, 32, 32), 10, 2, "joint").eval()
        weights, _ = built(torch.zeros(4, 3, 32, 32), torch.zeros(4, 2, 10))
    assert weights.shape == (4, 10, 2)


@pytest.mark.parametrize(("name", "expected"), [("simple_vgg", 2_168_362), ("fat_vgg", 1_488_810)])
def test_the_shipped_networks_of_the_notebook_have_its_parameters(name: str, expected: int) -> None:
    # Worked out in test_vgg.py.
    with torch.device("meta"):
        net = yaml.safe_load((CONF / f"net/{name}.yaml").read_text())
        assert parameters(build_network(net, (3, 32, 32), 10)) == expected


def test_the_shipped_gate_of_the_notebook_has_its_parameters() -> None:
    with torch.device("meta"):
        gate = compose("gate=mlp").gate.net
        assert parameters(build_gate(gate, (3, 32, 32), 10, 2, "joint")) == 1_583_636


def test_torchvisions_networks_get_the_number_of_outputs_and_no_shape() -> None:
    with torch.device("meta"):
        net = build_network({"_target_": "torchvision.models.vgg11_bn", "dropout": 0.25}, (3, 32, 32), 10)
    # 132,868,840 with its 1,000 outputs (torchvision's documentation), less 990 rows of 4,096 weights and a bias.
    assert parameters(net) == 132_868_840 - 990 * 4097
    assert net.classifier[-1].out_features == 10
    assert {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)} == {0.25}


def test_plain_values_become_the_constructors_arguments() -> None:
    net = build_network({**VGG_NET, "dropout": 0.125}, (1, 4, 4), 5)
    assert isinstance(net, VGG)
    assert net.features[0].out_channels == 2
    # 2 channels of 2x2 positions after one pool.
    assert [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)] == [(8, 3), (3, 5)]
    assert net.head[3].p == 0.125
    gate = build_gate({"_target_": "moe.nets.gates.MLPGate", "width": 7}, (1, 4, 4), 5, 3, "per_class")
    assert isinstance(gate, MLPGate) and gate.net[1].out_features == 7
    assert (gate.in_shape, gate.num_classes, gate.num_experts, gate.weights) == ((1, 4, 4), 5, 3, "per_class")


def test_building_leaves_the_config_as_it_was() -> None:
    net = dict(VGG_NET)
    build_network(net, (1, 4, 4), 5)
    assert net == VGG_NET


def test_a_module_added_to_nets_is_built_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(nn.Sequential):
        def __init__(self, in_shape: tuple[int, int, int], num_classes: int) -> None:
            super().__init__(nn.Flatten(), nn.Linear(in_shape[0] * in_shape[1] * in_shape[2], num_classes))

    mine = ModuleType("moe.nets.mine")
    mine.Flat, Flat.__module__ = Flat, "moe.nets.mine"  # type: ignore[attr-defined]
    mine.VGG = VGG  # type: ignore[attr-defined]
    mine.number = lambda in_shape, num_classes: 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "moe.nets.mine", mine)
    built = build_network({"_target_": "moe.nets.mine.Flat"}, (2, 3, 4), 5)
    assert (built[1].in_features, built[1].out_features) == (24, 5)
    # What makes no network, or is only imported there, is not built.
    for name in ("number", "VGG"):
        with pytest.raises(ConfigError, match=rf"^base\.net\._target_: moe\.nets\.mine\.{name} is no network"):
            build_network({"_target_": f"moe.nets.mine.{name}"}, (2, 3, 4), 5, "base.net")


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        ({**VGG_NET, "widht": 3}, "base.net: moe.nets.vgg.VGG cannot be built: .*unexpected keyword argument 'widht'"),
        (
            {"_target_": "torchvision.models.vgg11_bn", "hidden": 3},
            "base.net: torchvision.models.vgg11_bn cannot be built: .*unexpected keyword argument 'hidden'",
        ),
        (
            {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"},
            "base.net.weights: trained weights say ImageNet's classes; networks here begin anew",
        ),
        ({**VGG_NET, "blocks": [2]}, "base.net: moe.nets.vgg.VGG cannot be built: 'int' object is not iterable"),
        ({**VGG_NET, "blocks": [[2]] * 3}, "base.net: .* cannot be built: images of 4x4 are too small for 3 blocks"),
        ({**VGG_NET, "blocks": [[-2]]}, "base.net: moe.nets.vgg.VGG cannot be built: "),
        ({"_target_": "moe.nets.gates.LinearGate"}, "base.net: moe.nets.gates.LinearGate cannot be built: "),
        ({"_target_": "moe.nets.vgg.VGGG"}, "base.net._target_: there is no VGGG in moe.nets.vgg"),
        ({"_target_": "moe.nets.nowhere.VGG"}, "base.net._target_: there is no VGG in moe.nets.nowhere"),
        ({"_target_": "torchvision.models.vgg12"}, "base.net._target_: there is no vgg12 in torchvision.models"),
        ({"_target_": "torchvision.models.vgg"}, "base.net._target_: "),
        ({"_target_": "moe.nets.gates.torch"}, "base.net._target_: "),
        ({"_target_": "moe.nets.gates.WEIGHTS"}, "base.net._target_: "),
        ({"_target_": "torchvision.models.ResNet18_Weights"}, "base.net"),
        ({"_target_": "torchvision.models.list_models"}, "base.net._target_: .* is not an allowed network"),
        ({"_target_": "torch.load"}, "base.net._target_: 'torch.load' is not an allowed network"),
        ({"_target_": "torch.nn.Linear"}, "base.net._target_: 'torch.nn.Linear' is not an allowed network"),
        ({}, "base.net._target_: 'None' is not an allowed network"),
    ],
)
def test_what_cannot_be_built_is_said_with_its_key(net: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        build_network(net, (1, 4, 4), 5, "base.net")


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"_target_": "moe.nets.gates.UniformGate", "width": 3}, "gate: .* unexpected keyword argument 'width'"),
        ({"_target_": "moe.nets.gates.ConvGate", "depth": 3}, "gate: .* gate.depth=3 is too deep for images of 4x4"),
        ({"_target_": "moe.nets.vgg.VGG"}, "gate: moe.nets.vgg.VGG cannot be built: "),
        ({"_target_": "os.system"}, "gate._target_: 'os.system' is not an allowed network"),
    ],
)
def test_a_gate_that_cannot_be_built_is_said_with_its_key(gate: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        build_gate(gate, (1, 4, 4), 5, 2, "joint")


def test_nothing_outside_the_list_is_imported_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    evil = ModuleType("evil")
    evil.run = lambda **given: ran.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "evil", evil)
    for target in ("evil.run", "moe.nets.evil.run.x", "evil"):
        with pytest.raises(ConfigError, match="is not an allowed network"):
            build_network({"_target_": target}, (1, 4, 4), 5)
    assert ran == []


def test_a_gates_depth_is_that_of_its_config() -> None:
    gate = build_gate({"_target_": "moe.nets.gates.ConvGate", "width": 3, "depth": 2}, (1, 4, 4), 5, 2, "joint")
    assert isinstance(gate, ConvGate)
    assert [layer.out_channels for layer in gate.net if isinstance(layer, nn.Conv2d)] == [3, 3]


def test_what_has_a_row_for_each_output() -> None:
    net = {"_target_": "moe.nets.vgg.VGG", "blocks": [[4]], "hidden": 3}
    assert head_names(net, (1, 4, 4)) == {"head.4.weight", "head.4.bias"}


def test_a_start_as_another_network_takes_its_outputs_by_place_even_where_there_are_as_many() -> None:
    torch.manual_seed(0)
    net = {"_target_": "moe.nets.vgg.VGG", "blocks": [[4]], "hidden": 3}
    base, own = (build_network(net, (1, 4, 4), 4) for _ in range(2))
    before = own.head[4].weight.clone()
    # Classes 0, 2 and 3 of four, and one output for the other class.
    start_from_(own, base.state_dict(), [0, 2, 3], head_names(net, (1, 4, 4)))
    assert torch.equal(own.head[4].weight[:3], base.head[4].weight[[0, 2, 3]])
    assert torch.equal(own.head[4].weight[3], before[3])
    assert torch.equal(own.features[0].weight, base.features[0].weight)


def test_a_start_as_a_network_of_another_architecture_is_refused() -> None:
    net = {"_target_": "moe.nets.vgg.VGG", "blocks": [[4]], "hidden": 3}
    own, other = build_network(net, (1, 4, 4), 2), build_network({**net, "hidden": 5}, (1, 4, 4), 4)
    with pytest.raises(ValueError, match="has no counterpart of its shape"):
        start_from_(own, other.state_dict(), [0, 1], {"head.4.weight", "head.4.bias"})


def test_no_blocks_leave_the_hidden_layer() -> None:
    net = build_network({"_target_": "moe.nets.vgg.VGG", "blocks": [], "hidden": 3}, (1, 4, 4), 2)
    assert net(torch.rand(5, 1, 4, 4)).shape == (5, 2)
