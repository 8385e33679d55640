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
        if self.training or self.views == "none":
            logits: Tensor = self.net(images)
            return logits
        return self._mean([self.net(view) for view in self._seen(images)])

    def trunk(self, images: Tensor) -> Tensor:
        """What the network's trunk makes of each of V views of images (B, C, H, W), (B, V, ...)."""
        return torch.stack([self.net.trunk(view) for view in self._seen(images)], dim=1)  # type: ignore[operator]

    def branch(self, features: Tensor) -> Tensor:
        """What `trunk` made of the views, (B, V, ...), to logits (B, K)."""
        return self._mean([self.net.branch(view) for view in features.unbind(dim=1)])  # type: ignore[operator]

    def _seen(self, images: Tensor) -> list[Tensor]:
        seen = [images]
        if self.views == "flip_shift":
            height, width = images.shape[-2:]
            padded = pad(images, (1, 1, 1, 1), mode="reflect")
            seen += [padded[..., 2:, 2:], padded[..., :height, :width]]
        return seen if self.views == "none" else [image for view in seen for image in (view, view.flip(-1))]

    def _mean(self, logits: list[Tensor]) -> Tensor:
        """The mean (B, K) of the views' logits: the image and its mirror image count as much as all shifted ones."""
        weights = {1: [1.0], 2: [0.5] * 2, 6: [0.25] * 2 + [0.125] * 4}[len(logits)]
        return torch.stack([weight * said for weight, said in zip(weights, logits, strict=True)]).sum(dim=0)
