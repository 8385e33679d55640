"""An expert's network as it speaks in a mixture: probabilities over all classes of the data set.

Legend: B batch, C H W image, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ClassExpert(nn.Module):
    """An expert's network as probabilities over all K classes: zero for those it has no output for.

    `labels` are the classes of its outputs, in order; a further output, for all other classes, is no class's. Its
    logits are divided by `temperature`. One that is `shared` has the base's trunk. Without a network (a node of one
    class) the probability of that class is one.
    """

    def __init__(
        self,
        net: nn.Module | None,
        labels: Sequence[int],
        num_classes: int,
        temperature: float = 1.0,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.num_classes, self.temperature, self.shared = net, num_classes, temperature, shared
        self.register_buffer("labels", torch.tensor(list(labels)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to probabilities (B, K) in fp32."""
        if self.net is None:
            out = torch.zeros(len(images), self.num_classes, device=images.device)
            return out.index_fill_(1, self.get_buffer("labels"), 1.0)
        return self._probabilities(self.net(images))

    def trunk(self, images: Tensor) -> Tensor:
        """What the trunk makes of images (B, C, H, W); its first dimension is B."""
        assert self.net is not None
        features: Tensor = self.net.trunk(images)  # type: ignore[operator]
        return features

    def branch(self, features: Tensor) -> Tensor:
        """What `trunk` made of images to probabilities (B, K) in fp32."""
        assert self.net is not None
        return self._probabilities(self.net.branch(features))  # type: ignore[operator]

    def _probabilities(self, logits: Tensor) -> Tensor:
        return class_probabilities(logits, self.get_buffer("labels"), self.num_classes, self.temperature)


def class_probabilities(logits: Tensor, labels: Tensor, num_classes: int, temperature: float | Tensor = 1.0) -> Tensor:
    """A network's logits (B, outputs) to probabilities (B, K) in fp32 of all classes, by its outputs' `labels`.

    What it says of all other classes together, in a last output beyond those, is no class's.
    """
    said = (logits.float() / temperature).softmax(dim=1)[:, : len(labels)]
    return torch.zeros(len(logits), num_classes, device=logits.device).index_copy_(1, labels, said)
