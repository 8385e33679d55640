"""The gates of many jobs trained at once: what `hydra/launcher=together` has in place of `moe.training.obtain`.

Which other gates a gate was trained with decides the last bits of its weights, since a matrix product's rounding
depends on its size. So they are part of its key: gates trained together are never taken for gates trained alone.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace

import torch
from pytorch_lightning import seed_everything
from torch import nn

from moe import assembly, training
from moe.data.batches import sizes
from moe.errors import ConfigError, NonFiniteError, StoreError
from moe.job import Job, count_images, datamodule, module, planned, recipe
from moe.modules.callbacks import log_again
from moe.modules.ensemble import GatedEnsemble
from moe.modules.together import GatesTogether, fit_together, obstacle
from moe.nets.mixture import Mixture
from moe.nets.stacked import StackedMixture, stackable
from moe.provenance import code_digest, git_revision
from moe.schema import Config, Plain
from moe.sizes import resolved
from moe.stages import Stage
from moe.store import Entry, digest
from moe.sweep import company

log = logging.getLogger(__name__)
# By the key that gates would have alone: what came of them in this process.
_trained: dict[str, NonFiniteError | None] = {}
# The gates in the store, by key; an entry does not change until it is put aside.
_known: dict[str, Entry] = {}
# What the jobs of a company have in common beside what their stages' inputs say.
SHARED = ("data", "taxonomy", "trainer", "paths", "mixture", "target")


def obtain(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> tuple[Stage, Entry, bool]:
    """As `moe.training.obtain`, and the stage itself, which of gates that were trained together is another.

    Raises NonFiniteError where the gates were trained with others and failed.
    """
    new, in_company = False, stage.kind == "gates" and bool(company.members())
    if in_company:
        _put_aside_outdated(job, as_stored(job, stage), entries)
    if in_company and job.store.get(stage.key) is None:
        if stage.key not in _trained and stage.key not in _together(job, entries):
            _train_company(job, stage, entries)
        error = _trained.get(stage.key)
        if error is not None:
            raise NonFiniteError(f"{error}. {training.remedy(stage)}")
        new = stage.key in _trained
        _trained.pop(stage.key, None)
        stage = replace(stage, inputs=_together(job, entries).get(stage.key, stage.inputs))
    entry, reused = training.obtain(job, stage, entries)
    if new and job.config.logger.kind == "csv":  # W&B's run gets the curves with the results
        _log_curves(job, stage, entry)
    return stage, entry, reused and not new


def as_stored(job: Job, stage: Stage) -> Stage:
    """The stage as the store has it: gates trained with those of other jobs have another key than alone."""
    if stage.kind != "gates" or not company.members() or job.store.sound(stage.key) is not None:
        return stage
    return replace(stage, inputs=_together(job, {}).get(stage.key, stage.inputs))


def _put_aside_outdated(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> None:
    training.put_aside_outdated(job, stage, entries)
    _known.pop(stage.key, None)


def _log_curves(job: Job, stage: Stage, entry: Entry) -> None:
    logger = job.logger(stage)
    assert logger is not None
    how = recipe(job, stage)
    batches = len(sizes(count_images(job, stage), how.batch_size, bool(how.even_batches)))
    log_again(logger, entry.record["curves"], batches)
    logger.save()


def _together(job: Job, entries: Mapping[str, Entry]) -> dict[str, Plain]:
    """The inputs of all gates in the store that this code trained together, by the key that they would have alone.

    Those that learnt from other weights than those of `entries` are left out.
    """
    found, code = {}, _code()
    for key in (key for key in job.store.present() if key.startswith("gates-")):
        gates = _known.get(key)
        if gates is None or gates.outdated(entries.values()):  # another process may have trained them anew meanwhile
            with suppress(StoreError):  # a damaged one is that job's own trouble, which will say so
                gates = job.store.get(key)
        if gates is None or gates.outdated(entries.values()):
            continue
        _known[key], inputs = gates, dict(gates.record["inputs"])
        if inputs.pop("together", {}).get("code") == code:
            found[f"gates-{digest(inputs)[:16]}"] = dict(gates.record["inputs"])
    return found


def _train_company(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> None:
    """Train a job's gates and all that can be trained with them, and publish each; nothing where it is alone."""
    members = _members(job, stage, entries)
    why = _obstacle(job, stage)
    if why is not None or len(members) < 2:
        log.info("%s: trained alone: %s", stage.name, why or "no other job that is left has gates like these")
        return
    keys = list(members)
    of_all = {"code": _code(), "with": keys}
    key_of_all = f"together-{digest(of_all)[:16]}"
    with job.store.lock(key_of_all, f"{len(keys)} jobs' gates"):
        if stage.key in _together(job, entries):
            return  # another process has trained them while this one waited
        log.info("%s: training those of %d jobs together", stage.name, len(keys))
        start = time.perf_counter()
        temperatures = job.temperatures(entries)
        data = datamodule(job, stage, entries, temperatures)
        kept = {} if temperatures is None else {assembly.TEMPERATURES: temperatures}
        random, mixtures = list[torch.Tensor](), list[Mixture]()
        for config, own in members.values():
            seed_everything(own.seed, verbose=False)
            alone, _ = module(replace(job, config=config), own, entries, data, temperatures)
            assert isinstance(alone, GatedEnsemble)
            mixtures.append(alone.mixture)
            random.append(torch.get_rng_state())
        recipe = job.config.gate.recipe
        together = GatesTogether(stage.name, mixtures, random, stage.seed, asdict(recipe))
        checkpoints = training.checkpoints(job, stage, entries, key_of_all)
        found, earlier = fit_together(together, data, recipe, job.config.trainer, job.folder, checkpoints)
        seconds = (earlier + time.perf_counter() - start) / len(keys)
        for (key, (_, own)), fitted in zip(members.items(), found, strict=True):
            _trained[key] = fitted if isinstance(fitted, NonFiniteError) else None
            if isinstance(fitted, NonFiniteError):
                continue
            inputs = {**own.inputs, "together": of_all}
            record = {
                "kind": own.kind,
                "name": own.name,
                "inputs": inputs,
                "learnt_from": training.learnt_from(own, entries),
                "seconds": seconds,
                "together": len(keys),
                "epoch": fitted.epoch,
                "curves": fitted.curves,
                "machine": training.machine(job.device),
                "git": git_revision(),
            }
            stored = replace(own, inputs=inputs)
            _put_aside_outdated(job, stored, entries)
            job.store.publish(stored.key, record, {**fitted.weights, **kept})
        checkpoints.drop()
        log.info("%s: %d jobs' gates took %.1f s each", stage.name, len(keys), seconds)


def _obstacle(job: Job, stage: Stage) -> str | None:
    """Why a job's gates can be trained with no others, whichever they are, or None."""
    if job.config.gate.frozen != "stored":
        return f"gate.frozen={job.config.gate.frozen}"
    if job.config.mixture.cascade is not None:
        return f"mixture.cascade={job.config.mixture.cascade}"
    if not all(stackable([gate]) for gate in _built(job, job.config, stage)):
        return f"{stage.inputs['net']['_target_'].rpartition('.')[2]} cannot be stacked"
    key = obstacle(job.config.gate.recipe, job.config.trainer)
    return f"{key} as it is" if key else None


def _built(job: Job, config: Config, stage: Stage) -> nn.ModuleList:
    """A job's gates without memory."""
    channels, height, width = stage.inputs["in_shape"]
    with torch.device("meta"):
        return assembly.gates(config, job.tree, (channels, height, width), None)


def _members(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> dict[str, tuple[Config, Stage]]:
    """`_company` in the order of the keys: a checkpoint has all in that order, however the jobs are asked for."""
    return dict(sorted(_company(job, stage, entries), key=lambda one: one[0]))


def _code() -> str:
    return code_digest(f"{StackedMixture.__module__}.StackedMixture")


def _company(job: Job, stage: Stage, entries: Mapping[str, Entry]) -> Iterator[tuple[str, tuple[Config, Stage]]]:
    """The gates, by key, that can be trained with those of `stage`, itself first, and that the store lacks."""
    known, own = _together(job, entries), _built(job, job.config, stage)
    inputs = stage.inputs
    for config in (job.config, *(resolved(member, say=False) for member in company.members())):
        if any(getattr(config, name) != getattr(job.config, name) for name in SHARED):
            continue
        other = planned(replace(job, config=config))[-1]
        if {**other.inputs, "net": None} != {**inputs, "net": None}:
            continue
        try:
            gates = _built(job, config, stage)
        except ConfigError:
            continue  # that job itself will say so
        alike = all(stackable(pair) for pair in zip(own, gates, strict=True))
        alone = job.store.get(other.key)
        there = other.key in known or (alone is not None and not alone.outdated(entries.values()))
        if alike and (not there or other.key == stage.key) and other.key not in _trained:
            yield other.key, (config, other)
