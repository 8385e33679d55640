"""What it took to train a run's networks, in floating-point operations, reused ones included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moe import assembly, cost
from moe.data.batches import sizes
from moe.data.module import ImageDataModule
from moe.job import Job, datamodule
from moe.modules.callbacks import early_parameters
from moe.modules.muon import orthogonal
from moe.modules.recipe import kernels
from moe.nets.build import build_network
from moe.nets.routing import true_leaf
from moe.schema import Plain
from moe.stages import Stage, num_outputs
from moe.store import Entry
from moe.taxonomy import Tree


def training_flops(
    job: Job,
    stages: Sequence[Stage],
    entries: Mapping[str, Entry],
    asked: cost.Flops | None = None,
    calibration: float = 0.0,
) -> Plain:
    """The operations of each of `stages`, and the `total`; and of what of it the `optimizer` and `calibration` are.

    A network's are those of a forward and a backward pass an image, times the images it learnt from, and those of its
    optimiser's steps (`step_flops`), times the epochs that it was trained, those of its early stopping included: what
    the store says of it, so that it costs the same whichever run trained it. Gates also cost what the frozen networks,
    an image of which takes `asked`, took to speak of the images that they learnt from: once where that is stored, else
    each epoch. `calibration` is what it took the members of a cascade to speak of those by which they are calibrated;
    that of a mixture's experts (`calibration_flops`) is added to it. Validation is not counted.
    """
    each, optimizer = {}, 0.0
    for stage in stages:
        epochs = len(entries[stage.name].record["curves"])
        if stage.kind == "gates":
            each[stage.name] = gates_flops(job, stage, epochs, asked)
            calibration += 0 if asked is None else calibration_flops(job, asked, epochs)
        else:
            an_epoch = epoch_flops(job, stage)
            each[stage.name] = an_epoch.of(epochs)
            optimizer += an_epoch.optimizer * epochs
    total = sum(each.values()) + calibration
    return {"stages": each, "optimizer": optimizer, "calibration": calibration, "total": total}


@dataclass(frozen=True)
class EpochFlops:
    """What an epoch of a network costs: each of the first `early`, in which all of it learns, and any later one.

    `optimizer` is what of either its optimiser's steps are.
    """

    first: float
    later: float
    early: int
    optimizer: float = 0.0

    def of(self, epochs: int) -> float:
        """The operations of so many epochs."""
        early = min(self.early, epochs)
        return early * self.first + (epochs - early) * self.later

    def epochs(self, operations: float) -> int:
        """As many epochs as cost that most nearly, one at least."""
        early = self.early * self.first
        nearest = operations / self.first if operations < early else self.early + (operations - early) / self.later
        return max(1, round(nearest))


def epoch_flops(job: Job, stage: Stage) -> EpochFlops:
    """The operations of an epoch of a network other than gates: passes and steps over all that it learns from."""
    inputs = stage.inputs
    data: ImageDataModule = datamodule(job, stage, {}, None)
    count = data.count(data.fit_on)
    channels, height, width = inputs["in_shape"]
    with torch.device("meta"):
        net = build_network(inputs["net"], (channels, height, width), num_outputs(inputs))
        if inputs.get("trunk") == "shared":
            for layer in net.trunk_layers:  # type: ignore[union-attr]
                layer.requires_grad_(False)
        # Two, since of one image there is no variance to normalise by.
        images = torch.empty(2, channels, height, width)
        steps = step_flops(net, inputs["recipe"], count)
        first = later = cost.learning_flops(net, images)
        early = inputs["recipe"].get("early_epochs")
        if early is not None:
            for parameter in early_parameters(net):
                parameter.requires_grad_(False)
            later = cost.learning_flops(net, images)
    return EpochFlops(first * count + steps, later * count + steps, early or 0, steps)


def step_flops(module: nn.Module, recipe: Mapping[str, Any], count: int) -> float:
    """The operations of the optimiser's steps in an epoch over `count` images.

    Those of Muon's matrix products, for each kernel that a module without memory learns. Optimisers that go element by
    element cost next to nothing beside a pass, and count as activations do, not at all.
    """
    if recipe.get("muon") is None:
        return 0.0
    with torch.device("meta"):
        turns = [
            cost.flops(orthogonal, torch.empty(stacked, len(kernel) // stacked, kernel[0].numel()))
            for kernel, stacked in kernels(module)
        ]
    return float(sum(turns) * len(sizes(count, recipe["batch_size"], bool(recipe.get("even_batches")))))


def gates_flops(job: Job, stage: Stage, epochs: int, asked: cost.Flops | None) -> float:
    """What gates cost, whose optimisers go element by element.

    Under hard routing an image costs what the gate of its true leaf costs, else what all gates do. (On a GPU all are
    asked of each image there too, which is quicker than to wait for who is to be asked; that is not counted.) What a
    cascade spares is not taken off, so that of one this is the most that it cost.
    """
    tree, fit_on = job.tree, job.config.gate.fit_on
    if not epochs:
        return 0.0  # nothing to learn
    channels, height, width = stage.inputs["in_shape"]
    sizes = [len(weighed) for weighed in tree.weighed(job.config.mixture.routing)]
    with torch.device("meta"):
        gates = assembly.gates(job.config, tree, (channels, height, width), None).requires_grad_(True)
        each = [
            cost.learning_flops(gate, torch.empty(2, channels, height, width), torch.empty(2, size, len(tree.classes)))
            for gate, size in zip(gates, sizes, strict=True)
        ]
    labels = job.without_pixels(fit_on).labels
    if job.config.mixture.routing == "hard":
        leaves = true_leaf(tree, labels)
        once = torch.tensor(each, dtype=torch.double)[leaves].sum().item()
    else:
        once = sum(each) * len(labels)
    stored = job.config.gate.frozen == "stored"
    said = 0 if asked is None else frozen_flops(asked, tree, labels, job.config.mixture.routing, stored)
    return once * epochs + said * (1 if stored else epochs)


def calibration_flops(job: Job, asked: cost.Flops, epochs: int) -> float:
    """What the experts take to speak of the images by which they are calibrated, where gates do not learn from that.

    So it is where gates learn from other images, from live networks or, in no epoch, not at all.
    """
    gate = job.config.gate
    if not gate.calibrate or (gate.fit_on != "train" and gate.frozen == "stored" and epochs):
        return 0.0
    count = len(job.without_pixels("train" if gate.fit_on == "folds" else "gate").labels)
    return float((sum(asked.experts) + sum(asked.trunks)) * count)


def frozen_flops(asked: cost.Flops, tree: Tree, labels: Tensor, routing: str, stored: bool) -> float:
    """What the frozen networks take to speak once of images with those labels (N,), an image costing them `asked`.

    All are asked of each image where that is stored, each by itself. Live, under hard routing, only those on its way
    are, which is taken to be the one to its true leaf.
    """
    if stored or routing != "hard":
        alone = sum(asked.trunks) if stored else 0
        return float((sum(asked.experts) + sum(asked.routers) + alone) * len(labels))
    ways = torch.tensor(asked.ways(tree), dtype=torch.double) - torch.tensor(asked.gates, dtype=torch.double)
    return ways[true_leaf(tree, labels)].sum().item()
