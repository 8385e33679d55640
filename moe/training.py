"""Each stage trained or, where the store has it, reused."""

import gc
import logging
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from pytorch_lightning import seed_everything
from torch import Tensor

from moe import assembly, command, cpus, memory
from moe.data.module import ImageDataModule
from moe.errors import DeviceMemoryError, NonFiniteError, StoreError
from moe.job import Job, count_images, datamodule, module, recipe
from moe.modules.checkpoint import Checkpoints
from moe.modules.fit import Fitted, fit
from moe.modules.freed import AT_LEAST, BEFORE_TRAINING
from moe.modules.place import Place
from moe.modules.recipe import RecipeModule
from moe.provenance import git_revision, in_words
from moe.stages import Stage, section
from moe.store import Entry, digest

log = logging.getLogger(__name__)
# A network that has both fewer batches in an epoch and fewer steps in all is said to learn little.
FEW_BATCHES, FEW_STEPS = 10, 100


def warn_of_few_steps(job: Job, stages: Sequence[Stage]) -> None:
    """Say of each section of the config whose network takes the fewest steps, where those are hardly any.

    By batches for tens of thousands of images a network of a few hundred learns next to nothing.
    """
    fewest: dict[str, tuple[int, str]] = {}
    for stage in (stage for stage in stages if stage.kind != "gates"):
        count, own, name = count_images(job, stage), stage.inputs["recipe"], section(stage)
        size, epochs = own["batch_size"], own["epochs"]
        batches = -(-count // size)
        if batches < FEW_BATCHES and batches * epochs < min(FEW_STEPS, fewest.get(name, (FEW_STEPS, ""))[0]):
            said = f"{stage.name} takes {batches * epochs} steps only: {count} images, {size} a batch, {epochs} epochs"
            # And not by smaller batches: those of ten images ruin what learns at the rate of the recipe `fast`.
            more = -(-FEW_STEPS // batches)
            fewest[name] = (batches * epochs, f"{said}; {name}.recipe.epochs={more} makes them more")
    for _, said in fewest.values():
        log.warning(said)


@contextmanager
def enough_memory(stage: Stage | None = None) -> Iterator[None]:
    """Raise DeviceMemoryError, one sentence, where a GPU has no memory left: in training a stage, or in testing."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        # The new error keeps this one, and its frames all that took the memory.
        traceback.clear_frames(error.__traceback__)
        name = "testing" if stage is None else stage.name
        said = f"{name}: {command.out_of_memory(error)}"
        size = 1 if stage is None else stage.inputs["recipe"]["batch_size"]
        if stage is not None and size > 1:
            said += f"; with {section(stage)}.recipe.batch_size={size // 2} a step of training takes half as much"
        raise DeviceMemoryError(f"{said}; nvidia-smi shows what else has the memory") from None


def remedy(stage: Stage) -> str:
    """What may help where a loss or gradient of a stage is not finite: kernels go by Muon's rate, whatever the norm."""
    key, rate = f"{section(stage)}.recipe", "optimizer.lr"
    if stage.inputs["recipe"].get("muon"):
        return f"A smaller learning rate ({key}.muon.lr for kernels, {key}.{rate} for all else) may help"
    return f"A smaller learning rate ({key}.{rate}) or {key}.clip=1.0 may help"


def obtain(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> tuple[Entry, bool]:
    """The stage's entry, and whether it was there already. `entries` are those of the stages before it.

    Raises StoreError where one of these is damaged, NonFiniteError where a loss or gradient was NaN, RankError where
    one of several processes ended.
    """
    entry = _stored(job, stage, entries)
    if entry is not None:
        log.info("%s: reused %s", stage.name, stage.key)
        return entry, True
    with job.store.lock(stage.key, stage.name):
        entry = _stored(job, stage, entries)  # another process may have trained it while this one waited
        if entry is not None:
            log.info("%s: reused %s", stage.name, stage.key)
            return entry, True
        log.info("%s: training %s", stage.name, stage.key)
        start = time.perf_counter()
        fitted = _train(job, stage, entries)
        seconds = fitted.earlier + time.perf_counter() - start
        record = {
            "kind": stage.kind,
            "name": stage.name,
            "inputs": stage.inputs,
            "learnt_from": learnt_from(stage, entries),
            "seconds": seconds,
            "epoch": fitted.epoch,
            "curves": fitted.curves,
            "machine": fitted.machine or machine(job.device),
            "git": git_revision(),
        }
        if fitted.curves:
            log.info("%s: kept epoch %d of %d after %.0f s", stage.name, fitted.epoch + 1, len(fitted.curves), seconds)
        else:
            log.info("%s: there was nothing to learn", stage.name)
        entry = job.store.publish(stage.key, record, fitted.weights)
        checkpoints(job, stage, entries).drop()
        collect(job.device)
        return entry, False


def learnt_from(stage: Stage, entries: Mapping[str, Entry]) -> dict[str, str]:
    """The checksum of the weights of every network that a stage reads, by its key."""
    needs = stage.inputs.get("needs", ())
    return {entry.key: entry.record["sha256"] for entry in entries.values() if entry.key in needs}


def put_aside_outdated(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> None:
    """Put the stage's entry aside where it learnt from networks that were trained anew since.

    Raises StoreError where it is `entries` that are of before.
    """

    def unfit() -> bool:
        try:
            entry = job.store.get(stage.key)
        except StoreError:
            return False  # whoever reads it next will say so
        if entry is None or not entry.outdated(entries.values()):
            return False
        for one in entries.values():
            now = job.store.get(one.key)
            if now is None or now.record["sha256"] != one.record["sha256"]:
                raise StoreError(f"{one.path} was trained anew while this ran; give the command again")
        return True

    job.store.put_aside(stage.key, "learnt from networks that were trained anew since", unfit)


def _stored(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Entry | None:
    put_aside_outdated(job, stage, entries)
    return job.store.get(stage.key)


def checkpoints(job: Job, stage: Stage, entries: Mapping[str, Entry], key: str | None = None) -> Checkpoints:
    """Those of a stage, or of what trains it with others under a `key` of all."""
    reads, seconds = learnt_from(stage, entries), job.config.checkpoint_seconds
    return Checkpoints(job.store.checkpoints, key or stage.key, seconds, digest(reads)[:16] if reads else "")


def machine(device: torch.device) -> str:
    """The hardware in words: the GPU's name, or the processor's architecture, the threads in use and its model.

    The model tells machines of the same instructions apart, which may round sums, or take time, differently.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    said = in_words(f"CPU {platform.machine()} ({capability}), {torch.get_num_threads()} threads")
    return f"{said}, {model}" if (model := cpus.model()) else said


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had at once; None where the system does not say.

    Of a job that shares its process with those before it, theirs too.
    """
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_gpu_memory(device: torch.device) -> int | None:
    """The most bytes of a GPU that this process's tensors have had at once since `begin_peak`; None of a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def begin_peak(device: torch.device) -> None:
    """Let `peak_gpu_memory` forget what jobs before this one, in the same process, held of a GPU."""
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if device.type == "cuda" and begun:  # else they held none, and torch knows no GPU by its number yet
        collect(device)
        torch.cuda.reset_peak_memory_stats(device)


def collect(device: torch.device) -> None:
    """Give back what training that is over holds: a Trainer, its loops and data refer to each other.

    To find those takes time, for which a process that has little memory on a CPU is spared.
    """
    if device.type == "cuda" or (memory.resident() or 0) > BEFORE_TRAINING * AT_LEAST:
        gc.collect()
    memory.give_back()


def _begin(
    job: Job, stage: Stage, entries: Mapping[str, Entry]
) -> tuple[RecipeModule, str, ImageDataModule, dict[str, Tensor]]:
    """A stage's module before training, what its weights' names begin with, its data, what is kept beside them."""
    # Before anything is drawn: outputs that are not in the store yet are computed here, which draws too.
    temperatures = job.temperatures(entries) if stage.kind == "gates" else None
    data = datamodule(job, stage, entries, temperatures)
    seed_everything(stage.seed, verbose=False)
    learner, prefix = module(job, stage, entries, data, temperatures)
    return learner, prefix, data, {} if temperatures is None else {assembly.TEMPERATURES: temperatures}


def _train(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Fitted:
    learner, prefix, data, kept = _begin(job, stage, entries)
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        return Fitted(kept, -1, [])  # a uniform gate has nothing to learn
    logger = job.logger(stage)
    try:
        if job.team is not None:
            if job.device.type == "cuda":
                torch.cuda.empty_cache()  # the first process of the team is another, on this GPU
            fitted = job.team.fit(stage.name, stage.key, job.config.plain(), logger, job.folder)
        else:
            places = (job.folder, None, checkpoints(job, stage, entries))
            fitted = fit(stage.name, learner, data, recipe(job, stage), job.config.trainer, logger, *places)
    except NonFiniteError as error:
        error.args = (f"{error}. {remedy(stage)}",)
        raise
    weights = {k.removeprefix(prefix): v for k, v in fitted.weights.items() if k.startswith(prefix)}
    return replace(fitted, weights={**weights, **kept})


def fit_at(place: Place, job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Fitted:
    """A stage trained by this process together with others, each at a place of its own."""
    learner, prefix, data, _ = _begin(job, stage, entries)
    # All begin with the same weights, and then draw their dropout apart.
    seed_everything((stage.seed + place.rank) % 2**32, verbose=False)
    trainer = job.config.trainer
    if place.rank > 0:
        trainer = {**trainer, "enable_progress_bar": False}
    kept, learns = checkpoints(job, stage, entries), recipe(job, stage)
    fitted = fit(stage.name, learner, data, learns, trainer, job.logger(stage), job.folder, place, kept)
    # Frozen networks beside what learnt may be one and the same in part, which no file of weights can say.
    return replace(fitted, weights={name: w for name, w in fitted.weights.items() if name.startswith(prefix)})
