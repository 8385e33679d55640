"""What training cost, by hand: a pass forward, and one back to the weights and, but for the first, the inputs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from moe.config import compose
from moe.cost import Flops, flops, learning_flops, members_cost
from moe.data import sources, splits
from moe.data.canonical import assemble
from moe.job import Job, planned
from moe.nets.cond_vgg import CondConv2d
from moe.nets.members import Members
from moe.sizes import resolved
from moe.stages import plan
from moe.store import Store
from moe.taxonomy import parse
from moe.training_cost import (
    EpochFlops,
    epoch_flops,
    gates_flops,
    step_flops,
    training_flops,
)
from tests.jobs import job


def test_a_pass_back_and_forth_by_hand() -> None:
    # One way 2*12*5 and 2*5*3: 150. To the weights as much again; to the inputs of the second alone, 30.
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    assert learning_flops(net, torch.zeros(4, 3, 2, 2)) == 150 + 150 + 30
    # Frozen, the first takes no part in the way back, and nothing goes through it.
    net[1].requires_grad_(False)
    assert learning_flops(net, torch.zeros(4, 3, 2, 2)) == 150 + 30


@pytest.mark.parametrize(("kind", "least"), [(nn.Conv2d, (6, 2)), (nn.ConvTranspose2d, (4, 3))])
def test_convolutions_in_groups_cost_as_much_back_to_each_of_two_as_forth(
    kind: Callable[..., nn.Module], least: tuple[int, int]
) -> None:
    # The first, 2 * 4*4 * 25 positions: 800, and to its weights. The second, in two groups of 2 channels to 3 each:
    # 2 * 2*2*3 * 9 * 25 = 5,400, and back to its weights and to its inputs.
    grouped = kind(4, 6, 3, padding=1, groups=2)
    assert grouped.weight.shape[:2] == least
    net = nn.Sequential(nn.Conv2d(4, 4, 1), grouped)
    assert learning_flops(net, torch.zeros(3, 4, 5, 5)) == 2 * 800 + 3 * 5400


def test_attention_counts_also_where_it_runs_in_one_piece() -> None:
    # Of 5 tokens of 8 numbers, two heads: to three of each 2 * 5*8*24, each by each twice 2 * 5*5*8, out 2 * 5*8*8.
    attention, tokens = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.rand(1, 5, 8)
    fast = torch.backends.mha.get_fastpath_enabled()
    assert flops(attention, tokens, tokens, tokens) == 1920 + 2 * 400 + 640
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_gates_of_kernels_count_as_gates() -> None:
    # Two kernels of a convolution of three channels: 3 * 2 weights and 2 biases say how to mix them.
    mixed = CondConv2d([nn.Conv2d(3, 4, 3, padding=1, bias=False) for _ in range(2)])
    net = nn.Sequential(mixed, nn.Flatten(), nn.Linear(16, 5))
    found = members_cost(Members([net], None), (3, 2, 2), torch.ones(3, dtype=torch.long))
    assert (found["gate_parameters"], found["parameters"]) == (8, 8 + 2 * 4 * 27 + 16 * 5 + 5)


def test_members_cost_what_ran_by_hand() -> None:
    # 2*12*5 = 120 and 2*12*5 + 2*5*5 = 170: two images ask the first alone, one both.
    small = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    large = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 5))
    found = members_cost(Members([small, large], 0.5), (3, 2, 2), torch.tensor([1, 1, 2]))
    assert found["flops_per_image"] == {"dense": 290.0, "routed": pytest.approx((120 + 120 + 290) / 3)}
    assert found["parameters"] == 65 + 65 + 30


def test_epochs_in_which_less_learns_cost_less() -> None:
    each = EpochFlops(first=10.0, later=8.0, early=3)
    assert [each.of(epochs) for epochs in (0, 2, 3, 5)] == [0.0, 20.0, 30.0, 46.0]
    # 14 is nearer to one epoch, 16 to two; 30 + 8 * 2.4 to five, 30 + 8 * 2.6 to six.
    assert [each.epochs(operations) for operations in (0.1, 14.0, 16.0, 49.2, 50.8)] == [1, 1, 2, 5, 6]


def test_all_is_counted_by_the_epochs_that_it_was_trained() -> None:
    made = job("base.net.widths=[4,6,8]", "gate=linear", "gate.fit_on=train", "gate.calibrate=true")
    base, *_, gates = planned(made)
    trained = {"base": 3, "gates": 2}  # and not as many as their recipes have
    assert base.inputs["recipe"]["epochs"] > 3 and gates.inputs["recipe"]["epochs"] > 2
    entries: Any = {name: SimpleNamespace(record={"curves": [{}] * epochs}) for name, epochs in trained.items()}
    asked = Flops([100, 10, 20], [], [0, 0])
    each = epoch_flops(made, base)
    found = training_flops(made, [base, gates], entries, asked, calibration=7.0)
    assert found["stages"] == {"base": each.of(3), "gates": gates_flops(made, gates, 2, asked)}
    assert found["optimizer"] == 3 * each.optimizer > 0
    # The experts speak of the ten images held out, by which they are calibrated, since gates learn from others.
    assert found["calibration"] == 7 + 10 * (100 + 10 + 20)
    assert found["total"] == sum(found["stages"].values()) + found["calibration"]


def test_muons_products_by_hand() -> None:
    # Of a kernel as a matrix (A, B), A the less, each of five iterations multiplies A x B with its like (2 A A B), what
    # comes of that with itself (2 A A A), and that with the matrix (2 A A B).
    def turned(a: int, b: int) -> int:
        return 5 * (4 * a * a * b + 2 * a**3)

    first = nn.Conv2d(1, 3, 1)  # which Muon has not
    net = nn.Sequential(first, nn.Conv2d(3, 4, 3), nn.Conv2d(4, 50, 3), nn.Flatten(), nn.Linear(50, 2)).to("meta")
    muon = {"muon": {"lr": 0.1, "momentum": 0.6}, "batch_size": 10}
    # 25 images by ten are three steps. The third has 50 rows of 36, and is turned by its 36 columns.
    assert step_flops(net, muon, 25) == 3 * (turned(4, 27) + turned(36, 50))
    assert step_flops(net, {**muon, "muon": None}, 25) == 0
    net[1].requires_grad_(False)
    assert step_flops(net, muon, 25) == 3 * turned(36, 50)
    # Two kernels that one parameter stacks are two matrices.
    mixed = nn.Sequential(first, CondConv2d([nn.Conv2d(3, 4, 3, bias=False) for _ in range(2)])).to("meta")
    assert step_flops(mixed, muon, 10) == 2 * turned(4, 27)


@pytest.mark.parametrize("early", [None, 0, 2])
def test_once_the_whitenings_bias_has_learnt_nothing_goes_back_to_it(early: int | None) -> None:
    widths = "base.net.widths=[4,6,8]"
    config = compose("experiment=base", widths, "recipe@base.recipe=fast", "data.fingerprint=null")
    config.base.recipe.early_epochs = early  # 0 as a further base has it that starts as the first
    images = torch.zeros(60, 3, 32, 32, dtype=torch.uint8)
    labels = torch.arange(60) % 10
    dataset = assemble("black", list(config.data.classes or ()), (images[:50], labels[:50], images[50:], labels[50:]))
    every = torch.arange(50)
    indices = splits.SplitIndices(every[:40], every[40:45], every[45:])
    tree = parse(config.taxonomy.branches, dataset.classes)
    job = Job(resolved(config, say=False), tree, dataset, indices, Store(Path("nowhere")), Path(), lambda stage: None)
    (stage,) = plan(job.config, tree, dataset.fingerprint, (3, 32, 32), "32-true", lambda stage: 40)
    found = epoch_flops(job, stage)
    # To whitened images, 24 channels of 31 x 31 pixels, through the first group's 3 x 3 convolution with 4 channels.
    back = 40 * 2 * 24 * 9 * 4 * 31 * 31
    assert found.first - found.later == (0 if early is None else back)
    assert found.early == (early or 0) and found.of(3) == found.later * 3 + (early or 0) * (found.first - found.later)
    # One step an epoch, in which Muon turns all but the whitening.
    matrices = [(4, 24 * 9), (4, 4 * 9), (6, 4 * 9), (6, 6 * 9), (8, 6 * 9), (8, 8 * 9)]
    assert found.optimizer == sum(5 * (4 * a * a * b + 2 * a**3) for a, b in matrices)
    without = replace(job.config, base=replace(job.config.base, recipe=replace(job.config.base.recipe, muon=None)))
    (plain,) = plan(without, tree, dataset.fingerprint, (3, 32, 32), "32-true", lambda stage: 40)
    assert epoch_flops(replace(job, config=without), plain).later == found.later - found.optimizer


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
    assert (training["optimizer"], training["calibration"]) == (0, 0)
