"""The tree of label subsets from which every network of a mixture follows.

Legend: K classes, E experts (one a node, preorder, the base first), L leaves, R routers (one an inner node).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from moe.errors import ConfigError

ROOT = "base"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
KEY = "taxonomy.branches"
# Names that stages have, or what is said of all images; a branch of that name could not be told from them.
RESERVED = re.compile(r"(base|router)(-.*)?|gates|accuracy|all")


@dataclass(frozen=True)
class Node:
    """A label subset: `labels` are class numbers in ascending order, `children` split them among themselves."""

    name: str
    labels: tuple[int, ...]
    children: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, parents before children."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def groups(self) -> list[list[int]]:
        """The labels of each child, in order: what a router tells apart."""
        return [list(child.labels) for child in self.children]

    def structure(self) -> list[Any]:
        """The tree without its names: a leaf is its labels, an inner node the list of its children."""
        return [child.structure() for child in self.children] if self.children else list(self.labels)


@dataclass(frozen=True)
class Tree:
    """A parsed taxonomy. `classes` are the K class names by label; `root` holds every label."""

    classes: tuple[str, ...]
    root: Node

    @cached_property
    def experts(self) -> list[Node]:
        """The E nodes in preorder: the base first, then the specialists."""
        return list(self.root.walk())

    @cached_property
    def routers(self) -> list[Node]:
        """The R inner nodes in preorder."""
        return [node for node in self.experts if node.children]

    @cached_property
    def leaves(self) -> list[Node]:
        """The L leaves in preorder."""
        return [node for node in self.experts if not node.children]

    @cached_property
    def paths(self) -> list[list[int]]:
        """For each leaf the indices into `experts` from the root down to it."""
        return [[i for i, node in enumerate(self.experts) if self._above(node, leaf)] for leaf in self.leaves]

    def weighed(self, routing: str) -> list[list[int]]:
        """For each gate the indices into `experts` that it weighs: its leaf's path; with routing `none` all."""
        return [list(range(len(self.experts)))] if routing == "none" else self.paths

    @cached_property
    def ways(self) -> list[list[tuple[int, int]]]:
        """For each leaf the (router, child) choices that lead to it, from the root down."""
        return [
            [
                (r, d)
                for r, node in enumerate(self.routers)
                for d, child in enumerate(node.children)
                if self._above(child, leaf)
            ]
            for leaf in self.leaves
        ]

    @cached_property
    def leaf_of_label(self) -> list[int]:
        """For each label the index into `leaves` of the leaf that holds it."""
        return [next(i for i, leaf in enumerate(self.leaves) if k in leaf.labels) for k in self.root.labels]

    @staticmethod
    def _above(node: Node, leaf: Node) -> bool:
        return any(below is leaf for below in node.walk())


def parse(branches: Any, classes: Sequence[str]) -> Tree:
    """The tree that `taxonomy.branches` describes over `classes`.

    Branches are a mapping of names to lists of class names or label numbers, or to mappings again. Raises
    ConfigError, naming the branch and the class, where a class is unknown, missing or in two branches, a
    branch is empty, a name repeats, or an inner node has fewer than two branches.
    """
    children = _children(branches, tuple(classes), KEY)
    root = Node(ROOT, tuple(range(len(classes))), children)
    _check_names(root)
    _check_cover(root, classes)
    return Tree(tuple(classes), root)


def _children(branches: Any, classes: tuple[str, ...], key: str) -> tuple[Node, ...]:
    if not isinstance(branches, Mapping):
        raise ConfigError(f"{key} must map branch names to lists of classes, not {branches!r}")
    if len(branches) < 2:
        raise ConfigError(f"{key} needs two or more branches; it has {len(branches)}")
    return tuple(_node(str(name), value, classes, f"{key}.{name}") for name, value in branches.items())


def _node(name: str, value: Any, classes: tuple[str, ...], key: str) -> Node:
    if not NAME.fullmatch(name):
        raise ConfigError(f"{key}: a branch's name takes letters, digits, '_' and '-', not {name!r}")
    if RESERVED.fullmatch(name):
        raise ConfigError(f"{key}: the name {name!r} is taken by a network or row of a run; choose another")
    if isinstance(value, Mapping):
        children = _children(value, classes, key)
        labels = sorted(label for child in children for label in child.labels)
        return Node(name, tuple(labels), children)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key} must be a list of classes or a mapping of branches, not {value!r}")
    if not value:
        raise ConfigError(f"{key} is empty; give it a class or remove it")
    return Node(name, tuple(sorted(_label(item, classes, key) for item in value)))


def _label(item: Any, classes: tuple[str, ...], key: str) -> int:
    if str(item) in classes:
        return classes.index(str(item))
    if isinstance(item, bool) or not re.fullmatch(r"\d+", str(item)):
        near = difflib.get_close_matches(str(item), classes, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the classes are {', '.join(classes)}"
        raise ConfigError(f"{key}: unknown class {item!r}; {hint}")
    if int(item) >= len(classes):
        raise ConfigError(f"{key}: label {item} does not exist; the labels are 0 to {len(classes) - 1}")
    return int(item)


def _check_names(root: Node) -> None:
    seen: set[str] = set()
    for node in root.walk():
        if node.name in seen:
            raise ConfigError(f"{KEY}: the name {node.name!r} is used twice; every branch needs its own")
        seen.add(node.name)


def _check_cover(root: Node, classes: Sequence[str]) -> None:
    home: dict[int, str] = {}
    for leaf in (node for node in root.walk() if not node.children):
        for label in leaf.labels:
            if label in home:
                where = f"both {home[label]} and {leaf.name}" if home[label] != leaf.name else f"{leaf.name} twice"
                raise ConfigError(f"{KEY}: the class {classes[label]!r} is in {where}; it belongs in one")
            home[label] = leaf.name
    missing = [name for label, name in enumerate(classes) if label not in home]
    if missing:
        raise ConfigError(f"{KEY}: no branch holds the class {', '.join(missing)}")
