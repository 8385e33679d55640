"""Random trees of any depth: a valid one mixes, an invalid one gets a sentence."""

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moe.errors import ConfigError
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import LinearGate
from moe.nets.mixture import Mixture
from moe.taxonomy import Node, Tree, parse

pytestmark = pytest.mark.fault("taxonomy fuzz")
Tally = Counter[tuple[str, str]]
SHAPE, IMAGES = (1, 2, 2), 40
# What is no branch.
WRONG: tuple[Any, ...] = (
    *(None, 3, "a", [], {}, True, 1.5, [None], [[]], [{}], [-1], [99], ["nope"], [True]),
    *({"x": [0]}, {"": [0], 3: [1]}),
)


def draw_branches(drawn: random.Random, labels: list[int], names: list[str], depth: int = 0) -> Any:
    """A mapping of two or more branches over the labels, some of them mappings again."""
    parts: list[list[int]] = []
    cuts = sorted(drawn.sample(range(1, len(labels)), drawn.randint(1, min(3, len(labels) - 1))))
    for start, end in zip([0, *cuts], [*cuts, len(labels)], strict=True):
        parts.append(labels[start:end])
    return {
        names.pop(): draw_branches(drawn, part, names, depth + 1) if len(part) > 1 and drawn.random() < 0.5 else part
        for part in parts
    }


def draw_tree(drawn: random.Random) -> tuple[Any, list[str]]:
    classes = [f"c{number}" for number in range(drawn.randint(2, 12))]
    names = [f"n{number}" for number in range(60)]
    return draw_branches(drawn, drawn.sample(range(len(classes)), len(classes)), names), classes


class Sure(nn.Module):
    """A router or expert of which each image is one output's."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, outputs)

    def forward(self, images: Tensor) -> Tensor:
        said: Tensor = self.linear(images.flatten(1)) * 8
        return said


def build(tree: Tree, routing: str) -> Mixture:
    classes = len(tree.classes)

    def expert(node: Node) -> ClassExpert:
        net = Sure(len(node.labels)) if len(node.labels) > 1 else None
        return ClassExpert(net, node.labels, classes)

    sizes = [len(tree.experts)] if routing == "none" else [len(path) for path in tree.paths]
    gates = [LinearGate(in_shape=SHAPE, num_classes=classes, num_experts=size, weights="joint") for size in sizes]
    routers = [] if routing == "none" else [Sure(len(node.children)) for node in tree.routers]
    return Mixture(tree, [expert(node) for node in tree.experts], routers, gates, routing).eval()


def test_valid_trees_mix(long: bool, tally: Tally) -> None:
    drawn = random.Random(0)
    for number in range(1000 if long else 40):
        branches, classes = draw_tree(drawn)
        tree = parse(branches, classes)
        assert sorted(label for leaf in tree.leaves for label in leaf.labels) == list(range(len(classes)))
        torch.manual_seed(number)
        images = torch.rand(IMAGES, *SHAPE) * 4 - 2
        with torch.no_grad():
            for routing in ("hard", "soft", "none"):
                mixture = build(tree, routing)
                said = mixture(images)
                total = said.probabilities.sum(dim=1)
                torch.testing.assert_close(total, torch.ones(IMAGES), rtol=0, atol=1e-5)
                # Every class has some of it: the base at least is asked of all.
                assert (said.probabilities.amax(dim=0) > 0).all()
                if routing == "hard":
                    dense = mixture.combine(images, mixture.dense(images))
                    assert torch.equal(said.frozen.route, dense.frozen.route)
                    torch.testing.assert_close(said.probabilities, dense.probabilities, rtol=0, atol=1e-5)
            _check_every_leaf_is_reached(tree, build(tree, "hard"), images)
        tally[f"valid trees of depth {max(map(len, tree.paths)) - 1}", "sums to 1, sparse is dense, all reached"] += 1


def _check_every_leaf_is_reached(tree: Tree, mixture: Mixture, images: Tensor) -> None:
    """With routers that are sure of the way to a class, its images go to the leaf that holds it."""
    for label in range(len(tree.classes)):
        for router, node in zip(mixture.routers, tree.routers, strict=True):
            child = next((d for d, child in enumerate(node.children) if label in child.labels), 0)
            assert isinstance(router, Sure)
            router.linear.weight.zero_()
            router.linear.bias.copy_(torch.arange(len(node.children)).eq(child) * 50.0)
        assert mixture(images).frozen.route.tolist() == [tree.leaf_of_label[label]] * IMAGES


def places(branches: dict[Any, Any]) -> list[tuple[dict[Any, Any], Any]]:
    """Every mapping of a tree with each of its keys."""
    found = [(branches, key) for key in branches]
    return found + [place for part in branches.values() if isinstance(part, dict) for place in places(part)]


def spoil(drawn: random.Random, branches: dict[Any, Any]) -> str:
    """Make a valid tree invalid; says how."""
    inner, key = drawn.choice(places(branches))
    leaves = [(at, name) for at, name in places(branches) if isinstance(at[name], list)]
    leaf, name = drawn.choice(leaves)
    kind = drawn.randrange(6)
    if kind == 0:
        leaf[name] = leaf[name][1:]
        return "a class in no branch, or an empty branch"
    if kind == 1:
        leaf[name] = [*leaf[name], drawn.choice(leaves[0][0][leaves[0][1]])]
        return "a class twice"
    if kind == 2:
        inner[key] = drawn.choice(WRONG)
        return "no branch at all"
    if kind == 3:
        inner[drawn.choice(("base", "router", "gates", "router-x", "_x", "a b", "é", "a/b", "-"))] = inner.pop(key)
        return "a name that is taken, or none"
    if kind == 4:
        leaf[name] = {"only": leaf[name]}
        return "an inner node of one branch"
    leaf[name] = [*leaf[name], drawn.choice(("c99", 99, -1, "C0", "", None, 1.5, [0]))]
    return "an unknown class"


def test_invalid_trees_get_a_sentence(long: bool, tally: Tally) -> None:
    drawn = random.Random(1)
    for _ in range(20_000 if long else 400):
        branches, classes = draw_tree(drawn)
        how = spoil(drawn, branches)
        with pytest.raises(ConfigError) as caught:
            parse(branches, classes)
        said = str(caught.value)
        assert said.startswith("taxonomy.branches") and "\n" not in said, said
        tally[how, "one sentence"] += 1


def test_a_tree_that_is_very_deep() -> None:
    branches: Any = [0]
    for number in range(1, 61):
        branches = {f"a{number}": branches, f"b{number}": [number]}
    tree = parse(branches, [f"c{number}" for number in range(61)])
    assert len(tree.leaves) == 61 and max(map(len, tree.paths)) == 61
