"""Small gates over the outputs of three experts, all of it random."""

from dataclasses import asdict

import torch

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.modules.ensemble import GatedEnsemble
from moe.schema import Recipe

BRANCHES = {"x": ["a", "b"], "y": ["c"]}


def data(recipe: Recipe) -> ImageDataModule:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (70, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(70) % 3
    dataset = assemble("noise", ["a", "b", "c"], (images[:60], labels[:60], images[60:], labels[60:]))
    indices = SplitIndices(torch.arange(0), torch.arange(40), torch.arange(40, 60))
    along = {}
    for split, count in (("gate", 40), ("val", 20)):
        experts = torch.rand(count, 3, 3, generator=generator).softmax(dim=2)
        leaves = torch.rand(count, 2, generator=generator).softmax(dim=1)
        along[split] = (experts, leaves, leaves.argmax(dim=1))
    targets = {label: label for label in range(3)}
    return ImageDataModule(dataset, indices, Pixels((0.5,), (0.3,)), targets, recipe, 3, "gate", "val", along)


def ensemble(width: int, dropout: float, recipe: Recipe, routing: str = "hard") -> GatedEnsemble:
    torch.manual_seed(7)
    gate = {"_target_": "moe.nets.gates.MLPGate", "width": width, "dropout": dropout}
    return GatedEnsemble(gate, "joint", [1, 4, 4], ["a", "b", "c"], BRANCHES, routing, asdict(recipe))
