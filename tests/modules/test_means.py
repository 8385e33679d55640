"""Means over an epoch, by hand."""

from typing import Any

import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from moe.modules.means import EpochMeans

ONE: Any = SingleDeviceStrategy(torch.device("cpu"))


def test_batches_of_all_sizes_count_by_their_images() -> None:
    means = EpochMeans(2)
    for _ in range(2):  # an epoch knows nothing of the one before
        means.begin(torch.device("cpu"))
        means.add(4, torch.tensor(2.0), torch.tensor(3))
        means.add(1, torch.tensor(1.0), torch.tensor(0))
        # (2 + 1) / 5 and (3 + 0) / 5
        torch.testing.assert_close(means.means(ONE), torch.tensor([0.6, 0.6]))


def test_what_is_not_finite_is_seen() -> None:
    means = EpochMeans(2)
    means.begin(torch.device("cpu"))
    means.add(1, torch.tensor(float("nan")), torch.tensor(1))
    assert torch.isnan(means.means(ONE)[0]) and means.means(ONE)[1] == 1


def test_of_several_processes_the_sums_are_added_before_they_are_divided() -> None:
    class Two:
        def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "sum"
            return tensor + torch.tensor([10.0, 3.0])  # another process: a sum of 10 over 3 images

    means, two = EpochMeans(1), Two()
    means.begin(torch.device("cpu"))
    means.add(1, torch.tensor(2.0))
    assert means.means(two) == 3.0  # type: ignore[arg-type]
