"""The gated ensembles that the tests of gates' training share."""

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from quick import short_recipe
from torch import Tensor, nn

from moe.modules.ensemble import GatedEnsemble

CONSTANT = {"_target_": "moe.nets.gates.ConstantGate"}
SHAPE = [1, 2, 2]
TWO = {"x": ["a"], "y": ["b"]}
recipe = partial(short_recipe, optimizer={"_target_": "torch.optim.SGD", "lr": 1e-30})


def ensemble(gate: dict[str, Any], branches: dict[str, Any], classes: str, routing: str, **more: Any) -> GatedEnsemble:
    values = {"weights": "per_expert", "recipe": asdict(recipe()), **more}
    return GatedEnsemble(gate, in_shape=SHAPE, classes=list(classes), branches=branches, routing=routing, **values)


def constants(module: GatedEnsemble) -> list[nn.Parameter]:
    return [gate.constant for gate in module.mixture.gates]  # type: ignore[misc]


def batch(count: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE, generator=generator) * 3, torch.arange(count) % 6
