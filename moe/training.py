"""Each stage trained or, where the store has it, reused."""

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from moe import assembly, calibration, ddp, frozen, inference
from moe.config import Config, Network, Plain
from moe.data.batches import Pixels
from moe.data.canonical import DataSet
from moe.data.module import ImageDataModule, split_images
from moe.data.splits import SplitIndices
from moe.data.subset import by_group, by_position
from moe.errors import ConfigError
from moe.modules.ensemble import GatedEnsemble
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit
from moe.modules.place import Place
from moe.modules.recipe import RecipeModule, build_optimizer
from moe.modules.router import Router
from moe.nets.build import build_network
from moe.nets.initial import start_from_
from moe.nets.mixture import Frozen
from moe.stages import Stage, num_outputs
from moe.store import Entry, Store
from moe.taxonomy import Tree

log = logging.getLogger(__name__)


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
    team: ddp.Team | None = None

    @property
    def pixels(self) -> Pixels:
        return Pixels(tuple(self.config.data.mean), tuple(self.config.data.std))

    @property
    def device(self) -> torch.device:
        return inference.best_device(self.config.trainer["accelerator"])

    @property
    def select_on(self) -> str:
        """The split that choices read: `val`; in the notebook's protocol the test set."""
        return "test" if self.config.data.splits.protocol == "notebook" else "val"

    def frozen(self, entries: Mapping[str, Entry], split: str, temperatures: Tensor | None = None) -> Frozen:
        """What the frozen networks say of a split, at temperatures (E,) or those of the gates' entry."""
        images = split_images(self.dataset, self.indices, split).images
        if temperatures is None:
            temperatures = assembly.temperatures(entries.get("gates"))
        return frozen.outputs(
            self.config, self.store, self.tree, entries, split, images, self.pixels, self.device, temperatures
        )

    def temperatures(self, entries: Mapping[str, Entry]) -> Tensor | None:
        """Each expert's temperature (E,) where the gates' stage calibrates them."""
        if not self.config.gate.calibrate:
            return None
        held = split_images(self.dataset, self.indices, "gate")
        return calibration.temperatures(self.config, self.store, self.tree, entries, held, self.pixels, self.device)


def check(config: Config, tree: Tree, stages: list[Stage]) -> int:
    """Build every stage's network, optimiser and trainer without memory, so that nothing is trained in vain.

    Returns how many devices train each together. Raises ConfigError, naming the key, for what cannot be built.
    """
    world = ddp.world_size(config.trainer)
    for stage in stages:
        channels, height, width = stage.inputs["in_shape"]
        section = "gate" if stage.kind == "gates" else stage.kind
        _check_pixels(config, section, stage.inputs)
        if stage.inputs["recipe"]["batch_size"] < world:
            raise ConfigError(f"{section}.recipe.batch_size must be at least {world}, an image for each device")
        with torch.device("meta"):
            if stage.kind == "gates":
                assembly.gates(config, tree, (channels, height, width), None)
            else:
                outputs = num_outputs(stage.inputs)
                net = build_network(stage.inputs["net"], (channels, height, width), outputs, f"{section}.net")
                if stage.inputs.get("trunk") == "shared" and not hasattr(net, "trunk"):
                    raise ConfigError("expert.trunk=shared needs a network that says its trunk: fast_vgg or a vgg")
                _check_takes(net, (channels, height, width), f"{section}.net")
            build_optimizer(stage.inputs["recipe"]["optimizer"], [nn.Parameter(torch.empty(1))])
    return world


def _check_pixels(config: Config, section: str, inputs: Plain) -> None:
    channels, *sides = inputs["in_shape"]
    for name in ("mean", "std"):
        if len(getattr(config.data, name)) not in (1, channels):
            raise ConfigError(f"data.{name} must have one number or one for each of the {channels} channels")
    for name in ("shift", "cutout"):
        if inputs["recipe"]["augment"][name] >= min(sides):
            raise ConfigError(f"{section}.recipe.augment.{name} must be below the images' {min(sides)} pixels")


def _check_takes(net: nn.Module, in_shape: Sequence[int], key: str) -> None:
    """In training mode, in which some networks return more than logits."""
    shape = "x".join(map(str, in_shape))
    try:
        said = net.train()(torch.empty(2, *in_shape))
    except (RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{key}: the network cannot take images of {shape}: {why}") from None
    if not isinstance(said, torch.Tensor):
        raise ConfigError(f"{key}: in training the network returns {type(said).__name__}, not logits alone")


def obtain(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> tuple[Entry, bool]:
    """The stage's entry, and whether it was there already. `entries` are those of the stages before it."""
    entry = job.store.get(stage.key)
    if entry is not None:
        log.info("%s: reused %s", stage.name, stage.key)
        return entry, True
    with job.store.lock(stage.key, stage.name):
        entry = job.store.get(stage.key)  # another process may have trained it while this one waited
        if entry is not None:
            log.info("%s: reused %s", stage.name, stage.key)
            return entry, True
        log.info("%s: training %s", stage.name, stage.key)
        start = time.perf_counter()
        fitted = _train(job, stage, entries)
        seconds = time.perf_counter() - start
        record = {
            "kind": stage.kind,
            "name": stage.name,
            "inputs": stage.inputs,
            "seconds": seconds,
            "epoch": fitted.epoch,
            "curves": fitted.curves,
            "machine": machine(job.device, job.team.world if job.team else 1),
        }
        log.info("%s: kept epoch %d of %d after %.0f s", stage.name, fitted.epoch + 1, len(fitted.curves), seconds)
        return job.store.publish(stage.key, record, fitted.weights), False


def machine(device: torch.device, world: int = 1) -> str:
    """The hardware in words: the GPU's name, or the processor's architecture and the threads in use."""
    if world > 1:
        return f"{world} processes, each {machine(device)}"
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), {torch.get_num_threads()} threads"


def _train(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Fitted:
    # Before anything is drawn: outputs that are not in the store yet are computed here, which draws too.
    temperatures = job.temperatures(entries) if stage.kind == "gates" else None
    data = _data(job, stage, entries, temperatures)
    kept = {} if temperatures is None else {assembly.TEMPERATURES: temperatures}
    seed_everything(stage.seed, verbose=False)
    module, prefix = _module(job, stage, entries, data, temperatures)
    network = network_config(job.config, stage.kind)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return Fitted(kept, -1, [])  # a uniform gate has nothing to learn
    logger = job.logger(stage)
    if job.team is not None:
        fitted = job.team.fit(stage.name, stage.key, job.config.plain(), logger, job.folder)
    else:
        fitted = fit(stage.name, module, data, network.recipe, job.config.trainer, logger, job.folder)
    weights = {k.removeprefix(prefix): v for k, v in fitted.weights.items() if k.startswith(prefix)}
    return Fitted({**weights, **kept}, fitted.epoch, fitted.curves)


def fit_at(place: Place, job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Fitted:
    """A stage trained by this process together with others, each at a place of its own."""
    temperatures = job.temperatures(entries) if stage.kind == "gates" else None
    data = _data(job, stage, entries, temperatures)
    seed_everything(stage.seed, verbose=False)
    module, _ = _module(job, stage, entries, data, temperatures)
    # All begin with the same weights, and then draw their dropout apart.
    seed_everything((stage.seed + place.rank) % 2**32, verbose=False)
    trainer = job.config.trainer
    if place.rank > 0:
        trainer = {**trainer, "enable_progress_bar": False}
    recipe = network_config(job.config, stage.kind).recipe
    return fit(stage.name, module, data, recipe, trainer, job.logger(stage), job.folder, place)


def network_config(config: Config, kind: str) -> Network:
    """The config of a stage's kind."""
    return {"base": config.base, "expert": config.expert, "router": config.router, "gates": config.gate}[kind]


def _module(
    job: Job, stage: Stage, entries: Mapping[str, Entry], data: ImageDataModule, temperatures: Tensor | None
) -> tuple[RecipeModule, str]:
    """The stage's LightningModule, and what the names of the weights to keep begin with."""
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
            base = entries["base"]
            places = by_position(base.record["inputs"]["outputs"])
            start_from_(expert.net, base.tensors(), [places[label] for label in inputs["outputs"]])
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


def _data(job: Job, stage: Stage, entries: Mapping[str, Entry], temperatures: Tensor | None) -> ImageDataModule:
    recipe = network_config(job.config, stage.kind).recipe
    fit_on, along = "train", {}
    if stage.kind == "router":
        targets = by_group(stage.node.groups)
    elif stage.kind == "gates":
        targets, fit_on = by_position(job.tree.root.labels), job.config.gate.fit_on
        if job.config.gate.frozen == "stored":
            for split in {fit_on, job.select_on}:
                said = job.frozen(entries, split, temperatures)
                along[split] = (said.experts, said.leaves, said.route)
    else:
        outputs = by_position(stage.inputs["outputs"])
        targets = {label: outputs[label] for label in stage.node.labels}
    return ImageDataModule(
        job.dataset,
        job.indices,
        job.pixels,
        targets,
        recipe,
        stage.seed,
        fit_on,
        job.select_on,
        along,
        rest=stage.inputs.get("rest"),
    )
