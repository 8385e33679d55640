"""Hard routing runs only what is on an image's way, and says what all networks together would say."""

import pytest
import torch
from tables import Table, pictures

from moe.nets.class_expert import ClassExpert
from moe.nets.gates import ConstantGate, LinearGate
from moe.nets.mixture import Mixture
from moe.nets.vgg import VGG
from moe.taxonomy import parse

# The base has left and right; left has low (a, b) and high (c); right has d, e, f.
NESTED = parse({"left": {"low": [0, 1], "high": [2]}, "right": [3, 4, 5]}, "abcdef")


def nested_tables() -> tuple[Mixture, dict[str, Table]]:
    """Six images: two go to low, one to high, three to right."""
    sixths = [[1 / 6] * 6] * 6
    tables = {
        "base": Table(sixths),
        "left": Table([[1 / 3] * 3] * 6),
        "low": Table([[0.5, 0.5]] * 6),
        "right": Table([[1 / 3] * 3] * 6),
        "router": Table([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.0, 1.0]]),
        "router-left": Table([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1], [0.9, 0.1]]),
    }
    experts = [
        ClassExpert(tables["base"], range(6), 6),
        ClassExpert(tables["left"], [0, 1, 2], 6),
        ClassExpert(tables["low"], [0, 1], 6),
        ClassExpert(None, [2], 6),
        ClassExpert(tables["right"], [3, 4, 5], 6),
    ]
    gates = [
        ConstantGate(in_shape=(1, 1, 1), num_classes=6, num_experts=n, weights="joint")
        for n in (3, 3, 2)  # low and high have base, left and themselves; right has base and itself
    ]
    routers = [tables["router"], tables["router-left"]]
    return Mixture(NESTED, experts, routers, gates, "hard").eval(), tables


def test_only_the_networks_on_an_images_way_see_it() -> None:
    mixture, tables = nested_tables()
    gated: list[list[int]] = [[], [], []]
    for leaf, gate in enumerate(mixture.gates):
        gate.register_forward_hook(
            lambda _, inputs, __, leaf=leaf: gated[leaf].extend(inputs[0][:, 0, 0, 0].long().tolist())
        )
    mixed = mixture(pictures(6))
    # The root sends 0, 2 and 3 left (1, 4, 5 right); there 0 and 3 (a tie) go to low, 2 to high.
    assert mixed.frozen.route.tolist() == [0, 2, 1, 0, 2, 2]
    assert {name: sorted(table.seen) for name, table in tables.items()} == {
        "base": [0, 1, 2, 3, 4, 5],
        "router": [0, 1, 2, 3, 4, 5],
        "left": [0, 2, 3],
        "router-left": [0, 2, 3],
        "low": [0, 3],
        "right": [1, 4, 5],
    }
    assert gated == [[0, 3], [2], [1, 4, 5]]


def test_no_network_runs_on_no_image() -> None:
    mixture, tables = nested_tables()
    mixture(pictures(6)[[1, 4]])
    calls = {name: table.calls for name, table in tables.items()}
    assert calls == {"base": 1, "left": 0, "low": 0, "right": 1, "router": 1, "router-left": 0}
    assert tables["right"].seen == tables["base"].seen == [1, 4]


@pytest.mark.parametrize("routing", ["soft", "none"])
def test_without_hard_routing_every_expert_sees_every_image(routing: str) -> None:
    mixture, tables = nested_tables()
    sizes = [5] if routing == "none" else [3, 3, 2]
    gates = [ConstantGate(in_shape=(1, 1, 1), num_classes=6, num_experts=n, weights="joint") for n in sizes]
    Mixture(NESTED, list(mixture.experts), list(mixture.routers), gates, routing)(pictures(6))
    assert all(tables[name].seen == list(range(6)) for name in ("base", "left", "low", "right"))
    # Without routing no router is asked.
    asked = [] if routing == "none" else list(range(6))
    assert tables["router"].seen == tables["router-left"].seen == asked


def random_nested(seed: int, gate_weights: str) -> Mixture:
    """Small random networks on 8x8 images. No image goes to high: its router is biased against it."""
    torch.manual_seed(seed)
    shape = (1, 8, 8)

    def net(outputs: int) -> VGG:
        return VGG(shape, outputs, blocks=[[4]], hidden=8)

    experts = [
        ClassExpert(net(len(node.labels)) if len(node.labels) > 1 else None, node.labels, 6) for node in NESTED.experts
    ]
    routers = [net(2), net(2)]
    with torch.no_grad():
        routers[0].head[-1].weight.mul_(20)  # so that some images go each way
        routers[1].head[-1].bias.copy_(torch.tensor([50.0, -50.0]))
    gates = [LinearGate(in_shape=shape, num_classes=6, num_experts=len(p), weights=gate_weights) for p in NESTED.paths]
    return Mixture(NESTED, experts, routers, gates, "hard").eval()


@pytest.mark.parametrize("gate_weights", ["joint", "per_class", "per_expert"])
@pytest.mark.parametrize("seed", [0, 1])
def test_sparse_routing_equals_dense(seed: int, gate_weights: str) -> None:
    mixture = random_nested(seed, gate_weights)
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    # The root's router shows both ways, and left's none to high.
    with torch.no_grad():
        scores = mixture.routers[0](images)
        mixture.routers[0].head[-1].bias[0] -= (scores[:, 0] - scores[:, 1]).median()
        sparse = mixture(images)
        dense = mixture.combine(images, mixture.dense(images))
    counts = torch.bincount(dense.frozen.route, minlength=3).tolist()
    assert counts[1] == 0 and min(counts[0], counts[2]) >= 20
    assert torch.equal(sparse.frozen.route, dense.frozen.route)
    torch.testing.assert_close(sparse.probabilities, dense.probabilities, rtol=0, atol=1e-5)
    torch.testing.assert_close(sparse.weights, dense.weights, rtol=0, atol=1e-5)
    torch.testing.assert_close(sparse.entropy, dense.entropy, rtol=0, atol=1e-5)
    # What was run says the same either way; what was not is zero.
    route = dense.frozen.route
    reached = torch.gather(dense.frozen.leaves, 1, route[:, None])
    torch.testing.assert_close(
        sparse.frozen.leaves, torch.zeros_like(dense.frozen.leaves).scatter(1, route[:, None], reached)
    )
    on_way = torch.tensor([[e in path for e in range(5)] for path in NESTED.paths])[route]
    expected = torch.where(on_way[:, :, None], dense.frozen.experts, 0)
    torch.testing.assert_close(sparse.frozen.experts, expected, rtol=0, atol=1e-5)


def test_sparse_routing_by_the_base_equals_dense() -> None:
    trained = random_nested(0, "joint")
    with torch.no_grad():
        trained.experts[0].net.head[-1].weight.mul_(20)  # so that some images go each way
    mixture = Mixture(NESTED, list(trained.experts), [], list(trained.gates), "hard").eval()
    images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        sparse, dense = mixture(images), mixture.combine(images, mixture.dense(images))
    base = dense.frozen.experts[:, 0]
    # The root's choice by hand: the larger of the sums over its two branches' labels, ties to the first.
    sums = torch.stack([base[:, list(child.labels)].sum(dim=1) for child in NESTED.root.children], dim=1)
    first = torch.tensor([leaf in NESTED.root.children[0].walk() for leaf in NESTED.leaves])[dense.frozen.route]
    assert torch.equal(first, sums[:, 0] >= sums[:, 1]) and 0 < int(first.sum()) < 200
    assert torch.equal(sparse.frozen.route, dense.frozen.route)
    torch.testing.assert_close(sparse.probabilities, dense.probabilities, rtol=0, atol=1e-5)


def test_an_image_alone_says_what_it_says_in_a_batch() -> None:
    mixture = random_nested(0, "joint")
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        together = mixture(images).probabilities
        alone = torch.cat([mixture(image[None]).probabilities for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
