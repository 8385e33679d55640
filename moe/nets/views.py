"""Test-time views: a network's logits averaged over an image, its mirror image and shifts of both.

Legend: B batch, C channels, H height, W width, K outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

VIEWS = ("none", "flip", "flip_shift")


class Views(nn.Module):
    """`net` asked of several views of each image, in evaluation alone; the logits' mean is what it says.

    `flip`: the image and its mirror image, alike. `flip_shift`: those two count half, and half the same two of the
    image moved by a pixel up and left, and down and right, reflected at the border.
    Source: Jordan 2024, arXiv 2404.00498, section 3.7.
    """

    def __init__(self, net: nn.Module, views: str) -> None:
        super().__init__()
        if views not in VIEWS:
            raise ValueError(f"views must be one of {', '.join(VIEWS)}, not {views!r}")
        self.net, self.views = net, views

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        logits: Tensor
        if self.training or self.views == "none":
            logits = self.net(images)
            return logits
        seen = [(images, 1.0)]
        if self.views == "flip_shift":
            height, width = images.shape[-2:]
            padded = pad(images, (1, 1, 1, 1), mode="reflect")
            moved = (padded[..., 2:, 2:], padded[..., :height, :width])
            seen = [(images, 0.5), *((image, 0.25) for image in moved)]
        both = [(image, weight / 2) for view, weight in seen for image in (view, view.flip(-1))]
        logits = torch.stack([weight * self.net(image) for image, weight in both]).sum(dim=0)
        return logits
