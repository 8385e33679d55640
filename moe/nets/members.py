"""Bases of one run that speak together: an ensemble, all of it or only as far as an image needs.

Legend: B batch, C H W image, K classes, M members.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Members(nn.Module):
    """M classifiers over the same K classes; the mean of their probabilities is what they say.

    With `cascade` the members are asked one after another, and for each image only until their mean gives some class
    at least that probability. `forward` runs no more than that; `dense` runs all of them. Logits are divided by
    `temperatures` (M,), all 1 by default.
    Source: Lakshminarayanan et al. 2017, Simple and scalable predictive uncertainty estimation using deep ensembles;
    for the cascade Wang et al. 2022, Wisdom of committees.
    """

    def __init__(
        self, nets: Sequence[nn.Module], cascade: float | None = None, temperatures: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.nets, self.cascade = nn.ModuleList(nets), cascade
        self.temperatures = list(temperatures or [1.0] * len(nets))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) to probabilities (B, K) in fp32 and how many members ran (B,)."""
        total = self._said(0, images)
        asked = torch.ones(len(images), dtype=torch.long, device=images.device)
        for number in range(1, len(self.nets)):
            # Of an image that was left before, `total` holds fewer members.
            unsure = ((asked == number) & self._unsure(total / number)).nonzero().squeeze(1)
            if not len(unsure):
                break
            total[unsure] += self._said(number, images[unsure])
            asked[unsure] += 1
        return total / asked[:, None], asked

    def dense(self, images: Tensor) -> Tensor:
        """What every member says (B, M, K) of images (B, C, H, W)."""
        return torch.stack([self._said(number, images) for number in range(len(self.nets))], dim=1)

    def combine(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, from what every member says (B, M, K)."""
        count = said.shape[1]
        means = said.cumsum(dim=1) / torch.arange(1, count + 1, device=said.device)[:, None]  # (B, M, K)
        enough = ~self._unsure(means)
        enough[:, -1] = True
        asked = enough.int().argmax(dim=1)  # the first
        return means[torch.arange(len(said)), asked], asked + 1

    def _said(self, number: int, images: Tensor) -> Tensor:
        logits: Tensor = self.nets[number](images)
        return (logits.float() / self.temperatures[number]).softmax(dim=1)

    def _unsure(self, mean: Tensor) -> Tensor:
        """Whether the mean (..., K) of the members so far asks for another one, (...)."""
        if self.cascade is None:
            return torch.ones(mean.shape[:-1], dtype=torch.bool, device=mean.device)
        return mean.max(dim=-1).values < self.cascade
