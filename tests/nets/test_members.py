import math

import pytest
import torch
from torch import Tensor, nn

from moe.nets.members import Members


class Says(nn.Module):
    """Says the probabilities of a table's row that an image's only pixel names, and counts the images it saw."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table, self.seen = torch.tensor(table), 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.table[images.flatten().long()].log()


# What three members say of three images, (M, N, K).
FIRST = [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]
SECOND = [[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]]
THIRD = [[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]]
IMAGES = torch.arange(3.0).reshape(3, 1, 1, 1)


def members(cascade: float | None = None) -> Members:
    return Members([Says(FIRST), Says(SECOND), Says(THIRD)], cascade)


def test_without_a_cascade_all_are_averaged() -> None:
    said, asked = members()(IMAGES)
    # (0.9 + 0.5 + 0.1) / 3, (0.6 + 1 + 0.2) / 3, (0.3 + 0.5 + 0.1) / 3.
    assert torch.allclose(said[:, 0], torch.tensor([0.5, 0.6, 0.3]))
    assert torch.allclose(said.sum(dim=1), torch.ones(3))
    assert asked.tolist() == [3, 3, 3]


def test_a_cascade_asks_on_while_the_mean_is_unsure() -> None:
    cascade = members(0.8)
    said, asked = cascade(IMAGES)
    # 0.9 is enough. 0.6 is not, the mean of 0.6 and 1 is 0.8, which is. 0.7 and 0.6 are not: all three.
    assert asked.tolist() == [1, 2, 3]
    assert torch.allclose(said[:, 0], torch.tensor([0.9, 0.8, 0.3]))
    # Nothing else ran.
    assert [net.seen for net in cascade.nets] == [3, 2, 1]  # type: ignore[union-attr]


def test_a_member_is_as_sure_as_its_temperature_makes_it() -> None:
    # 0.9 to 0.1 at temperature 2: the roots, 3 to 1, so 0.75; 0.6 to 0.4 at 0.5: the squares, 9 to 4.
    cascade = Members([Says([[0.9, 0.1], [0.6, 0.4]]), Says([[0.6, 0.4], [0.6, 0.4]])], 0.74, [2.0, 0.5])
    said, asked = cascade(IMAGES[:2])
    assert asked.tolist() == [1, 2]
    second = (math.sqrt(0.6) / (math.sqrt(0.6) + math.sqrt(0.4)) + 9 / 13) / 2
    assert said[:, 0].tolist() == pytest.approx([0.75, second])
    assert torch.allclose(cascade.combine(cascade.dense(IMAGES[:2]))[0], said)


@pytest.mark.parametrize("cascade", [None, 0.3, 0.5, 0.6, 0.7, 0.95, 1.0])
def test_what_runs_sparsely_says_what_the_dense_definition_does(cascade: float | None) -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(12, 4)) for _ in range(5)]
    members, images = Members(nets, cascade), 3 * torch.randn(200, 3, 2, 2)
    with torch.no_grad():
        said, asked = members(images)
        dense = members.dense(images)
    expected, counts = [], []
    for row in dense:  # (M, K)
        for count in range(1, 6):
            mean = row[:count].mean(dim=0)
            if count == 5 or (cascade is not None and mean.max() >= cascade):
                break
        expected.append(mean)
        counts.append(count)
    assert torch.allclose(said, torch.stack(expected), atol=1e-6)
    assert asked.tolist() == counts
    stored, asked_there = members.combine(dense)
    assert torch.allclose(stored, said, atol=1e-6) and torch.equal(asked_there, asked)
