"""Six images through a tree of three leaves, of which every number can be worked out by hand.

An image is one pixel, its own number; experts, routers and gates are tables that look it up.
"""

from typing import Any

import torch
from torch import Tensor

from moe import results
from moe.data.batches import Pixels
from moe.inference import Predictions, predict
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import Gate
from moe.nets.mixture import Mixture
from moe.results.measure import measure
from moe.schema import Plain
from moe.taxonomy import parse
from tests.nets.tables import Table

CLASSES = ("plane", "ship", "cat", "dog", "frog")
# Experts in preorder: base, made, alive, furry, wet. Leaves: made, furry, wet.
TREE = parse({"made": ["plane", "ship"], "alive": {"furry": ["cat", "dog"], "wet": ["frog"]}}, CLASSES)
LABELS = torch.tensor([0, 1, 2, 3, 4, 2])
IMAGES = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
PIXELS = Pixels((0.0,), (1 / 255,))  # back to the image's number

BASE = [
    [0.5, 0.2, 0.1, 0.1, 0.1],  # right
    [0.5, 0.3, 0.1, 0.05, 0.05],  # plane for ship
    [0.1, 0.1, 0.4, 0.3, 0.1],  # right
    [0.1, 0.1, 0.5, 0.2, 0.1],  # cat for dog
    [0.1, 0.1, 0.1, 0.1, 0.6],  # right
    [0.4, 0.1, 0.3, 0.1, 0.1],  # plane for cat
]
MADE = [[0.4, 0.6], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]
ALIVE = [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]
FURRY = [[0.5, 0.5], [0.5, 0.5], [0.45, 0.55], [0.52, 0.48], [0.5, 0.5], [0.9, 0.1]]
# made or alive; furry or wet. The routes: made, made, furry, furry (a tie, the first), wet, made (a stray cat).
ROUTER = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.7, 0.3]]
ALIVE_ROUTER = [[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.8, 0.2]]
# Shares: of base and made (by image); of base, alive, furry; of base, alive, wet.
MADE_GATE = [[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]
FURRY_GATE = [[0.8, 0.1, 0.1]] * 6
WET_GATE = [[0.25, 0.25, 0.5]] * 6


class TableGate(Gate):
    """A gate that looks its shares up."""

    def __init__(self, shares: list[list[float]]) -> None:
        super().__init__((1, 1, 1), len(CLASSES), len(shares[0]), "per_expert")
        self.table = Table(shares)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.table(images)
        return out


def mixture(routing: str, gates: list[list[list[float]]]) -> Mixture:
    nets = [Table(BASE), Table(MADE), Table(ALIVE), Table(FURRY), None]
    experts = [ClassExpert(net, node.labels, 5) for net, node in zip(nets, TREE.experts, strict=True)]
    routers = [] if routing == "none" else [Table(ROUTER), Table(ALIVE_ROUTER)]
    return Mixture(TREE, experts, routers, [TableGate(gate) for gate in gates], routing)


def measured(routing: str, gates: list[list[list[float]]]) -> tuple[Plain, Predictions]:
    network = mixture(routing, gates)
    predictions = predict(network, IMAGES, PIXELS)
    frozen = network.dense(PIXELS(IMAGES), routed=routing != "none")
    return measure(TREE, network, IMAGES, LABELS, PIXELS, predictions, frozen), predictions


GATES = [MADE_GATE, FURRY_GATE, WET_GATE]


def complete(sections: Plain, **changes: Any) -> Plain:
    """A whole `results.json` around the measured sections."""
    stages = {
        "base": {"key": "base-1", "kind": "base", "test": {"accuracy": 0.5, "count": 6}},
        "made": {"key": "expert-1", "kind": "expert", "test": {"accuracy": 0.5, "count": 2}},
        "gates": {"key": "gates-1", "kind": "gates", "test": None},
    }
    return {
        "schema": results.SCHEMA,
        "experiment": "gates",
        "target": "gates",
        "seed": 3,
        "key": "gates-1",
        "config": {"mixture": {"routing": "hard"}},
        "versions": {"moe": "0"},
        "git": None,
        "machine": {"cores": 2},
        "seconds": {"base": {"seconds": 0.0, "reused": True}, "made": {"seconds": 12.34, "reused": False}},
        "data": {"fingerprint": "f", "sizes": {"test": 6}, "protocol": "held_out", "name": "toy", "classes": CLASSES},
        "val": {"accuracy": 0.5, "nll": 1.0},
        "stages": stages,
        "cost": {"parameters": 408, "flops_per_image": {"dense": 768.0, "routed": 402.0}},
        **sections,
        **changes,
    }


NOTHING = {"test": None, "baselines": None, "verdict": None, "cost": None}
