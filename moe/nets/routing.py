"""From what routers say to the leaf that an image goes to.

Legend: B batch, K classes, L leaves, D children of a node.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from moe.taxonomy import Node, Tree


def true_leaf(tree: Tree, labels: Tensor) -> Tensor:
    """The leaf (B,) whose classes hold each label (B,)."""
    return torch.tensor(tree.leaf_of_label)[labels]


def route_by_base(base: Tensor, node: Node) -> Tensor:
    """A router (B, D) for nothing: the base's probabilities (B, K) summed over each child's classes, normalised."""
    columns = base.unbind(dim=1)  # and no index of labels, which would be brought to the device, and waited for
    sums = torch.stack([torch.stack([columns[k] for k in c.labels], dim=1).sum(dim=1) for c in node.children], dim=1)
    return sums / sums.sum(dim=1, keepdim=True).clamp_min(torch.finfo(sums.dtype).tiny)


def places(mask: Tensor) -> Tensor:
    """The places (N,) where a mask (B,) is true, found once: a GPU is waited for whenever a mask picks."""
    return mask.nonzero().squeeze(1)


def leaf_probabilities(routers: Sequence[Tensor], tree: Tree) -> Tensor:
    """The product (B, L) of the routers' probabilities, each (B, D), down the way to each leaf."""
    columns = []
    for way in tree.ways:
        column = torch.ones_like(routers[0][:, 0])
        for router, child in way:
            column = column * routers[router][:, child]
        columns.append(column)
    return torch.stack(columns, dim=1)


def hard_route(routers: Sequence[Tensor], tree: Tree) -> Tensor:
    """The leaf (B,) found by taking the most probable child at each node, ties to the first."""
    choices = [router.argmax(dim=1) for router in routers]
    route = torch.zeros_like(choices[0])
    for leaf, way in enumerate(tree.ways):
        here = torch.stack([choices[router] == child for router, child in way]).all(dim=0)
        route = torch.where(here, leaf, route)
    return route
