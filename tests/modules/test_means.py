"""Means over an epoch, by hand."""

from typing import Any

import pytest
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from moe.modules import means as means_module
from moe.modules.means import EpochMeans

CPU = torch.device("cpu")
ONE: Any = SingleDeviceStrategy(CPU)
# Of three classes the images of four are given 2, 0, 1 and 1, that of one 2.
FOUR = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.2, 0.3], [0.0, 0.9, 0.1], [0.3, 0.4, 0.3]])
ONE_MORE = torch.tensor([[0.0, 0.4, 0.6]])


@pytest.mark.parametrize("held", [1, 2**18])  # summed up at each step, and at the end
def test_batches_of_all_sizes_count_by_their_images(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means_module, "HELD", held)
    means = EpochMeans(2)
    for _ in range(2):  # an epoch knows nothing of the one before
        means.begin(CPU)
        means.add(FOUR, torch.tensor([2, 1, 1, 1]), torch.tensor(0.5), torch.tensor(-1.0))
        assert len(means._held) == (held > 1)
        means.add(ONE_MORE, torch.tensor([0]), torch.tensor(1.0), torch.tensor(9.0))
        # 3 of 5 are right; (4 x 0.5 + 1) / 5 and (4 x -1 + 9) / 5
        torch.testing.assert_close(means.means(ONE), torch.tensor([0.6, 0.6, 1.0]))


@pytest.mark.parametrize(("scores", "steps"), [(36, 1000), (1000, 3)])  # three batches of 12 scores
def test_no_more_is_held_than_there_is_room_for(scores: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means_module, "HELD", scores)
    monkeypatch.setattr(means_module, "HELD_STEPS", steps)
    means, held = EpochMeans(0), []
    means.begin(CPU)
    for _ in range(7):
        means.add(FOUR, torch.tensor([2, 0, 1, 0]))
        held.append(len(means._held))
    assert held == [1, 2, 0, 1, 2, 0, 1]
    assert means.means(ONE).tolist() == [0.75]


def test_nothing_is_learnt_from_what_is_counted() -> None:
    means, scores = EpochMeans(1), FOUR.clone().requires_grad_()
    means.begin(CPU)
    means.add(scores, torch.tensor([2, 0, 1, 1]), scores.sum())
    assert not means.means(ONE).requires_grad


def test_what_is_not_finite_is_seen() -> None:
    means = EpochMeans(1)
    means.begin(CPU)
    means.add(ONE_MORE, torch.tensor([2]), torch.tensor(float("nan")))
    right, other = means.means(ONE)
    assert right == 1 and torch.isnan(other)


def test_of_several_processes_the_sums_are_added_before_they_are_divided() -> None:
    class Two:
        def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "sum"
            return tensor + torch.tensor([0.0, 10.0, 3.0])  # another process: none right, a sum of 10 over 3 images

    means, two = EpochMeans(1), Two()
    means.begin(CPU)
    means.add(ONE_MORE, torch.tensor([2]), torch.tensor(2.0))
    assert means.means(two).tolist() == [0.25, 3.0]  # type: ignore[arg-type]
