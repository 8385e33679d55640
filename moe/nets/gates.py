"""Gates: how much to trust each expert on an image's way, for each class.

Legend: B batch, C H W image, K classes, E experts on the way from the root to the gate's leaf.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moe.nets.initial import glorot_uniform_

WEIGHTS = ("joint", "per_class", "per_expert")


def shares(weights: Tensor, experts: Tensor) -> Tensor:
    """Each expert's part (B, E) in the mixture, of weights (B, K, E) and probabilities (B, E, K); sums to one.

    The part of the mixture's probability that comes from the expert: of experts whose probabilities sum to one 1/E
    each for uniform weights, and the weight itself where there is one for all classes; an expert that gives some of its
    own to classes that are not among these (`expert.outputs=rest`) has less. Weights for classes that an expert has no
    output for count nothing.
    """
    mass = (weights * experts.transpose(1, 2)).sum(dim=1)
    return mass / mass.sum(dim=1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)


def entropy(weights: Tensor, experts: Tensor) -> Tensor:
    """Entropy in nats (B,) of the experts' `shares`: ln E where all have the same."""
    summed: Tensor = torch.special.entr(shares(weights, experts)).sum(dim=1)
    return summed


class Gate(nn.Module):
    """A gate's frame: subclasses say the logits, this normalises them.

    `weights` says what they sum to one over: `joint` over classes x experts (the notebook's), `per_class`
    over the experts of each class, `per_expert` over the experts, one weight for all classes.
    """

    def __init__(self, in_shape: tuple[int, int, int], num_classes: int, num_experts: int, weights: str) -> None:
        super().__init__()
        if weights not in WEIGHTS:
            raise ValueError(f"gate.weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
        self.in_shape, self.num_classes, self.num_experts, self.weights = in_shape, num_classes, num_experts, weights
        self.num_logits = num_experts if weights == "per_expert" else num_classes * num_experts

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        """Unnormalised weights (B, `num_logits`); classes vary slowest. What a kind of gate defines."""
        raise NotImplementedError

    def forward(self, images: Tensor, experts: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Weights (B, K, E) in fp32 and metrics (B,), from images (B, C, H, W) and probabilities (B, E, K)."""
        logits = self.logits(images, experts).float()
        size = (-1, self.num_classes, self.num_experts)
        if self.weights == "joint":
            weights = logits.softmax(dim=1).view(size)
        elif self.weights == "per_class":
            weights = logits.view(size).softmax(dim=2)
        else:
            weights = logits.softmax(dim=1).unsqueeze(1).expand(size)
        return weights, {"entropy": entropy(weights.detach(), experts)}


def _hidden_layers(inputs: int, width: int, depth: int, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
        inputs = width
    return layers


class MLPGate(Gate):
    """The flattened image through `depth` hidden layers of `width`. Source: the notebook's gates."""

    def __init__(self, width: int = 512, depth: int = 1, dropout: float = 0.5, **frame: Any) -> None:
        super().__init__(**frame)
        layers = _hidden_layers(math.prod(self.in_shape), width, depth, dropout)
        self.net = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, self.num_logits))
        glorot_uniform_(self)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


class ConvGate(Gate):
    """`depth` blocks of a 3x3 convolution and a 2x2 max pool, the mean over positions, a linear map."""

    def __init__(self, width: int = 32, depth: int = 2, dropout: float = 0.0, **frame: Any) -> None:
        super().__init__(**frame)
        channels, height, image_width = self.in_shape
        if min(height, image_width) >> depth == 0:
            raise ValueError(
                f"gate.depth={depth} is too deep for images of {height}x{image_width}: each block halves them"
            )
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout)]
            channels = width
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, self.num_logits))
        glorot_uniform_(self)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


class LinearGate(Gate):
    """One linear map of the pixels."""

    def __init__(self, **frame: Any) -> None:
        super().__init__(**frame)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(self.in_shape), self.num_logits))
        glorot_uniform_(self)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


class ConfidenceGate(Gate):
    """Sees the experts' probabilities, not the image: `depth` hidden layers of `width` over all of them."""

    def __init__(self, width: int = 64, depth: int = 1, dropout: float = 0.0, **frame: Any) -> None:
        super().__init__(**frame)
        layers = _hidden_layers(self.num_experts * self.num_classes, width, depth, dropout)
        self.net = nn.Sequential(*layers, nn.Linear(width, self.num_logits))
        glorot_uniform_(self)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(experts.flatten(1))
        return out


class ConstantGate(Gate):
    """Learned weights that are the same for every image; they start uniform."""

    def __init__(self, **frame: Any) -> None:
        super().__init__(**frame)
        self.constant = nn.Parameter(torch.zeros(self.num_logits))

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        return self.constant.expand(len(images), -1)


class UniformGate(Gate):
    """The same weight for every expert and class: nothing to learn."""

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        return torch.zeros(len(images), self.num_logits, device=images.device)
