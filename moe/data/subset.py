"""Label-subset filtering: the images that a network learns from, their labels renumbered to its outputs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def by_position(labels: Sequence[int]) -> dict[int, int]:
    """Each label to its place in `labels`: what an expert of just those classes learns."""
    return {label: place for place, label in enumerate(labels)}


def by_group(groups: Sequence[Sequence[int]]) -> dict[int, int]:
    """Each label to the number of the group that holds it: what a router learns."""
    return {label: group for group, labels in enumerate(groups) for label in labels}


def filter_labels(labels: Tensor, targets: Mapping[int, int]) -> tuple[Tensor, Tensor]:
    """Where (M,) the `labels` (N,) are in `targets`, ascending, and the target (M,) of each."""
    table = torch.full((max(int(labels.max()), *targets) + 1,), -1)
    for label, target in targets.items():
        table[label] = target
    mapped = table[labels]
    index = (mapped >= 0).nonzero().squeeze(1)
    return index, mapped[index]
