"""Images a second of a mixture: all networks, those on each image's way, or the base alone where it is sure."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from turns import CLASSES, DEVICE, SHAPE, over, random_images, seconds

import moe
from moe.data.batches import Pixels
from moe.inference import exact
from moe.nets.build import build_gate, build_network
from moe.nets.class_expert import ClassExpert
from moe.nets.mixture import Mixture
from moe.sizes import resolved
from moe.taxonomy import parse


class Shifted(nn.Module):
    """A network whose outputs are shifted so that for half of `images` the first group of classes is the more probable.

    Untrained, it would have nearly all images take one way, and none of what it costs to part a batch.
    """

    def __init__(self, net: nn.Module, first: Sequence[int], second: Sequence[int], images: Tensor) -> None:
        super().__init__()
        self.net = net.to(DEVICE, memory_format=torch.channels_last).eval()
        logits = torch.cat([self.net(part) for part in images.split(100)])
        ahead = logits[:, list(second)].logsumexp(dim=1) - logits[:, list(first)].logsumexp(dim=1)
        self.register_buffer("shift", torch.zeros_like(logits[0]))
        self.get_buffer("shift")[list(first)] = ahead.median()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images) + self.get_buffer("shift")


def mixtures(overrides: tuple[str, ...], images: Tensor) -> dict[str, Callable[[Tensor], object]]:
    """Base, two specialists, the router where it is a network, and gates, none of them trained, asked in three ways.

    By the router half of the images go each way.
    """
    config = resolved(moe.compose(*overrides), say=False)
    tree = parse(config.taxonomy.branches, config.data.classes or [])
    torch.manual_seed(0)
    kinds = [config.base.net, *[config.expert.net] * (len(tree.experts) - 1)]
    nets = [build_network(net, SHAPE, len(node.labels)) for net, node in zip(kinds, tree.experts, strict=True)]
    # Two branches: the base, which may be the router, by its classes, a router network by their number.
    nets[0] = Shifted(nets[0], *(child.labels for child in tree.root.children), images)
    experts = [ClassExpert(net, node.labels, CLASSES) for net, node in zip(nets, tree.experts, strict=True)]
    gates = [build_gate(config.gate.net, SHAPE, CLASSES, len(path), "joint") for path in tree.paths]
    inner = tree.routers if config.router.source == "network" else []
    routers = [Shifted(build_network(config.router.net, SHAPE, 2), [0], [1], images) for _ in inner]
    routed = Mixture(tree, experts, routers, gates, "hard").to(DEVICE, memory_format=torch.channels_last).eval()
    sure = float(torch.cat([experts[0](part).max(dim=1).values for part in images.split(100)]).median())
    cascade = Mixture(tree, experts, routers, gates, "hard", sure).to(DEVICE).eval()
    return {"dense": lambda x: routed.combine(x, routed.dense(x)), "routed": routed, "cascade": cascade}


def ask(side: Callable[[Tensor], object], parts: Sequence[Tensor]) -> None:
    for part in parts:
        side(part)


def evaluation(overrides: tuple[str, ...], sizes: Sequence[int], repetitions: int) -> dict[str, Any]:
    """Images a second of each of the three, for each batch size."""
    found: dict[str, Any] = {}
    with exact():  # as evaluation is
        images = Pixels((0.0,), (1.0,))(random_images(max(sizes)).images.to(DEVICE))
        sides = mixtures(overrides, images)
        for size in sizes:
            parts = images.split(size)[: 32 if size < 1024 else 1]
            turns: dict[str, list[float]] = {name: [] for name in sides}
            for turn in range(repetitions + 1):
                for name, side in sides.items():
                    spent = seconds(partial(ask, side, parts))
                    if turn:  # the first warms up
                        turns[name].append(spent)
            count = sum(map(len, parts))
            found[str(size)] = {
                "images a second": {name: count / statistics.median(spent) for name, spent in turns.items()},
                **{f"{name} over dense": over(turns["dense"], turns[name]) for name in ("routed", "cascade")},
            }
    return found
