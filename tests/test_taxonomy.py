import re
from typing import Any

import pytest

from moe.errors import ConfigError
from moe.taxonomy import Tree, parse

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOME = {
    "artificial": ["airplane", "automobile", "ship", "truck"],
    "natural": ["bird", "cat", "deer", "dog", "frog", "horse"],
}
SIX = ("a", "b", "c", "d", "e", "f")
# Two levels: outer has left, whose two leaves hold a, b and c, and right with d, e and f.
NESTED = {"left": {"low": ["b", "a"], "high": ["c"]}, "right": ["f", "d", "e"]}


def names(nodes: list[Any]) -> list[str]:
    return [node.name for node in nodes]


def nested() -> Tree:
    return parse(NESTED, SIX)


def test_the_home_tree_has_the_labels_of_the_design() -> None:
    tree = parse(HOME, CIFAR10)
    assert tree.classes == CIFAR10
    assert {node.name: node.labels for node in tree.experts} == {
        "base": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
        "artificial": (0, 1, 8, 9),
        "natural": (2, 3, 4, 5, 6, 7),
    }
    assert names(tree.routers) == ["base"]
    assert names(tree.leaves) == ["artificial", "natural"]
    assert tree.paths == [[0, 1], [0, 2]]
    assert tree.ways == [[(0, 0)], [(0, 1)]]
    assert tree.leaf_of_label == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert tree.root.groups == [[0, 1, 8, 9], [2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize(
    "branches",
    [
        {"x": ["a", "c"], "y": ["b", "d", "e", "f"]},
        {"x": [0, 2], "y": [1, 3, 4, 5]},
        {"x": ["0", "2"], "y": ["1", 3, "e", 5]},
        {"x": ("c", "a"), "y": ("f", "e", "d", "b")},
    ],
    ids=["names", "numbers", "mixed", "tuples in another order"],
)
def test_classes_are_named_or_numbered_in_any_order(branches: Any) -> None:
    tree = parse(branches, SIX)
    assert [(leaf.name, leaf.labels) for leaf in tree.leaves] == [("x", (0, 2)), ("y", (1, 3, 4, 5))]


def test_a_name_made_of_digits_is_the_class_of_that_name_before_it_is_a_number() -> None:
    # The classes are named backwards: 0 is the name of label 2, and no class is named 3.
    tree = parse({"x": [0], "y": ["2", 1, 3]}, ("2", "1", "0", "four"))
    assert [leaf.labels for leaf in tree.leaves] == [(2,), (0, 1, 3)]


def test_nested_branches_in_preorder_with_their_paths_and_ways() -> None:
    tree = nested()
    # Preorder: the base, left, left's two leaves, right.
    assert names(tree.experts) == ["base", "left", "low", "high", "right"]
    assert [node.labels for node in tree.experts] == [(0, 1, 2, 3, 4, 5), (0, 1, 2), (0, 1), (2,), (3, 4, 5)]
    assert names(tree.routers) == ["base", "left"]
    assert names(tree.leaves) == ["low", "high", "right"]
    # Indices into the experts above, from the root to each leaf.
    assert tree.paths == [[0, 1, 2], [0, 1, 3], [0, 4]]
    assert tree.weighed("soft") == tree.weighed("hard") == tree.paths
    assert tree.weighed("none") == [[0, 1, 2, 3, 4]]
    # (router, child): low is left's first, and left the base's first.
    assert tree.ways == [[(0, 0), (1, 0)], [(0, 0), (1, 1)], [(0, 1)]]
    assert tree.leaf_of_label == [0, 0, 1, 2, 2, 2]
    assert [node.groups for node in tree.routers] == [[[0, 1, 2], [3, 4, 5]], [[0, 1], [2]]]


def test_three_levels_and_three_branches() -> None:
    tree = parse({"p": ["a"], "q": {"r": ["b"], "s": {"t": ["c"], "u": ["d"]}}, "v": ["e", "f"]}, SIX)
    assert names(tree.experts) == ["base", "p", "q", "r", "s", "t", "u", "v"]
    assert names(tree.routers) == ["base", "q", "s"]
    assert names(tree.leaves) == ["p", "r", "t", "u", "v"]
    assert tree.paths == [[0, 1], [0, 2, 3], [0, 2, 4, 5], [0, 2, 4, 6], [0, 7]]
    assert tree.ways == [[(0, 0)], [(0, 1), (1, 0)], [(0, 1), (1, 1), (2, 0)], [(0, 1), (1, 1), (2, 1)], [(0, 2)]]
    assert tree.leaf_of_label == [0, 1, 2, 3, 4, 4]


def test_structure_is_the_tree_without_its_names() -> None:
    assert nested().root.structure() == [[[0, 1], [2]], [3, 4, 5]]
    other = {"A": {"B": [0, 1], "C": [2]}, "D": [3, 4, 5]}
    assert parse(other, SIX).root.structure() == nested().root.structure()
    # The order of branches is part of it: gates are stored in that order.
    assert parse({"D": [3, 4, 5], "A": [0, 1, 2]}, SIX).root.structure() == [[3, 4, 5], [0, 1, 2]]


def test_walk_gives_parents_before_children() -> None:
    assert names(list(nested().root.walk())) == ["base", "left", "low", "high", "right"]


@pytest.mark.parametrize("name", ["seed", "width", "val", "gate", "depth", "shift", "1", "Fast-cars_2"])
def test_any_plain_word_may_name_a_branch(name: str) -> None:
    assert names(parse({name: [0, 1, 2], "other": [3, 4, 5]}, SIX).leaves) == [name, "other"]


def test_a_branch_name_may_be_a_number_in_yaml() -> None:
    assert names(parse({1: [0, 1, 2], 2: [3, 4, 5]}, SIX).leaves) == ["1", "2"]


KEY = "taxonomy.branches"


@pytest.mark.parametrize(
    ("branches", "sentence"),
    [
        ({"x": ["aaa"], "y": [0]}, f"{KEY}.x: unknown class 'aaa'; the classes are a, b, c, d, e, f"),
        ({"x": [6], "y": [0]}, f"{KEY}.x: label 6 does not exist; the labels are 0 to 5"),
        ({"x": [-1], "y": [0]}, f"{KEY}.x: unknown class -1; the classes are a, b, c, d, e, f"),
        ({"x": [1.0], "y": [0]}, f"{KEY}.x: unknown class 1.0; the classes are a, b, c, d, e, f"),
        ({"x": [True], "y": [0]}, f"{KEY}.x: unknown class True; the classes are a, b, c, d, e, f"),
        ({"x": [None], "y": [0]}, f"{KEY}.x: unknown class None; the classes are a, b, c, d, e, f"),
        (
            {"x": ["a", "b", "c"], "y": ["c", "d", "e", "f"]},
            f"{KEY}: the class 'c' is in both x and y; it belongs in one",
        ),
        ({"x": ["a", 0], "y": [1, 2, 3, 4, 5]}, f"{KEY}: the class 'a' is in x twice; it belongs in one"),
        ({"x": ["a", "b"], "y": ["c"]}, f"{KEY}: no branch holds the class d, e, f"),
        ({"x": [], "y": [0]}, f"{KEY}.x is empty; give it a class or remove it"),
        ({"x": {}, "y": [0]}, f"{KEY}.x needs two or more branches; it has 0"),
        ({}, f"{KEY} needs two or more branches; it has 0"),
        ({"x": [0, 1, 2, 3, 4, 5]}, f"{KEY} needs two or more branches; it has 1"),
        ({"x": {"z": [0]}, "y": [1]}, f"{KEY}.x needs two or more branches; it has 1"),
        ([[0], [1]], f"{KEY} must map branch names to lists of classes, not [[0], [1]]"),
        (None, f"{KEY} must map branch names to lists of classes, not None"),
        ({"x": "a", "y": [1]}, f"{KEY}.x must be a list of classes or a mapping of branches, not 'a'"),
        ({"x": 0, "y": [1]}, f"{KEY}.x must be a list of classes or a mapping of branches, not 0"),
        (
            {"x": {"y": [0], "z": [1]}, "y": [2, 3, 4, 5]},
            f"{KEY}: the name 'y' is used twice; every branch needs its own",
        ),
        ({"a b": [0], "y": [1]}, f"{KEY}.a b: a branch's name takes letters, digits, '_' and '-', not 'a b'"),
        ({"a.b": [0], "y": [1]}, f"{KEY}.a.b: a branch's name takes letters, digits, '_' and '-', not 'a.b'"),
        ({"": [0], "y": [1]}, f"{KEY}.: a branch's name takes letters, digits, '_' and '-', not ''"),
        ({"../x": [0], "y": [1]}, f"{KEY}.../x: a branch's name takes letters, digits, '_' and '-', not '../x'"),
        (
            {"p": {"q": {"r": ["zz"], "s": [1]}, "t": [2]}, "u": [3]},
            f"{KEY}.p.q.r: unknown class 'zz'; the classes are a, b, c, d, e, f",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_branch_and_class(branches: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(branches, SIX)
    assert str(raised.value) == sentence


def test_an_unknown_class_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{KEY}.x: unknown class 'aeroplane'; did you mean airplane?")):
        parse({"x": ["aeroplane"], "y": ["cat"]}, CIFAR10)


@pytest.mark.parametrize("name", ["base", "router", "router-left", "gates", "accuracy", "all"])
def test_names_of_other_networks_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"the name '{name}' is taken by a network or row of a run; choose another"):
        parse({name: [0, 1, 2], "y": [3, 4, 5]}, SIX)
    with pytest.raises(ConfigError, match=f"{KEY}.x.{name}: the name '{name}' is taken"):
        parse({"x": {name: [0], "z": [1, 2]}, "y": [3, 4, 5]}, SIX)


def test_wrong_configs_exit_with_two() -> None:
    with pytest.raises(ConfigError) as raised:
        parse({}, SIX)
    assert raised.value.exit_code == 2
