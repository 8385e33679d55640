"""VGG-like networks for small images.

Legend: B batch, C channels, H height, W width, K outputs.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from moe.nets.initial import glorot_uniform_


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, each block ended by a 2x2 max pool; then one hidden layer.

    `blocks` holds the output channels of each block's convolutions, `conv_dropout` follows each pool and
    `dropout` the hidden layer. Raises ValueError where the image is too small for so many pools.
    Source: the notebook's `simple_vgg` and `fat_vgg`.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        num_classes: int,
        blocks: Sequence[Sequence[int]] = ((32, 32), (64, 64)),
        hidden: int = 512,
        conv_dropout: float = 0.25,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels, height, width = in_shape
        if min(height, width) >> len(blocks) == 0:
            raise ValueError(f"images of {height}x{width} are too small for {len(blocks)} blocks, each halves them")
        layers: list[nn.Module] = []
        self._last = 0  # where the last block begins
        for block in blocks:
            self._last = len(layers)
            for out_channels in block:
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
                channels = out_channels
            layers += [nn.MaxPool2d(2), nn.Dropout(conv_dropout)]
            height, width = height // 2, width // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        glorot_uniform_(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, K)."""
        return self.branch(self.trunk(images))

    def trunk(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to what comes out of all blocks but the last."""
        features: Tensor = self.features[: self._last](images)
        return features

    def branch(self, features: Tensor) -> Tensor:
        """What `trunk` made of images to logits (B, K), by the last block and the head."""
        logits: Tensor = self.head(self.features[self._last :](features))
        return logits

    @property
    def trunk_layers(self) -> list[nn.Module]:
        """The modules of which `trunk` is made."""
        return list(self.features[: self._last])
