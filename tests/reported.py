"""A small mixture of random networks with all that a report is made from."""

from typing import Any

import torch
from torch import Tensor, nn

from moe import results
from moe.cost import cost, mixture_flops
from moe.data.batches import Pixels
from moe.inference import Predictions, predict
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import LinearGate
from moe.nets.mixture import Mixture
from moe.results.measure import measure
from moe.schema import Plain
from moe.taxonomy import Tree, parse

NASTY = '<b id="x">&$a$'  # a class of this name must come out as text
CLASSES = (NASTY, "ship", "cat", "dog", "frog")
TREE = parse({"made": [0, 1], "alive": {"furry": [2, 3], "wet": [4]}}, CLASSES)
COUNT = 40


def flat(out: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, out))


def example(tree: Tree, routing: str = "hard", **changes: Any) -> tuple[Plain, Predictions, Tensor, Tensor]:
    """Results, predictions, labels and images of a mixture of random linear networks."""
    torch.manual_seed(0)
    K = len(tree.classes)
    images = torch.randint(0, 256, (COUNT, 3, 2, 2), dtype=torch.uint8)
    labels = torch.arange(COUNT) % K
    nets = [flat(len(node.labels)) if len(node.labels) > 1 else None for node in tree.experts]
    experts = [ClassExpert(net, node.labels, K) for net, node in zip(nets, tree.experts, strict=True)]
    routers = [] if routing == "none" else [flat(len(node.children)) for node in tree.routers]
    sizes = [len(tree.experts)] if routing == "none" else [len(path) for path in tree.paths]
    gates = [LinearGate(in_shape=(3, 2, 2), num_classes=K, num_experts=size, weights="per_class") for size in sizes]
    mixture, pixels = Mixture(tree, experts, routers, gates, routing), Pixels((0.5,), (0.25,))
    predictions = predict(mixture, images, pixels)
    with torch.inference_mode():
        frozen = mixture.dense(pixels(images), routed=routing != "none")
    whole = {
        "schema": results.SCHEMA,
        "experiment": "gates",
        "target": "gates",
        "seed": 3,
        "key": "run-0123",
        "config": {"mixture": {"routing": routing}, "note": "</pre><script>"},
        "versions": {"torch": "2"},
        "git": "abc-dirty",
        "machine": "two cores",
        "seconds": {"base": {"seconds": 1.25, "reused": False}, "gates": {"seconds": 9.0, "reused": True}},
        "data": {"fingerprint": "f00d", "sizes": {"test": COUNT}, "protocol": "held_out", "name": "toy"},
        "val": {"accuracy": 0.5, "nll": 1.0},
        "stages": {
            "base": {"key": "base-1", "kind": "base", "test": {"accuracy": 0.25, "count": COUNT}},
            "gates": {"key": "gates-1", "kind": "gates", "test": None},
        },
        "cost": cost(mixture, mixture_flops(mixture, (3, 2, 2), tree), predictions, tree),
        **measure(tree, mixture, images, labels, pixels, predictions, frozen),
        **changes,
    }
    return whole, predictions, labels, images
