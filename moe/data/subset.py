"""Label-subset filtering: the images that a network learns from, their labels renumbered to its outputs."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def by_position(labels: Sequence[int]) -> dict[int, int]:
    """Each label to its place in `labels`: what an expert of just those classes learns."""
    return {label: place for place, label in enumerate(labels)}


def among(outputs: Sequence[int], labels: Sequence[int]) -> dict[int, int]:
    """Each of `labels`, a network's own, to its place in the `outputs`: what an expert of those and others learns."""
    places = by_position(outputs)
    return {label: places[label] for label in labels}


def by_group(groups: Sequence[Sequence[int]]) -> dict[int, int]:
    """Each label to the number of the group that holds it: what a router learns."""
    return {label: group for group, labels in enumerate(groups) for label in labels}


def with_others(
    index: Tensor, targets: Tensor, others: Tensor, part: float, seed: int, target: int
) -> tuple[Tensor, Tensor]:
    """Beside the images at `index` (M,), with `targets`, some of those at `others`, with `target`: (M',) each.

    They are `part` of M, or all there are, drawn by `seed`; the order is ascending.
    """
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[: round(part * len(index))]
    both = torch.cat([index, others[drawn]])
    said = torch.cat([targets, torch.full((len(drawn),), target)])
    order = both.argsort()
    return both[order], said[order]


def filter_labels(labels: Tensor, targets: Mapping[int, int]) -> tuple[Tensor, Tensor]:
    """Where (M,) the `labels` (N,) are in `targets`, ascending, and the target (M,) of each."""
    table = torch.full((max(int(labels.max()), *targets) + 1,), -1)
    for label, target in targets.items():
        table[label] = target
    mapped = table[labels]
    index = (mapped >= 0).nonzero().squeeze(1)
    return index, mapped[index]
