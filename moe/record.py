"""What a run leaves: the one test on the test split, results, predictions, report, W&B's summary."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from moe import assembly, calibration, cost, frozen, inference, metrics, results, wandb_results
from moe.data.module import split_sizes
from moe.data.subset import among, by_group, filter_labels
from moe.job import Job
from moe.loggers import StageLoggers
from moe.modules.fit import precision_for
from moe.nets.members import Members
from moe.nets.routing import hard_route
from moe.provenance import git_revision, versions
from moe.report.page import REPORT
from moe.results.measure import measure, measure_classifier, measure_router
from moe.results.predictions import PREDICTIONS, write_predictions
from moe.schema import Plain
from moe.stages import Stage, router_name
from moe.store import Entry, digest, sweep
from moe.training import machine, peak_gpu_memory, peak_memory
from moe.training_cost import training_flops

log = logging.getLogger(__name__)

# Of the gates of many jobs trained together the seconds are a job's share, and `together` is how many they were.
# The commit is that by which the network was trained.
SPENT = ("seconds", "machine", "together", "git")


def record(
    job: Job, stages: list[Stage], entries: Mapping[str, Entry], reused: Mapping[str, bool], loggers: StageLoggers
) -> Plain:
    """Test every network once, write what the run leaves in its folder, and return the results."""
    config, tree, test = job.config, job.tree, job.dataset.test
    found: Plain = {
        "schema": results.SCHEMA,
        "experiment": config.experiment,
        "target": config.target,
        "seed": config.seed,
        "key": f"run-{digest([stage.key for stage in stages])[:16]}",
        "config": config.plain(),
        "versions": versions(),
        "git": git_revision(),
        "machine": machine(job.device),
        "precision": precision_for(config.trainer),
        "seconds": {
            name: {**{key: entry.record[key] for key in SPENT if key in entry.record}, "reused": reused[name]}
            for name, entry in entries.items()
        },
        "data": _data(job),
        "val": None,
        "test": None,
        "stages": {s.name: _stage(job, s, entries[s.name]) for s in stages if s.kind != "gates"},
        "matched": None if config.base.match == "none" else _matched(stages),
        "baselines": None,
        "verdict": None,
        "cost": None,
    }
    predictions: inference.Predictions | inference.Averaged | None = None
    if config.target == "gates":
        found["stages"]["gates"] = {"key": entries["gates"].key, "kind": "gates", "test": None}
        mixture = assembly.mixture(config, tree, entries)
        dense = job.frozen(entries, "test")
        mixed = inference.predict_stored(mixture, test.images, job.pixels, dense)
        select = job.images(job.select_on)
        chosen = inference.mix_stored(mixture, select.images, job.pixels, job.frozen(entries, job.select_on))
        found["val"] = _scores(chosen.probabilities, select.labels)
        found.update(measure(tree, mixture, test.images, test.labels, job.pixels, mixed, dense))
        each = cost.mixture_flops(mixture.cpu(), test.shape, tree)
        found["cost"] = cost.cost(mixture, each, mixed, tree)
        found["cost"]["training_flops"] = training_flops(job, stages, entries, each)
        found["stages"]["gates"]["test"] = {"accuracy": found["test"]["accuracy"], "count": len(test.labels)}
        # The report shows how probable the ways not taken were, too.
        predictions = replace(mixed, leaves=dense.leaves)
    elif config.target == "base":
        temperatures = _temperatures(job, stages, entries)
        for stage, temperature in zip(stages, temperatures or (), strict=temperatures is not None):
            found["stages"][stage.name]["temperature"] = temperature
        members = assembly.members(config, entries, temperatures)
        chosen_by, _ = members.combine(_said(job, stages, entries, job.select_on, members))
        found["val"] = _scores(chosen_by, job.without_pixels(job.select_on).labels)
        predictions = inference.Averaged(*members.combine(_said(job, stages, entries, "test", members)))
        found["test"] = measure_classifier(tree, predictions.probabilities, test.labels)
        found["cost"] = cost.members_cost(members, test.shape, predictions.asked)
        spoke = 0 if temperatures is None else len(job.without_pixels("gate").labels)
        calibration = spoke * found["cost"]["flops_per_image"]["dense"]
        found["cost"]["training_flops"] = training_flops(job, stages, entries, calibration=calibration)
    elif config.target == "router":
        found["test"] = measure_router(tree, _route(job, entries), test.labels)
    _finish(job, stages, entries, found, predictions, loggers)
    return found


def clear(folder: Path) -> None:
    """Remove what an earlier run left in `folder`, half or whole, before the files of this one come one by one."""
    for name in (results.RESULTS, PREDICTIONS, REPORT):
        sweep(folder / name, 0)
        (folder / name).unlink(missing_ok=True)


def _finish(
    job: Job,
    stages: list[Stage],
    entries: Mapping[str, Entry],
    found: Plain,
    predictions: inference.Predictions | inference.Averaged | None,
    loggers: StageLoggers,
) -> None:
    mixed = predictions if isinstance(predictions, inference.Predictions) else None
    clear(job.folder)
    if predictions is not None:
        write_predictions(job.folder, predictions, job.dataset.test.labels)
    if job.config.report:
        from moe.report import run as report

        curves = {name: entry.record["curves"] for name, entry in entries.items()}
        test = job.dataset.test
        report.write(job.folder, found, job.tree, curves, mixed, test.labels, test.images)
    # At the end, since the test and the report take memory, too. Of several devices other processes train, whose memory
    # this one does not know.
    found["peak_memory_bytes"] = peak_memory() if job.team is None else None
    found["peak_gpu_memory_bytes"] = peak_gpu_memory(job.device) if job.team is None else None
    wandb_results.log_results(job, stages[-1], entries, found, mixed, loggers)
    results.write(job.folder, found)
    log.info("%s", results.table(found))
    log.info("run folder  %s", job.folder)
    log.info("results     %s", job.folder / results.RESULTS)
    if job.config.report:
        log.info("report      %s", job.folder / REPORT)


def _matched(stages: list[Stage]) -> Plain:
    """What `base.match` made of the config's base."""
    base = stages[0].inputs
    return {"members": len(stages), "epochs": base["recipe"]["epochs"], "net": base["net"]}


def _data(job: Job) -> Plain:
    return {
        "name": job.dataset.name,
        "classes": list(job.dataset.classes),
        "shape": list(job.dataset.train.shape),
        "fingerprint": job.dataset.fingerprint,
        "sizes": split_sizes(job.dataset, job.indices),
        "protocol": job.config.data.splits.protocol,
        "selected_on": job.select_on,
    }


def _stage(job: Job, stage: Stage, entry: Entry) -> Plain:
    """A network's accuracy on the test images of its own classes, over the outputs that it has."""
    if "fold" in stage.inputs:  # it is asked of its fold alone
        return {"key": entry.key, "kind": stage.kind, "test": None}
    test = job.dataset.test
    if stage.kind == "router":
        targets = by_group(stage.node.groups)
    else:
        targets = among(entry.record["inputs"]["outputs"], stage.node.labels)
    index, expected = filter_labels(test.labels, targets)
    views = job.config.views[stage.kind]

    def accuracy(views: str) -> float:
        logits = frozen.logits(job.store, entry, "test", test.images, job.pixels, job.device, views)
        classes = logits.shape[1] if stage.kind == "router" else len(entry.record["inputs"]["outputs"])
        return metrics.accuracy(logits[index, :classes], expected)

    tested: Plain = {"accuracy": accuracy(views), "count": len(index)}
    if views != "none":
        tested["one_view"] = {"accuracy": accuracy("none")}
    return {"key": entry.key, "kind": stage.kind, "test": tested}


def _scores(probabilities: Tensor, labels: Tensor) -> Plain:
    return {"accuracy": metrics.accuracy(probabilities, labels), "nll": metrics.nll(probabilities, labels)}


def _bases(job: Job, stages: list[Stage], entries: Mapping[str, Entry], split: str) -> list[Tensor]:
    """The logits (N, K) of each base of a run without a mixture for a split's images."""
    images, views = job.images(split).images, job.config.base.views
    networks = [entries[stage.name] for stage in stages]
    return [frozen.logits(job.store, one, split, images, job.pixels, job.device, views) for one in networks]


def _temperatures(job: Job, stages: list[Stage], entries: Mapping[str, Entry]) -> list[float] | None:
    """Each base's temperature where a cascade goes by how sure they are, from the gate split's images."""
    if job.config.base.cascade is None:
        return None
    targets = job.without_pixels("gate").labels
    return [calibration.fit_temperature(logits, targets) for logits in _bases(job, stages, entries, "gate")]


def _said(job: Job, stages: list[Stage], entries: Mapping[str, Entry], split: str, members: Members) -> Tensor:
    """What each base of a run without a mixture says of a split's images (N, M, K)."""
    logits = zip(_bases(job, stages, entries, split), members.temperatures, strict=True)
    return torch.stack([(one / temperature).softmax(dim=1) for one, temperature in logits], dim=1)


def _route(job: Job, entries: Mapping[str, Entry]) -> Tensor:
    images, views = job.dataset.test.images, job.config.router.views
    networks = [entries[router_name(node, node is job.tree.root)] for node in job.tree.routers]
    said = [frozen.logits(job.store, n, "test", images, job.pixels, job.device, views) for n in networks]
    return hard_route([logits.softmax(dim=1) for logits in said], job.tree)
