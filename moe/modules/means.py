"""Means over an epoch's images, summed up on the device."""

import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor


class EpochMeans:
    """Sums over the images of an epoch, and their number, so that a step costs one addition and waits for nothing.

    Where a step is short, a metric of torchmetrics updated for each of them would cost several per cent of it.
    """

    def __init__(self, number: int) -> None:
        self._sums, self._count = torch.zeros(number), 0

    def begin(self, device: torch.device) -> None:
        """Start an epoch."""
        self._sums, self._count = torch.zeros_like(self._sums, device=device), 0

    def add(self, count: int, *sums: Tensor) -> None:
        """Add a batch of so many images, and each quantity's sum () over them."""
        self._sums += torch.stack(sums)
        self._count += count

    def means(self, strategy: Strategy) -> Tensor:
        """The mean of each quantity over the images of all processes."""
        count = torch.full_like(self._sums[:1], self._count)
        whole = strategy.reduce(torch.cat([self._sums, count]), reduce_op="sum")
        means: Tensor = whole[:-1] / whole[-1]
        return means
