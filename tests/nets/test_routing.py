"""Where routers send an image, worked out by hand."""

import torch

from moe.nets.routing import hard_route, leaf_probabilities, route_by_base
from moe.taxonomy import parse

# The base has left and right; left has low (a, b) and high (c); right has d, e, f.
NESTED = parse({"left": {"low": [0, 1], "high": [2]}, "right": [3, 4, 5]}, "abcdef")
FLAT3 = parse({"x": [0], "y": [1], "z": [2]}, "abc")


def test_the_base_routes_by_its_probabilities_summed_by_branch() -> None:
    tree = parse({"low": {"a": [0], "b": [2]}, "high": [1, 3]}, "wxyz")
    base = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.0, 1.0, 0.0, 0.0]])
    root, low = tree.routers
    # low holds 0 and 2: .1 + .4; high 1 and 3: .2 + .3. Below low, .1 against .4 of .5.
    torch.testing.assert_close(route_by_base(base, root), torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    # Where the base gives a branch nothing, nothing is said of its children: no NaN.
    torch.testing.assert_close(route_by_base(base, low), torch.tensor([[0.2, 0.8], [0.0, 0.0]]))


def test_leaf_probabilities_are_the_product_down_the_way() -> None:
    root = torch.tensor([[0.6, 0.4], [0.1, 0.9]])
    left = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    # First: low .6*.3, high .6*.7, right .4. Second: low .1*1, high 0, right .9.
    expected = torch.tensor([[0.18, 0.42, 0.4], [0.1, 0.0, 0.9]])
    found = leaf_probabilities([root, left], NESTED)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def test_hard_routing_takes_the_argmax_at_each_node() -> None:
    root = torch.tensor([[0.55, 0.45], [0.4, 0.6], [0.9, 0.1]])
    left = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.2, 0.8]])
    # The first goes left, then low, though right (.45) is more probable than low (.33): the way is greedy.
    assert hard_route([root, left], NESTED).tolist() == [0, 2, 1]


def test_ties_go_to_the_first_child() -> None:
    third = 1 / 3
    routers = [torch.tensor([[third, third, third], [0.2, 0.4, 0.4], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]])]
    assert hard_route(routers, FLAT3).tolist() == [0, 1, 0, 2]
    # At every node: a tie at the root goes left, a tie there to low.
    half = torch.full((2, 2), 0.5)
    assert hard_route([half, half], NESTED).tolist() == [0, 0]
