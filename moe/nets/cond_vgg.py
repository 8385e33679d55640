"""A `FastVGG` whose convolutions are mixtures: each image's kernels are mixed by gates that learn with all else.

Legend: B batch, C channels in, O channels out, H height, W width, M kernels of each convolution.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe.nets.fast_vgg import FastVGG, Group

KERNELS = 8  # as CondConv has them
GATINGS = DYNAMIC, STATIC = ("dynamic", "static")
# So many numbers the mixed kernels of at most so many images have: past twice that oneDNN's way back takes thirty times
# as long. On a GPU neither this nor a convolution in so many groups has been measured.
AT_ONCE = 2**25


class CondConv2d(nn.Module):
    """A 3x3 convolution by a kernel that is each image's own mixture of those of M `convs`, which have no biases.

    That is the mixture of what M convolutions say, at the cost of one and of mixing their kernels, which are stacked in
    one `weight` (M x O, C, 3, 3). The gate is a softmax over a linear layer, which sees the mean of each channel,
    normalised over the images. It starts out by telling images apart, by logits of standard deviation `spread`: kernels
    that start alike and are mixed alike for all images stay alike.
    `static`, it sees nothing, and its logits are constants that start out with that deviation: all images have the same
    kernel, a weighted mean of those that learn. Such is what is left without gating, at the cost of one convolution.
    Source: Yang et al. 2019, CondConv, arXiv 1904.04971; softmax: Chen et al. 2020, Dynamic convolution, arXiv
    1912.03458.
    """

    def __init__(self, convs: Sequence[nn.Conv2d], spread: float = 2.0, static: bool = False) -> None:
        super().__init__()
        channels = 1 if static else convs[0].in_channels  # that the gate sees
        self.weight = nn.Parameter(torch.cat([conv.weight.detach() for conv in convs]))
        self.stacked, self.static = len(convs), static
        if not static:
            self.norm = nn.BatchNorm1d(channels, affine=False, momentum=0.4)
        self.gate = nn.Linear(channels, len(convs), bias=not static)
        nn.init.normal_(self.gate.weight, std=spread / channels**0.5)
        if not static:
            nn.init.zeros_(self.gate.bias)

    def weights(self, features: Tensor) -> Tensor:
        """What each image of features (B, C, H, W) gives each kernel, (B, M) in fp32; an image's sum to one.

        (1, M) for all of them where that is static.
        """
        seen = torch.ones(1, 1, device=features.device) if self.static else self.norm(features.float().mean(dim=(2, 3)))
        said: Tensor = self.gate(seen)
        return said.float().softmax(dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, H, W)."""
        if self.static:
            kernel = self.weights(features) @ self.weight.reshape(self.stacked, -1)
            return F.conv2d(features, kernel.view(-1, features.shape[1], 3, 3), padding=1)
        at_once = max(1, AT_ONCE * self.stacked // self.weight.numel())
        parts = zip(torch.split(features, at_once), torch.split(self.weights(features), at_once), strict=True)
        return torch.cat([self._mixed(*part) for part in parts])

    def _mixed(self, features: Tensor, weights: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        kernels = (weights @ self.weight.reshape(self.stacked, -1)).view(-1, channels, 3, 3)
        # The images side by side as groups of channels, each of which has kernels of its own.
        side_by_side = features.reshape(1, -1, height, width)
        return F.conv2d(side_by_side, kernels, padding=1, groups=batch).view(batch, -1, height, width)


class CondVGG(FastVGG):
    """A `FastVGG` each of whose convolutions, but for the first group's, is a mixture of so many `kernels`.

    The first group has few channels and many pixels: there its cost is not in the kernels. `gating` is `dynamic`, each
    image's own, or `static`, the same for all.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        num_classes: int,
        size: str = "s",
        widths: Sequence[int] | None = None,
        convs: int | None = None,
        whitening: bool = True,
        dirac: bool = True,
        scale: float = 1 / 9,
        kernels: int = KERNELS,
        gating: str = DYNAMIC,
    ) -> None:
        super().__init__(in_shape, num_classes, size, widths, convs, whitening, dirac, scale)
        if kernels < 2:
            raise ValueError(f"kernels must be 2 or more, not {kernels}; fast_vgg has one")
        if len(self.groups) < 2:
            raise ValueError("widths must be of two groups or more: the first mixes no kernels")
        if gating not in GATINGS:
            raise ValueError(f"gating must be {' or '.join(GATINGS)}, not {gating}")
        for group in list(self.groups)[1:]:
            assert isinstance(group, Group)
            after, before = group.convs[0].weight.shape[:2]  # type: ignore[index]
            alike = [group, *(Group(before, after, len(group.convs), dirac) for _ in range(kernels - 1))]
            each = zip(*(other.convs for other in alike), strict=True)
            group.convs = nn.ModuleList(CondConv2d(convs, static=gating == STATIC) for convs in each)
