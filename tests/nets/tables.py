"""Images and networks by which mixtures are worked out by hand: image i is one pixel of value i, a network a table of
what it says of each.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moe.nets.gates import ConstantGate

Rows = Sequence[Sequence[float]]


class Table(nn.Module):
    """Says log probabilities that are looked up; keeps which images it saw, and in how many batches."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = torch.tensor(rows, dtype=torch.float32).log()
        self.seen: list[int] = []
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        index = images[:, 0, 0, 0].round().long()
        self.seen += index.tolist()
        return self.rows[index]


def pictures(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32).view(count, 1, 1, 1)


def constant(weights: Rows, kind: str = "per_class") -> ConstantGate:
    """A gate that gives every image these weights (K, E), or with per_expert this one row (E,)."""
    given = torch.tensor(weights)
    gate = ConstantGate(in_shape=(1, 1, 1), num_classes=3, num_experts=given.shape[-1], weights=kind)
    gate.constant.data = given.log().flatten()
    return gate
