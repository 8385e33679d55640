"""In which mode everything is while the Trainer trains: what is frozen is as it is once trained."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from noise import BRANCHES
from quick import TRAINER, short_recipe
from torch import Tensor, nn

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.modules.ensemble import GatedEnsemble
from moe.modules.expert import Expert
from moe.modules.fit import fit
from moe.nets.build import build_network
from moe.nets.class_expert import ClassExpert
from moe.schema import Recipe

FAST = {"_target_": "moe.nets.fast_vgg.FastVGG", "size": "s", "widths": [4, 6, 8]}
DROPS = {"_target_": "moe.nets.vgg.VGG", "blocks": [[2], [3]], "hidden": 4, "dropout": 0.5, "conv_dropout": 0.25}


def images(recipe: Recipe) -> ImageDataModule:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (42, 3, 32, 32), generator=generator).byte()
    labels = torch.arange(42) % 2
    whole = assemble("noise", "ab", (pixels[:40], labels[:40], pixels[40:], labels[40:]))
    every = torch.arange(40)
    indices = SplitIndices(every[8:], every[:0], every[:8])
    return ImageDataModule(whole, indices, Pixels((0.0,), (1.0,)), {0: 0, 1: 1}, recipe, 0)


RECIPE = short_recipe(
    optimizer={"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}, epochs=3, batch_size=8, averaging=0.5
)


class Watched(Expert):
    """Keeps the modes of its modules at every step."""

    seen: list[dict[str, bool]]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        self.seen.append({name: module.training for name, module in self.named_modules()})
        return super().training_step(batch, batch_index)


@pytest.mark.parametrize("net", [FAST, DROPS])
def test_a_trunk_that_is_shared_is_the_bases_to_the_bit_after_training(net: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Watched(net, [3, 32, 32], 2, asdict(RECIPE), frozen_trunk=True)
    module.seen = []
    before = {name: tensor.clone() for name, tensor in module.net.state_dict().items()}
    trunk = {id(layer) for part in module.frozen for layer in part.modules()}
    inside = {name for name, layer in module.named_modules() if id(layer) in trunk}
    fitted = fit("curved", module, images(RECIPE), RECIPE, TRAINER, None, tmp_path)
    # Four steps an epoch, after each of which there is a validation.
    assert len(module.seen) == 12 and len(inside) > 3
    for modes in module.seen:
        assert not any(modes[name] for name in inside)
        assert all(training for name, training in modes.items() if name.startswith("net.") and name not in inside)
    tensors = {name for name in before if any(f"net.{name}".startswith(f"{place}.") for place in inside)}
    moved = {name for name, tensor in before.items() if not torch.equal(fitted.weights[f"net.{name}"], tensor)}
    assert tensors and not moved & tensors
    assert moved
    if net is FAST:  # of what is its own, running means moved too
        assert any(name.endswith("running_mean") for name in moved)
        assert any(name.endswith("running_mean") for name in tensors)


def test_a_trunks_normalisations_stay_in_evaluation_mode_where_others_take_their_place() -> None:
    module = Expert(FAST, [3, 32, 32], 2, asdict(RECIPE), frozen_trunk=True)
    module.net = Normalised()
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(module).train()
    assert isinstance(synchronised, Expert) and isinstance(synchronised.net.norm, nn.SyncBatchNorm)
    assert not synchronised.net.norm.training and synchronised.net.head.training


class Normalised(nn.Module):
    """A network that names a normalisation of its trunk by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    @property
    def trunk_layers(self) -> list[nn.Module]:
        return [self.norm]


def test_without_a_shared_trunk_all_of_an_expert_trains(tmp_path: Path) -> None:
    module = Watched(FAST, [3, 32, 32], 2, asdict(RECIPE))
    module.seen = []
    fit("base", module, images(RECIPE), RECIPE, TRAINER, None, tmp_path)
    networks = [training for modes in module.seen for name, training in modes.items() if name.startswith("net.")]
    assert len(networks) > 12 and all(networks)


@pytest.mark.parametrize("frozen_dropout", [False, True])
def test_the_dropout_of_frozen_networks_is_active_in_training_where_asked(frozen_dropout: bool, tmp_path: Path) -> None:
    recipe = short_recipe(optimizer={"_target_": "torch.optim.Adam", "lr": 0.01}, epochs=2, batch_size=8)
    experts = [ClassExpert(build_network(DROPS, (3, 32, 32), n), range(n), 3) for n in (3, 2)]
    gate = {"_target_": "moe.nets.gates.LinearGate"}
    arguments = (gate, "joint", [3, 32, 32], ["a", "b", "c"], BRANCHES, "none", asdict(recipe), frozen_dropout)
    module = GatedEnsemble(*arguments, experts=[*experts, ClassExpert(None, [2], 3)])
    seen: list[tuple[int, int]] = []

    def look(gate: nn.Module, *_: object) -> None:
        if module.trainer.training:
            frozen = [layer for expert in module.mixture.experts for layer in expert.modules()]
            dropouts = [layer for layer in frozen if isinstance(layer, nn.modules.dropout._DropoutNd)]
            seen.append((len(dropouts), sum(layer.training for layer in dropouts)))
            assert sum(layer.training for layer in frozen) == seen[-1][1] and gate.training

    module.mixture.gates[0].register_forward_pre_hook(look)
    fit("gates", module, images(recipe), recipe, TRAINER, None, tmp_path)
    # Two networks of a dropout after each of two blocks and one before the head, four steps in each of two epochs.
    assert seen == [(6, 6 if frozen_dropout else 0)] * 8
