"""A VGG-like network for small images, built to train fast.

Legend: N images, B batch, C channels, H height, W width, K outputs, P = C x 2 x 2 pixels of a patch, F = 2P filters.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# Widths of the three groups, and the convolutions in each.
SIZES: dict[str, tuple[tuple[int, ...], int]] = {
    "s": ((64, 256, 256), 2),
    "m": ((128, 384, 384), 2),
    "l": ((128, 384, 512), 3),
}


class FastVGG(nn.Module):
    """Frozen patch whitening, groups of convolutions, each of which halves the image, and a scaled linear head.

    `size` is s, m or l, of three groups; `widths`, one a group, and `convs` (2, or 3 of which the last two are a
    residual) replace what it says.
    Without `whitening` the first convolution learns from a random start, without `dirac` so do all others. Raises
    ValueError for an unknown size and where the image is too small to be halved so often.
    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, section 3.
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
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r}")
        channels, height, width = in_shape
        widths, convs = widths or SIZES[size][0], convs or SIZES[size][1]
        if convs not in (2, 3):
            raise ValueError(f"convs must be 2 or 3, not {convs}")
        if (min(height, width) - 1) >> len(widths) == 0:
            raise ValueError(f"images of {height}x{width} are too small: each of {len(widths)} groups halves them")
        filters = 2 * channels * 4
        self.whitening = nn.Conv2d(channels, filters, 2)
        nn.init.zeros_(self.whitening.bias)  # type: ignore[arg-type]
        self.whitens, self.scale = whitening, scale
        self.whitening.weight.requires_grad_(not whitening)
        groups = [Group(before, after, convs, dirac) for before, after in pairwise((filters, *widths))]
        self.groups = nn.Sequential(*groups)
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        self.activation = nn.GELU()

    @property
    def early_parameters(self) -> list[nn.Parameter]:
        """What a recipe may let learn at the start alone (`early_epochs`): the bias of the whitening."""
        return [p for name, p in self.whitening.named_parameters() if self.whitens and name == "bias"]

    def prepare(self, images: Tensor) -> None:
        """Make the first convolution whiten the 2x2 patches of images (N, C, H, W) as they come in when learning."""
        if self.whitens:
            with torch.no_grad():
                self.whitening.weight.copy_(whitening_filters(images))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        return self.branch(self.trunk(images))

    def trunk(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to what comes out of all groups but the last."""
        features: Tensor = self.groups[:-1](self.activation(self.whitening(images)))
        return features

    def branch(self, features: Tensor) -> Tensor:
        """What `trunk` made of images to logits (B, K), by the last group and the head."""
        logits: Tensor = self.head(self.groups[-1](features).amax(dim=(2, 3))) * self.scale
        return logits

    @property
    def trunk_layers(self) -> list[nn.Module]:
        """The modules of which `trunk` is made."""
        return [self.whitening, *self.groups[:-1]]


class Group(nn.Module):
    """Convolution, pool, norm, GELU, then one convolution, norm, GELU, or two of them as a residual."""

    def __init__(self, before: int, after: int, convs: int, dirac: bool) -> None:
        super().__init__()
        channels = [before, *[after] * convs]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(BatchNorm(after) for _ in range(convs))
        self.pool, self.activation = nn.MaxPool2d(2), nn.GELU()
        for conv in self.convs if dirac else ():
            # The first filters pass their input on, the others start at random.
            nn.init.dirac_(conv.weight[: conv.weight.shape[1]].detach())  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / 2, W / 2)."""
        first, *others = self.convs
        entered = self.activation(self.norms[0](self.pool(first(images))))
        out: Tensor = entered
        for place, conv in enumerate(others, 1):
            out = self.norms[place](conv(out))
            if place == 2:
                out = out + entered
            out = self.activation(out)
        return out


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose scale stays 1; its running statistics move fast, for trainings of few steps."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)


def whitening_filters(images: Tensor, eps: float = 5e-4) -> Tensor:
    """Filters (F, C, 2, 2) whose first half gives patches of images (N, C, H, W) the identity as second moment.

    They are the eigenvectors of the patches' second moment over the roots of their eigenvalues, the largest first; the
    second half is the first with its sign turned, so that no activation loses either. To the eigenvalues `eps` times
    the pixels' variance is added: the paper's images have variance 1, ours come as they are. Source: section 3.2.
    """
    channels = images.shape[1]
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * 4).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    eps *= images.double().var(dim=(0, 2, 3), correction=0).mean().item()
    filters = (vectors / (values + eps).sqrt()).T.flip(0)
    return torch.cat([filters, -filters]).reshape(-1, channels, 2, 2).to(images.dtype)
