"""A base that costs as much as the mixture: so wide, of so many members, so long in training (`base.match`)."""

import logging
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from moe import assembly, cost, trial
from moe.errors import ConfigError
from moe.job import Job
from moe.nets.build import build_network
from moe.nets.class_expert import ClassExpert
from moe.nets.cond_vgg import KERNELS
from moe.nets.fast_vgg import SIZES
from moe.nets.mixture import Mixture
from moe.nets.routing import true_leaf
from moe.nets.views import Views
from moe.schema import CONDITIONAL, FAST, SIZED, Config, Plain
from moe.stages import Stage, num_outputs, plan
from moe.taxonomy import Tree
from moe.training_cost import epoch_flops, frozen_flops

log = logging.getLogger(__name__)
MOST = 64  # so many times as wide at most


def matched(job: Job) -> Config:
    """The job's config with a base that costs what `base.match` asks, itself where that is `none`.

    What the mixture costs is reckoned before anything is trained: an image from its networks' shapes, as the mean over
    those to learn from of what is on their class's way, with no cascade; its training as if each network but the gates,
    which cost little, learnt for all its epochs, and then spoke once of what gates learn from, as where these learn and
    that is stored. Raises ConfigError where one of them cannot learn as it is, and where the base's channels are not
    known or it has no kernels to mix.
    """
    config, tree, shape = job.config, job.tree, job.dataset.train.shape
    base = config.base
    if base.match == "none":
        return config
    for stage in _of_whole(config, tree, shape):
        if stage.kind != "gates":
            trial.network(stage)
    if base.match == "epochs":
        return _as_long(job, config)
    wanted = _of_an_image(job, _of_mixture(config, tree, shape))
    own = _of_base(config, base.net, shape, tree)
    if base.match in ("members", "members_epochs"):
        count = max(2, round(wanted / own))
        share = count * own / wanted
        log.info("base.match=%s: %d members cost %.2f times what the mixture does", base.match, count, share)
        several = replace(config, base=replace(base, members=count))
        return _as_long(job, several) if base.match == "members_epochs" else several

    net = conditional(base.net) if base.match == "kernels" else base.net

    def of_base(widest: int) -> int:
        return base.members * _of_base(config, wider(net, widest), shape, tree)

    least = _widest(_channels(net))
    above = bisect_left(range(MOST * least), wanted, lo=least, key=of_base)
    widest = min(max(least, above - 1), above, key=lambda width: abs(of_base(width) - wanted))
    nearest = wider(net, widest)
    share = of_base(widest) / wanted
    (key, channels), *_ = _channels(nearest).items()
    log.info("base.match=%s: base.net.%s=%s costs %.2f times what the mixture does", base.match, key, channels, share)
    return replace(config, base=replace(base, net=nearest))


def _as_long(job: Job, config: Config) -> Config:
    """The config with a base whose members learn for as many epochs as the networks of the job's mixture take."""
    base, shape = config.base, job.dataset.train.shape
    networks = [stage for stage in _of_whole(job.config, job.tree, shape) if stage.kind != "gates"]
    wanted = sum(epoch_flops(job, stage).of(stage.inputs["recipe"]["epochs"]) for stage in networks)
    found, spoken_of = _of_mixture(job.config, job.tree, shape), job.without_pixels(job.config.gate.fit_on).labels
    wanted += frozen_flops(found, job.tree, spoken_of, job.config.mixture.routing, stored=True)
    own = epoch_flops(job, networks[0])
    epochs = own.epochs(wanted / base.members)
    share = base.members * own.of(epochs) / wanted
    log.info("base.match=%s: %d epochs cost %.2f times what the mixture's do", base.match, epochs, share)
    return replace(config, base=replace(base, recipe=replace(base.recipe, epochs=epochs)))


def wider(net: Mapping[str, Any], widest: int) -> Plain:
    """A network with more channels everywhere, by the factor that gives its widest layer so many.

    Raises ConfigError where its channels are not known.
    """
    channels = _channels(net)
    factor = widest / _widest(channels)
    return {**net, **{key: _times(value, factor) for key, value in channels.items()}}


def conditional(net: Mapping[str, Any]) -> Plain:
    """A `fast_vgg` with mixtures of kernels for its convolutions. Raises ConfigError for another network."""
    if net.get("_target_") not in (FAST, CONDITIONAL):
        raise ConfigError(f"base.match=kernels needs net@base.net=fast_vgg, not {net.get('_target_')}")
    return {"kernels": KERNELS, **net, "_target_": CONDITIONAL}


def _of_base(config: Config, net: Mapping[str, Any], shape: tuple[int, int, int], tree: Tree) -> int:
    with torch.device("meta"):
        return cost.flops(_seen(net, shape, len(tree.classes), config.base.views), torch.empty(1, *shape))


def _seen(net: Mapping[str, Any], shape: tuple[int, int, int], outputs: int, views: str) -> nn.Module:
    return Views(build_network(net, shape, outputs), views).eval()


def _of_an_image(job: Job, found: cost.Flops) -> float:
    """What an image costs the mixture, whose networks cost `found`: the mean over those to learn from."""
    if job.config.mixture.routing != "hard":
        return float(found.dense)
    ways = torch.tensor(found.ways(job.tree), dtype=torch.double)
    return ways[true_leaf(job.tree, job.without_pixels("train").labels)].mean().item()


def _of_mixture(config: Config, tree: Tree, shape: tuple[int, int, int]) -> cost.Flops:
    """What each network of the mixture that this config trains with `target=gates` costs an image."""
    config = replace(config, gate=replace(config.gate, fit_on="gate"))  # which networks for folds change nothing of
    stages = {stage.name: stage for stage in _of_whole(config, tree, shape)}

    def network(stage: Stage) -> nn.Module:
        return _seen(stage.inputs["net"], shape, num_outputs(stage.inputs), config.views[stage.kind])

    with torch.device("meta"):
        experts = []
        for node in tree.experts:
            stage = stages.get(node.name)
            shared = stage is not None and stage.inputs.get("trunk") == "shared"
            labels = node.labels if stage is None else stage.inputs["outputs"]
            experts.append(ClassExpert(network(stage) if stage else None, labels, len(tree.classes), shared=shared))
        routers = [network(stage) for stage in stages.values() if stage.kind == "router"]
        gates = list(assembly.gates(config, tree, shape, None))
        mixture = Mixture(tree, experts, routers, gates, config.mixture.routing)
        return cost.mixture_flops(mixture, shape, tree)


def _of_whole(config: Config, tree: Tree, shape: tuple[int, int, int]) -> list[Stage]:
    """The stages of the mixture that this config trains with `target=gates`; their keys are those of no run."""
    return plan(replace(config, target="gates"), tree, "", shape, "", lambda stage: 0)


def _channels(net: Mapping[str, Any]) -> Plain:
    """The argument of a network that holds its channels. Raises ConfigError where there is none that is known."""
    if net.get("blocks"):
        return {"blocks": net["blocks"]}
    size = net.get("size", "s" if net.get("_target_") in SIZED else None)  # s is what these have of themselves
    if size in SIZES:
        return {"widths": list(net.get("widths") or SIZES[size][0])}
    raise ConfigError(
        f"base.match=width needs a network with blocks (a vgg) or a size (fast_vgg), not {net.get('_target_')}"
    )


def _widest(channels: Any) -> int:
    """The greatest of nested numbers."""
    if isinstance(channels, int):
        return channels
    return max(_widest(part) for part in (channels.values() if isinstance(channels, dict) else channels))


def _times(channels: Any, factor: float) -> Any:
    return [_times(part, factor) for part in channels] if isinstance(channels, list) else round(channels * factor)
