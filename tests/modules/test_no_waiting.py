"""No step waits for the device.

The steps run on torch's `meta` device, which holds no values: whatever needs one, as `.item()`, an `if` on a tensor or
a choice of rows by a mask, is an error there. What is brought from the CPU, which on a GPU is waited for too, is noted.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import moe
from moe.data.augment import augment, normalise
from moe.modules.callbacks import AveragedWeights, FiniteGuard
from moe.modules.ensemble import GatedEnsemble
from moe.modules.expert import Expert
from moe.modules.lookahead import Lookahead
from moe.modules.recipe import optimizer_of
from moe.modules.step_loss import StepLoss
from moe.nets import mixture, stacked
from moe.nets.mixture import Frozen
from moe.nets.routing import route_by_base
from moe.nets.stacked import StackedMixture
from moe.schema import Augment

B, K, E = 6, 10, 3
META = torch.device("meta")


class Brought(TorchDispatchMode):
    """Notes operations that have tensors of the CPU beside those of the device; numbers are no such tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        on_cpu = any(x.device.type == "cpu" and (x.dim() or function is torch.ops.aten._to_copy.default) for x in given)
        if on_cpu and any(x.device == META for x in given):
            self.found.append(str(function))
        return out


class Listed(TorchFunctionMode):
    """Notes what makes a tensor on the device of Python's numbers: `tensor` and lists that are an index."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            made = any(isinstance(part, list) for part in index)
        else:
            made = function in (torch.tensor, torch.as_tensor) and out.device == META
        if made:
            self.found.append(str(function))
        return out


def brought(step: Callable[[], Any]) -> list[str]:
    with Brought() as operations, Listed() as calls:
        step()
    return operations.found + calls.found


class Picks(TorchDispatchMode):
    """Counts what a device is waited for where the number of rows is not known: places of a mask, choices by one."""

    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        chosen = function in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)
        masks = chosen and any(x is not None and x.dtype == torch.bool for x in args[1])
        self.count += function is torch.ops.aten.nonzero.default or masks
        return function(*args, **(kwargs or {}))


class Says(nn.Module):
    """An expert whose probabilities are those that an image begins with."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :K].softmax(dim=1)


def frozen() -> Frozen:
    return Frozen(
        torch.empty(B, E, K, device=META),
        torch.empty(B, 2, device=META),
        torch.empty(B, dtype=torch.long, device=META),
    )


def batch() -> tuple[Tensor, Tensor]:
    return torch.empty(B, 3, 32, 32, device=META), torch.empty(B, dtype=torch.long, device=META)


composed = functools.cache(moe.compose)


def ensemble(
    kind: str, routing: str = "hard", cascade: float | None = None, device: torch.device = META, **arguments: Any
) -> GatedEnsemble:
    config = composed()
    net = {"_target_": f"moe.nets.gates.{kind}", **arguments}
    classes, branches = list(config.data.classes or []), config.taxonomy.branches
    recipe = asdict(config.gate.recipe)
    made = GatedEnsemble(net, "joint", [3, 32, 32], classes, branches, routing, recipe, cascade=cascade)
    return made.to(device).train()


def test_the_check_sees_what_it_is_for() -> None:
    device = torch.empty(3, device=META)
    assert brought(lambda: device + device) == []
    assert len(brought(lambda: device[[0, 2]])) == 1
    assert len(brought(lambda: torch.tensor([1.0], device=META))) == 1
    assert len(brought(lambda: torch.ones(3).to(META))) == 1
    with pytest.raises((NotImplementedError, RuntimeError)):
        brought(lambda: device[device > 0])
    with pytest.raises((NotImplementedError, RuntimeError)):
        brought(lambda: device.sum().item())


NETS = [
    {"_target_": "moe.nets.fast_vgg.FastVGG", "widths": [4, 8, 8]},
    {"_target_": "moe.nets.cond_vgg.CondVGG", "widths": [4, 8, 8], "kernels": 2},
    {"_target_": "moe.nets.vgg.VGG", "blocks": [[4, 4], [8]], "hidden": 8, "dropout": 0.5},
]


@pytest.mark.parametrize("held", [1, 2**18])  # steps summed up by this step, and by a later one
@pytest.mark.parametrize("net", NETS)
def test_an_experts_step_waits_for_nothing(net: dict[str, Any], held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.modules.means.HELD", held)
    config = composed()
    module = Expert(net, [3, 32, 32], K, asdict(config.base.recipe)).to(META).train()
    module.train_means.begin(META)
    assert brought(lambda: module.training_step(batch(), 0).backward()) == []
    assert module.train_means._count == B


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("overrides", [(), ("base.recipe.muon=null",)], ids=["muon", "sgd"])
def test_what_a_step_has_beside_its_network_waits_for_nothing(overrides: tuple[str, ...], clip: float | None) -> None:
    recipe = asdict(moe.compose(*overrides).base.recipe)
    module = Expert(NETS[0], [3, 32, 32], K, recipe).to(META).train()
    module.train_means.begin(META)
    optimizer = optimizer_of(module, recipe)
    guard, average = FiniteGuard("base", 100, clip), AveragedWeights(0.9)
    ahead, said = Lookahead(1, 0.5), StepLoss(100)
    average._average_model = SimpleNamespace(module=copy.deepcopy(module))  # type: ignore[assignment]
    trainer: Any = SimpleNamespace(world_size=1, global_step=0, is_last_batch=False, logger=object())
    ahead.on_train_start(trainer, module)

    def step() -> None:
        trainer.global_step += 1
        loss = module.training_step(batch(), 0)
        for looks in (guard, said):
            looks.on_before_backward(trainer, module, loss)
        loss.backward()
        guard.on_before_optimizer_step(trainer, module, optimizer)
        optimizer.step()
        for callback in (guard, said, average, ahead):
            callback.on_train_batch_end(trainer, module, None, None, 0)

    # The first step takes the weights as they are, the second makes an average.
    assert brought(step) == [] and brought(step) == []
    assert average._latest_update_step == 2


@pytest.mark.parametrize("flip", [True, "alternating"])
def test_images_are_made_without_waiting(flip: bool | str) -> None:
    mirrored = torch.empty(B, dtype=torch.bool, device=META) if flip == "alternating" else None
    drawn: Any = None  # a generator is of a device that holds values

    def make() -> Tensor:
        images = normalise(batch()[0].byte(), (0.5, 0.4, 0.3), (0.2,))
        return augment(images, Augment(flip=flip, shift=2, cutout=8), drawn, mirrored)

    make()  # what the images are normalised by is sent there once
    assert brought(make) == []


@pytest.mark.parametrize("gate", ["MLPGate", "ConvGate", "LinearGate", "ConfidenceGate", "ConstantGate"])
@pytest.mark.parametrize(("routing", "cascade"), [("hard", None), ("hard", 0.9), ("soft", None), ("none", None)])
def test_a_step_of_gates_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, gate: str, routing: str, cascade: float | None
) -> None:
    monkeypatch.setattr("moe.modules.means.HELD", 1)  # with all that many steps have held summed up
    monkeypatch.setattr(mixture, "everywhere", lambda module, images: module.training)  # as on a GPU
    module = ensemble(gate, routing, cascade)
    module.train_means.begin(META)
    said = frozen()
    given = (*batch(), said.experts, said.leaves, said.route)
    assert brought(lambda: module.training_step(given, 0).backward()) == []
    assert all(parameter.grad is not None for parameter in module.parameters())


# The images of each of two branches, and with a cascade before that those that stay and those that go on.
@pytest.mark.parametrize(("cascade", "waits"), [(None, 2), (0.9, 4)])
def test_routing_waits_once_for_each_way_that_an_image_can_go(cascade: float | None, waits: int) -> None:
    made = ensemble("ConstantGate", "hard", cascade, torch.device("cpu")).eval().mixture
    made.experts = nn.ModuleList(Says() for _ in range(E))
    images = torch.zeros(4, 3, 2, 2)
    images.flatten(1)[range(4), [0, 2, 8, 3]] = torch.tensor([2.0, 2.0, 9.0, 9.0])  # the last two are sure
    with Picks() as picks, Listed() as calls:
        said = made.frozen(images)
    assert (picks.count, calls.found) == (waits, [])
    assert said.route.tolist() == [0, 1, 0, 1]
    with Picks() as picks:
        made.combine(images, said)
    assert picks.count == 2  # one for each leaf
    root = made.tree.root
    assert brought(lambda: route_by_base(torch.empty(B, K, device=META), root)) == []


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_a_step_of_gates_together_waits_for_nothing(monkeypatch: pytest.MonkeyPatch, routing: str) -> None:
    monkeypatch.setattr(stacked, "everywhere", lambda module, images: module.training)
    each = [ensemble("MLPGate", routing, width=width, dropout=0.0).mixture for width in (4, 8)]
    module = StackedMixture(each).to(META).train()

    def step() -> None:
        probabilities, _ = module(batch()[0], frozen(), [Generator() for _ in each])
        probabilities.log().mean().backward()  # type: ignore[no-untyped-call]

    assert brought(step) == []
