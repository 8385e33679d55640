"""A run's command as its stages see it: what each learns from, and the module that learns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from moe import assembly, calibration, frozen, inference
from moe.data.batches import Pixels
from moe.data.canonical import DataSet, Images
from moe.data.module import ImageDataModule, split_images, without_pixels
from moe.data.splits import SplitIndices
from moe.data.subset import among, by_group, by_position
from moe.ddp import Team
from moe.modules.ensemble import GatedEnsemble
from moe.modules.expert import Expert
from moe.modules.fit import precision_for
from moe.modules.recipe import RecipeModule
from moe.modules.router import Router
from moe.nets.build import head_names
from moe.nets.initial import start_from_
from moe.nets.mixture import Frozen
from moe.schema import Config, Recipe
from moe.stages import Stage, network_config, num_outputs, plan
from moe.store import Entry, Store
from moe.taxonomy import Tree


@dataclass(frozen=True)
class Job:
    """What every stage of a run is trained with.

    `logger` opens the Lightning logger of a stage; `team` trains where several devices do it together.
    """

    config: Config
    tree: Tree
    dataset: DataSet
    indices: SplitIndices
    store: Store
    folder: Path
    logger: Callable[[Stage], Logger | None]
    team: Team | None = None

    @property
    def pixels(self) -> Pixels:
        return Pixels(tuple(self.config.data.mean), tuple(self.config.data.std))

    @property
    def device(self) -> torch.device:
        return inference.best_device(self.config.trainer["accelerator"], self.config.trainer["devices"])

    @property
    def select_on(self) -> str:
        """The split that choices read: `val`; in the notebook's protocol the test set."""
        return "test" if self.config.data.splits.protocol == "notebook" else "val"

    def images(self, split: str) -> Images:
        """A split's images; those of `folds` are those of `train`."""
        return split_images(self.dataset, self.indices, "train" if split == frozen.FOLDS else split)

    def without_pixels(self, split: str) -> Images:
        """As `images`, but with no image: labels and digests alone."""
        return without_pixels(self.dataset, self.indices, "train" if split == frozen.FOLDS else split)

    def frozen(self, entries: Mapping[str, Entry], split: str, temperatures: Tensor | None = None) -> Frozen:
        """What the frozen networks say of a split, at temperatures (E,) or those of the gates' entry."""
        images = self.images(split)
        if temperatures is None:
            temperatures = assembly.temperatures(entries.get("gates"))
        return frozen.outputs(
            self.config, self.store, self.tree, entries, split, images, self.pixels, self.device, temperatures
        )

    def temperatures(self, entries: Mapping[str, Entry]) -> Tensor | None:
        """Each expert's temperature (E,) where the gates' stage calibrates them."""
        if not self.config.gate.calibrate:
            return None
        split = frozen.FOLDS if self.config.gate.fit_on == "folds" else "gate"
        held = self.images(split)
        return calibration.temperatures(
            self.config, self.store, self.tree, entries, split, held, self.pixels, self.device
        )


def planned(job: Job) -> list[Stage]:
    """The stages of the job's config."""
    dataset, precision = job.dataset, precision_for(job.config.trainer)
    return plan(
        job.config,
        job.tree,
        dataset.fingerprint,
        dataset.train.shape,
        precision,
        lambda stage: count_images(job, stage),
    )


def reusable(job: Job, stages: Sequence[Stage]) -> dict[str, Entry]:
    """The store's entries, by the stages' names, that need no training as far as can be said before any."""
    there: dict[str, Entry] = {}
    anew = set[str]()  # the keys of those that learnt, themselves or what they read, from weights that are gone
    for stage in stages:
        sound = job.store.sound(stage.key)
        if sound is not None and (sound.outdated(there.values()) or anew & set(stage.inputs.get("needs", ()))):
            anew.add(stage.key)
        elif sound is not None:
            there[stage.name] = sound
    return there


def count_images(job: Job, stage: Stage) -> int:
    """How many images a stage learns from."""
    if stage.kind == "gates":
        return len(job.indices.gate if job.config.gate.fit_on == "gate" else job.indices.train)
    return datamodule(job, stage, {}, None).count("train")


def recipe(job: Job, stage: Stage) -> Recipe:
    """How a stage learns: as its section of the config says, a base as long as `base.match` makes it."""
    return replace(network_config(job.config, stage).recipe, epochs=stage.inputs["recipe"]["epochs"])


def module(
    job: Job, stage: Stage, entries: Mapping[str, Entry], data: ImageDataModule, temperatures: Tensor | None
) -> tuple[RecipeModule, str]:
    """The stage's LightningModule before training, and what the names of the weights to keep begin with."""
    inputs, config = stage.inputs, job.config
    if stage.kind == "router":
        branches = [child.name for child in stage.node.children]
        router = Router(inputs["net"], inputs["in_shape"], branches, inputs["recipe"])
        data.prepare_network(router.net)
        return router, "net."
    if stage.kind != "gates":
        shared = inputs.get("trunk") == "shared"
        expert = Expert(inputs["net"], inputs["in_shape"], num_outputs(inputs), inputs["recipe"], shared)
        if "needs" in inputs:
            start = next(entry for entry in entries.values() if entry.key == inputs["needs"][0])
            places = by_position(start.record["inputs"]["outputs"])
            own = [places[label] for label in inputs["outputs"]]
            start_from_(expert.net, start.tensors(), own, head_names(inputs["net"], tuple(inputs["in_shape"])))
        else:
            data.prepare_network(expert.net)
        return expert, "net."
    live = config.gate.frozen != "stored"
    ensemble = GatedEnsemble(
        config.gate.net,
        config.gate.weights,
        inputs["in_shape"],
        list(job.tree.classes),
        config.taxonomy.branches,
        config.mixture.routing,
        asdict(config.gate.recipe),
        frozen_dropout=config.gate.frozen == "live_dropout",
        experts=assembly.experts(config, job.tree, entries, temperatures) if live else (),
        routers=assembly.routers(config, job.tree, entries) if live else (),
        cascade=config.mixture.cascade,
    )
    return ensemble, "mixture.gates."


def datamodule(job: Job, stage: Stage, entries: Mapping[str, Entry], temperatures: Tensor | None) -> ImageDataModule:
    """The images that a stage learns and chooses from; gates' with what the frozen networks say of them.

    `temperatures` (E,) are the experts'.
    """
    fit_on, along = "train", {}
    if stage.kind == "router":
        targets = by_group(stage.node.groups)
    elif stage.kind == "gates":
        targets, seen = by_position(job.tree.root.labels), job.config.gate.fit_on
        fit_on = "train" if seen == frozen.FOLDS else seen
        if job.config.gate.frozen == "stored":
            for split, what in ((fit_on, seen), (job.select_on, job.select_on)):
                said = job.frozen(entries, what, temperatures)
                along[split] = (said.experts, said.leaves, said.route)
    else:
        targets = among(stage.inputs["outputs"], stage.node.labels)
    return ImageDataModule(
        job.dataset,
        job.indices,
        job.pixels,
        targets,
        recipe(job, stage),
        stage.seed,
        fit_on,
        job.select_on,
        along,
        rest=stage.inputs.get("rest"),
        fold=stage.inputs.get("fold"),
    )
