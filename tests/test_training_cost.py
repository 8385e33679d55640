"""What training cost, by hand: a pass forward, and one back to the weights and, but for the first, the inputs."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from moe.config import compose
from moe.cost import learning_flops, members_cost
from moe.data import sources, splits
from moe.nets.members import Members
from moe.store import Store


def test_a_pass_back_and_forth_by_hand() -> None:
    # One way 2*12*5 and 2*5*3: 150. To the weights as much again; to the inputs of the second alone, 30.
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    assert learning_flops(net, torch.zeros(4, 3, 2, 2)) == 150 + 150 + 30
    # Frozen, the first takes no part in the way back, and nothing goes through it.
    net[1].requires_grad_(False)
    assert learning_flops(net, torch.zeros(4, 3, 2, 2)) == 150 + 30


def test_members_cost_what_ran_by_hand() -> None:
    # 2*12*5 = 120 and 2*12*5 + 2*5*5 = 170: two images ask the first alone, one both.
    small = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    large = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 5))
    found = members_cost(Members([small, large], 0.5), (3, 2, 2), torch.tensor([1, 1, 2]))
    assert found["flops_per_image"] == {"dense": 290.0, "routed": pytest.approx((120 + 120 + 290) / 3)}
    assert found["parameters"] == 65 + 65 + 30


def test_a_run_says_what_its_training_cost(run: Path, store: Path) -> None:
    found = json.loads((run / "results.json").read_text())
    entries = {name: Store(store).get(stage["key"]) for name, stage in found["stages"].items()}
    epochs = {name: len(entry.record["curves"]) for name, entry in entries.items() if entry is not None}
    assert epochs == {"base": 4, "curved": 3, "straight": 3, "router": 3, "gates": 2}
    config = compose("experiment=demo")
    dataset = sources.load(config.data, Path())
    labels = dataset.train.labels[splits.split(dataset, config.data.splits).train]
    curved = int(torch.isin(labels, torch.tensor([0, 3, 6, 8, 9])).sum())
    # tiny_vgg with k outputs: convolutions of 18,432 and 147,456, then 16,384 and 128 k. Training it is three times
    # that, less the way back to the images.
    cost = {k: 3 * (18_432 + 147_456 + 16_384 + 128 * k) - 18_432 for k in (2, 5, 10)}
    # A gate: 2*64*512 = 65,536 to its hidden layer, 2*512*20 = 20,480 on; the frozen networks speak once of each image.
    gate = 2 * (65_536 + 20_480) + 20_480
    frozen = 4 * (18_432 + 147_456 + 16_384) + 128 * (10 + 5 + 5 + 2)
    expected = {
        "base": cost[10] * len(labels) * 4,
        "curved": cost[5] * curved * 3,
        "straight": cost[5] * (len(labels) - curved) * 3,
        "router": cost[2] * len(labels) * 3,
        "gates": gate * 200 * 2 + frozen * 200,
    }
    training = found["cost"]["training_flops"]
    assert training["stages"] == pytest.approx(expected)
    assert training["total"] == pytest.approx(sum(expected.values()))
