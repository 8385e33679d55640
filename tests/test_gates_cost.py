"""What gates cost to train, by hand: their own passes, and what the frozen networks say for them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moe.config import compose
from moe.cost import Flops
from moe.data import sources, splits
from moe.job import Job, planned
from moe.sizes import resolved
from moe.store import Store
from moe.taxonomy import parse
from moe.training_cost import (
    calibration_flops,
    frozen_flops,
    gates_flops,
)
from tests.jobs import job


@pytest.mark.parametrize(
    ("overrides", "epochs", "images"),
    [
        ((), 2, 0),  # gates learn from what the experts said of these 200
        ((), 0, 200),  # uniform gates do not learn
        (("gate.calibrate=false",), 0, 0),
        (("gate.frozen=live",), 2, 200),
        (("gate.fit_on=train",), 2, 200),
        (("gate.fit_on=folds", "data.splits.gate=0"), 2, 0),
    ],
)
def test_experts_that_are_calibrated_speak_of_the_images_for_it(
    overrides: tuple[str, ...], epochs: int, images: int
) -> None:
    config = resolved(compose("experiment=demo", "gate.calibrate=true", *overrides), say=False)
    dataset = sources.load(config.data, Path())
    tree = parse(config.taxonomy.branches, dataset.classes)
    indices = splits.split(dataset, config.data.splits)
    job = Job(config, tree, dataset, indices, Store(Path("nowhere")), Path(), lambda stage: None)
    # Three experts, of which two share a trunk of 7, routers and gates, which take no part.
    asked = Flops([100, 10, 20], [1], [5000, 6000], trunks=[0, 7, 7])
    assert calibration_flops(job, asked, epochs) == images * (100 + 10 + 20 + 7 + 7)


def test_frozen_networks_that_speak_live_cost_what_is_on_the_way_by_hand() -> None:
    tree = parse({"a": [0, 1], "b": {"c": [2], "d": [3]}}, list("wxyz"))
    # Experts of the root, a, b, c, d, as the tree has them, and routers of the root and b; gates are counted elsewhere.
    experts = {"base": 100, "a": 10, "b": 20, "c": 30, "d": 40}
    asked = Flops([experts[node.name] for node in tree.experts], [1, 2], [5000, 6000, 7000])
    ways = {0: 100 + 1 + 10, 1: 100 + 1 + 10, 2: 100 + 1 + 20 + 2 + 30, 3: 100 + 1 + 20 + 2 + 40}
    labels = torch.tensor([0, 1, 2, 3, 3])
    assert frozen_flops(asked, tree, labels, "hard", stored=False) == sum(ways[label] for label in labels.tolist())
    for routing, stored in (("hard", True), ("soft", False), ("none", False)):
        assert frozen_flops(asked, tree, labels, routing, stored) == 5 * (200 + 3)
    # Over the base's trunk, which is 50 of its 100, each of the other four runs that, too, where it is asked by itself.
    shared = replace(asked, trunks=[50] * 4)
    assert frozen_flops(shared, tree, labels, "hard", stored=True) == 5 * (200 + 3 + 4 * 50)
    for routing in ("hard", "soft", "none"):
        live = frozen_flops(shared, tree, labels, routing, stored=False)
        assert live == frozen_flops(asked, tree, labels, routing, stored=False)


def test_gates_cost_what_the_gate_of_an_images_own_leaf_does() -> None:
    tree = "taxonomy.branches={a:[0],b:{c:[1],d:[2,3,4,5,6,7,8,9]}}"
    made = job(
        "gate=linear",
        "gate.weights=joint",
        "mixture.routing=hard",
        tree,
        "data.splits.gate=20",
        "data.splits.val=20",
        counts=[30, *[10] * 9],
    )
    stage = planned(made)[-1]
    labels = made.images("gate").labels
    near = int((labels == 0).sum())
    assert 0 < near < len(labels)
    # A linear gate of 3 x 32 x 32 pixels says, of ten classes, twenty numbers for two experts and thirty for three;
    # learning it costs as much again, to its weights.
    once = 2 * 2 * 3 * 32 * 32 * (20 * near + 30 * (len(labels) - near))
    assert gates_flops(made, stage, 2, None) == 2 * once
    assert gates_flops(made, stage, 0, None) == 0
    # What the frozen networks say of these images is asked for once where it is stored, else in each epoch.
    asked = Flops([100] * len(made.tree.experts), [1] * len(made.tree.routers), [0] * len(made.tree.leaves))
    said = [frozen_flops(asked, made.tree, labels, "hard", stored) for stored in (True, False)]
    assert said[0] > said[1] > 0 and gates_flops(made, stage, 3, asked) == 3 * once + said[0]
    live = replace(made, config=replace(made.config, gate=replace(made.config.gate, frozen="live")))
    assert gates_flops(live, stage, 3, asked) == 3 * once + 3 * said[1]
    everywhere = job(
        "gate=linear",
        "gate.weights=joint",
        "mixture.routing=soft",
        tree,
        "data.splits.gate=20",
        "data.splits.val=20",
        counts=[30, *[10] * 9],
    )
    assert gates_flops(everywhere, stage, 2, None) == 2 * 2 * 2 * 3 * 32 * 32 * (20 + 30 + 30) * len(labels)
