"""What is to be trained, built and tried without memory first, so that nothing is trained in vain."""

from collections.abc import Sequence

import torch
from torch import nn

from moe import assembly, ddp
from moe.data.batches import least
from moe.data.splits import folds
from moe.errors import ConfigError, reason
from moe.frozen import FOLDS
from moe.job import Job, count_images
from moe.modules.fit import synchronised
from moe.modules.recipe import build_optimizer, has_norms, kernels
from moe.nets.build import build_network
from moe.nets.gates import Gate
from moe.schema import Config, Plain
from moe.stages import Stage, num_outputs, section


def check(job: Job, stages: Sequence[Stage]) -> int:
    """Build every stage's network and trainer without memory, and have its optimiser take a step.

    Returns how many devices train each together. Raises ConfigError, naming the key, for what cannot be built.
    """
    world = ddp.world_size(job.config.trainer)
    for stage in stages:
        channels, height, width = stage.inputs["in_shape"]
        name = section(stage)
        _check_pixels(job.config, name, stage.inputs)
        if stage.inputs["recipe"]["batch_size"] < world:
            raise ConfigError(f"{name}.recipe.batch_size must be at least {world}, an image for each device")
        if stage.kind == "gates":
            _check_gates(job, (channels, height, width))
        else:
            net = network(stage)
            _check_any(job, stage)
            if world == 1 or not synchronised(job.config.trainer):
                _check_least(job, stage, net, world)
        _check_step(stage)
    if any("fold" in stage.inputs for stage in stages):
        _check_folds(job)
    return world


def _check_gates(job: Job, in_shape: tuple[int, int, int]) -> None:
    """Build each gate, and have it say weights for two images."""
    config, tree = job.config, job.tree
    classes, target = len(tree.classes), config.gate.net["_target_"]
    with torch.device("meta"):
        gates = assembly.gates(config, tree, in_shape, None)
        for gate, weighed in zip(gates, tree.weighed(config.mixture.routing), strict=True):
            experts = len(weighed)
            try:
                weights, _ = gate(torch.empty(2, *in_shape), torch.empty(2, experts, classes))
            except Exception as error:  # a user's own gate may raise anything
                if isinstance(error, NotImplementedError) and getattr(type(gate), "logits", None) is Gate.logits:
                    said = f"gate: {target} has no logits(images, experts) of its own, by which a gate weighs"
                    raise ConfigError(said) from None
                raise ConfigError(f"gate: {target} cannot weigh two images: {reason(error)}") from None
            if weights.shape != (2, classes, experts):
                found, right = tuple(weights.shape), (2, classes, experts)
                raise ConfigError(f"gate: {target} gives weights of {found} for two images, not of {right}")


def _check_step(stage: Stage) -> None:
    """An optimiser may take arguments, and no step by them. Tried on the CPU, where none can be `capturable`."""
    key, config = f"{section(stage)}.recipe.optimizer", stage.inputs["recipe"]["optimizer"]
    learned = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer({name: value for name, value in config.items() if name != "capturable"}, [learned], key)
    learned.grad = torch.zeros_like(learned)
    try:
        optimizer.step(lambda: 0.0)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{key}: {config['_target_']} so given can take no step: {said}") from None


def network(stage: Stage) -> nn.Module:
    """The network of a stage other than gates, without memory. Raises ConfigError where it cannot learn as it is to."""
    name, (channels, height, width) = section(stage), stage.inputs["in_shape"]
    with torch.device("meta"):
        net = build_network(stage.inputs["net"], (channels, height, width), num_outputs(stage.inputs), f"{name}.net")
    parts = ("trunk", "branch", "trunk_layers")
    if stage.inputs.get("trunk") == "shared" and not all(hasattr(net, part) for part in parts):
        raise ConfigError(
            "expert.trunk=shared needs a network that says its trunk (trunk, branch and trunk_layers): fast_vgg, "
            "cond_vgg or one of moe.nets.vgg"
        )
    why = _refusal(net, 2, stage.inputs)
    if why is not None:
        raise ConfigError(f"{name}.net: {why}")
    if stage.inputs["recipe"].get("muon") and not (kernels(net) and has_norms(net)):
        raise ConfigError(
            f"{name}.recipe.muon must be null for a network without a normalisation, or without convolutions behind "
            f"its first; recipe@{name}.recipe=adam is for one without any"
        )
    return net


def _check_pixels(config: Config, section: str, inputs: Plain) -> None:
    channels, *sides = inputs["in_shape"]
    for name in ("mean", "std"):
        if len(getattr(config.data, name)) not in (1, channels):
            raise ConfigError(f"data.{name} must have one number or one for each of the {channels} channels")
    for name in ("shift", "cutout"):
        if (pixels := inputs["recipe"]["augment"][name]) >= min(sides):  # may be what the size has, and nobody said
            said = f"{section}.recipe.augment.{name}={pixels}"
            raise ConfigError(f"{said} must be below the images' {min(sides)} pixels; set it to less")


def _check_folds(job: Job) -> None:
    """A fold without images would have all networks learn again, to be asked of nothing."""
    gate, images = job.config.gate, job.without_pixels(FOLDS)
    have = len(set(folds(images, gate.folds, job.config.data.splits.seed).tolist()))
    if have < gate.folds:
        raise ConfigError(f"gate.folds={gate.folds} leaves folds without an image; {have} have some: set that or fewer")


def _check_any(job: Job, stage: Stage) -> None:
    if count_images(job, stage) == 0:
        fewer = "; more images of its classes, or other gate.folds, leave it some" if "fold" in stage.inputs else ""
        raise ConfigError(f"{stage.name} has no image to learn from{fewer}")


def _check_least(job: Job, stage: Stage, net: nn.Module, world: int) -> None:
    """Of one image a network that has come down to a pixel by then has nothing to normalise by."""
    learns, count = stage.inputs["recipe"], count_images(job, stage)
    if least(count, learns["batch_size"], bool(learns.get("even_batches")), world) > 1:
        return
    why = _refusal(net, 1, stage.inputs)
    if why is not None:
        even = least(count, learns["batch_size"], True, world) > 1
        key = f"{section(stage)}.recipe"
        raise ConfigError(
            f"{section(stage)}.net: {why}; {stage.name} has {count} to learn from, of which {learns['batch_size']} a "
            f"batch leave one alone: set {f'{key}.even_batches=true' if even else f'another {key}.batch_size'}"
        )


def _refusal(net: nn.Module, count: int, inputs: Plain) -> str | None:
    """Why a network cannot learn from so many images at once; in training mode some return more than logits."""
    in_shape, right = inputs["in_shape"], (count, num_outputs(inputs))
    images = "images" if count > 1 else "a single image"
    try:
        said = net.train()(torch.empty(count, *in_shape, device="meta"))
    except Exception as error:  # a user's own network may raise anything
        return f"the network cannot take {images} of {'x'.join(map(str, in_shape))}: {reason(error)}"
    if not isinstance(said, torch.Tensor):
        return f"in training the network returns {type(said).__name__}, not logits alone"
    if said.shape != right:
        return f"the network gives logits of {tuple(said.shape)} for {'two ' * (count > 1)}{images}, not of {right}"
    return None
