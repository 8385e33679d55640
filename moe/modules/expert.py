"""The LightningModule of an expert."""

from typing import Any

import torch
from torch import Tensor, nn

from moe.modules.classifier import Classifier
from moe.nets.build import build_network


class Expert(Classifier):
    """Learns to classify the images of a node's classes by cross-entropy.

    All arguments are plain values: `net` a network's config, `in_shape` the images' (C, H, W), `num_classes`
    the number of outputs, `recipe` a `moe.schema.Recipe` as nested values; with `frozen_trunk` all but the
    network's last block and head stays as it is. Batches are (images fp32 (B, C, H, W), targets (B,)).
    """

    def __init__(
        self,
        net: dict[str, Any],
        in_shape: list[int],
        num_classes: int,
        recipe: dict[str, Any],
        frozen_trunk: bool = False,
    ) -> None:
        super().__init__(recipe, num_classes)
        self.save_hyperparameters()
        channels, height, width = in_shape
        self.net = build_network(net, (channels, height, width), num_classes)
        self.net.to(memory_format=torch.channels_last)
        self.frozen_trunk = frozen_trunk
        for layer in self.frozen:
            layer.requires_grad_(False)
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe["label_smoothing"])

    @property
    def frozen(self) -> list[nn.Module]:
        """The layers that stay as they are, asked anew: over several GPUs Lightning replaces normalisations."""
        return list(self.net.trunk_layers) if self.frozen_trunk else []  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> "Expert":
        """As of any module, but a frozen trunk stays in evaluation mode."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, outputs)."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, targets = batch
        logits = self(images)
        loss: Tensor = self.loss(logits.float(), targets)
        if self.share:
            self.train_means.add(logits, targets, loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        images, targets = batch
        if len(targets):
            self.judge(self(images).float(), targets)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """The probabilities (B, outputs) for a batch; its targets are not looked at."""
        found: Tensor = self(batch[0]).float().softmax(dim=1)
        return found

    def judge(self, logits: Tensor, targets: Tensor) -> None:
        """Count a validation batch's logits (B, outputs) against its targets (B,)."""
        self.val_nll.update(nn.functional.cross_entropy(logits, targets, reduction="none"))
        self.val_accuracy.update(logits, targets)
