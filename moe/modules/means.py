"""Means over an epoch's images, summed up on the device."""

import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor

HELD = 2**18  # so many scores are held before they are summed up, of no more steps than
HELD_STEPS = 1000


class EpochMeans:
    """The part of an epoch's images that are right, and the means of `number` other quantities over them.

    What a step says is held, and that of many steps summed up at once, so that it costs a step next to nothing and
    waits for nothing. Where a step is short, a metric of torchmetrics updated for each of them would cost several per
    cent of it.
    """

    def __init__(self, number: int) -> None:
        self._sums, self._count = torch.zeros(1 + number), 0
        self._held: list[tuple[Tensor, ...]] = []

    def begin(self, device: torch.device) -> None:
        """Start an epoch."""
        self._sums, self._count = torch.zeros_like(self._sums, device=device), 0
        self._held = []

    def add(self, scores: Tensor, targets: Tensor, *means: Tensor) -> None:
        """Add a batch: what its images' classes are given (B, K), their targets (B,), its mean of each quantity ()."""
        self._held.append((scores.detach(), targets, *(mean.detach() for mean in means)))
        self._count += len(targets)
        if len(self._held) * scores.numel() >= HELD or len(self._held) == HELD_STEPS:
            self._sum_up()

    def means(self, strategy: Strategy) -> Tensor:
        """The part that is right and the other means (1 + number,), over the images of all processes."""
        self._sum_up()
        count = torch.full_like(self._sums[:1], self._count)
        whole = strategy.reduce(torch.cat([self._sums, count]), reduce_op="sum")
        means: Tensor = whole[:-1] / whole[-1]
        return means

    def _sum_up(self) -> None:
        if not self._held:
            return
        scores, targets, *means = zip(*self._held, strict=True)
        right = (torch.cat(scores).argmax(dim=1) == torch.cat(targets)).sum()
        counts = [len(batch) for batch in targets]  # plain numbers: a tensor of them would be sent to the device
        sums = [torch.stack(torch._foreach_mul(mean, counts)).sum() for mean in means]
        self._sums += torch.stack([right, *sums])
        self._held = []
