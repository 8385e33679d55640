"""What a config leaves to the device: a `fast_vgg`'s size, how long one of that size learns, and Muon's precision."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from moe.schema import SIZED, Config, Network, Plain

log = logging.getLogger(__name__)
AUTO = "auto"
GPU_SIZE, CPU_SIZE = "m", "s"
# A base of CIFAR-10 sees its 45,000 images an epoch, and specialists that go on from it see them again, in a third as
# many. At 0.71, 1.81 and 2.71 GFLOP an image and step (torch.utils.flop_counter) that is 0.6, 1.7 and 6.5 PFLOP. An
# hour of two CPU cores that multiply in bf16 is one to two (experiments/fast); a minute of a modern GPU, at a fifth of
# an A100's matrix rate, four; l is for who asks for it. Those of m and l are about as many as Jordan 2024 (arXiv
# 2404.00498) has for 95 and 96 %; what s needs on fewer images, with Muon, for 94 % was measured. Shifts and the sides
# of what is cut out are that paper's for each, but a square may here lie partly outside of its image.
BY_SIZE: dict[str, dict[str, int]] = {
    "s": {"epochs": 14, "shift": 2, "cutout": 0},
    "m": {"epochs": 16, "shift": 2, "cutout": 0},
    "l": {"epochs": 40, "shift": 4, "cutout": 12},
}

Part = TypeVar("Part", bound=Network)


def resolved(config: Config, say: bool = True) -> Config:
    """The config with every `size`, `epochs`, `shift`, `cutout` and `bf16` that is `auto` chosen for what trains it.

    The size and Muon's bf16 go by the device, the others by the size, an explicit one too; a network without sizes has
    those of `s`. A specialist that starts as the base learns for a third as many epochs, from images changed as its
    size has it, whatever the base was told. With `say` the log has which size and epochs were chosen.
    """
    chosen: Plain = {}
    accelerator = config.trainer["accelerator"]
    found = _resolved(config, lambda: _size(accelerator), chosen)
    if chosen and say:
        what = ", ".join(f"{key}={value}" for key, value in chosen.items())
        log.info("chosen for %s: %s", "a GPU" if _size(accelerator) == GPU_SIZE else "a CPU", what)
    return found


def anywhere(config: Config) -> tuple[Config, Config]:
    """What `resolved` makes of a config on a machine with a GPU, and on one without: for jobs that run elsewhere."""
    return _resolved(config, lambda: GPU_SIZE, {}), _resolved(config, lambda: CPU_SIZE, {})


def _resolved(config: Config, size: Callable[[], str], chosen: Plain) -> Config:
    """The config with `size` for `auto`, asked for only where it is needed; `chosen` gets what was."""
    base = config.base
    specialists = config.target in ("experts", "gates") or base.match != "none" or base.init == "base"  # are trained
    return replace(
        config,
        base=_part("base", config.base, size, chosen),
        expert=_part(
            "expert", config.expert, size, chosen if specialists else {}, 1 if config.expert.init == "scratch" else 3
        ),
        router=_part("router", config.router, size, {} if config.router.source == "base" else chosen),
        gate=_part("gate", config.gate, size, chosen),
    )


def _part(name: str, network: Part, size: Callable[[], str], chosen: Plain, divisor: int = 1) -> Part:
    net, recipe = network.net, network.recipe
    if sized(net) and net["size"] == AUTO:
        net = {**net, "size": size()}
        chosen[f"{name}.net.size"] = net["size"]
    like = str(net["size"]) if sized(net) else CPU_SIZE
    own = BY_SIZE.get(like, BY_SIZE[CPU_SIZE])  # the network itself refuses a wrong size
    if recipe.epochs == AUTO:
        recipe = replace(recipe, epochs=round(own["epochs"] / divisor))
        chosen[f"{name}.recipe.epochs"] = recipe.epochs
    if recipe.muon is not None and recipe.muon.bf16 == AUTO:
        recipe = replace(recipe, muon=replace(recipe.muon, bf16=size() == GPU_SIZE))
    augment = {key: own[key] for key in ("shift", "cutout") if getattr(recipe.augment, key) == AUTO}
    return replace(network, net=net, recipe=replace(recipe, augment=replace(recipe.augment, **augment)))


def sized(net: Mapping[str, object]) -> bool:
    """Whether a network's config has a size that can be chosen for it."""
    return net.get("_target_") in SIZED and "size" in net


def _size(accelerator: str) -> str:
    from moe.inference import best_device  # late: it imports torch

    return GPU_SIZE if best_device(accelerator).type == "cuda" else CPU_SIZE
