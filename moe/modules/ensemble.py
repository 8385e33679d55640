"""The LightningModule of the gated ensemble: only its gates learn."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moe.modules.classifier import Classifier
from moe.nets.build import build_gate
from moe.nets.mixture import Frozen, Mixed, Mixture, zero_absent_gradients_
from moe.taxonomy import parse


class GatedEnsemble(Classifier):
    """Learns the gates of a mixture by the negative log-likelihood of the normalised mixture.

    `gate` is a gate's config, `weights` its normalisation, `branches` and `classes` the taxonomy, `routing`
    hard, soft or none. Batches are (images fp32 (B, C, H, W), labels (B,), and with stored outputs the three
    tensors of a `Frozen`). Without stored outputs the frozen `experts` and `routers` are run live, their
    dropout active while training where `frozen_dropout` says so.
    """

    def __init__(
        self,
        gate: dict[str, Any],
        weights: str,
        in_shape: list[int],
        classes: list[str],
        branches: dict[str, Any],
        routing: str,
        recipe: dict[str, Any],
        frozen_dropout: bool = False,
        experts: Sequence[nn.Module] = (),
        routers: Sequence[nn.Module] = (),
        cascade: float | None = None,
    ) -> None:
        super().__init__(recipe, len(classes), ("loss", "gate_entropy"))
        self.save_hyperparameters(ignore=["experts", "routers"])
        tree = parse(branches, classes)
        channels, height, width = in_shape
        sizes = [len(weighed) for weighed in tree.weighed(routing)]
        gates = [build_gate(gate, (channels, height, width), len(classes), size, weights) for size in sizes]
        self.mixture = Mixture(tree, experts, routers, gates, routing, cascade)
        self.mixture.to(memory_format=torch.channels_last)
        self.frozen_dropout = frozen_dropout
        for network in (*self.mixture.experts, *self.mixture.routers):
            network.requires_grad_(False)
        leaf_of_label = torch.tensor(tree.leaf_of_label)
        self.register_buffer("leaf_of_label", leaf_of_label, persistent=False)
        # No buffer: an average of the weights would average it too.
        self.val_right = torch.zeros(2, len(tree.leaves))

    def train(self, mode: bool = True) -> "GatedEnsemble":
        """As of any module, but the frozen networks stay in evaluation mode, save their dropout where asked."""
        super().train(mode)
        for network in (*self.mixture.experts, *self.mixture.routers):
            network.eval()
            for layer in network.modules():
                if mode and self.frozen_dropout and isinstance(layer, nn.modules.dropout._DropoutNd):
                    layer.train()
        return self

    def forward(self, images: Tensor, *stored: Tensor) -> Mixed:
        """Images (B, C, H, W) mixed, from stored outputs where given, else through the networks."""
        if stored:
            return self.mixture.combine(images, Frozen(*stored))
        with torch.no_grad():
            frozen = self.mixture.frozen(images)
        return self.mixture.combine(images, frozen)

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        images, labels, *stored = batch
        mixed = self(images, *stored)
        loss = mixture_nll(mixed.probabilities, labels)
        if self.share:
            self.train_means.add(mixed.probabilities, labels, loss, mixed.entropy)
        if not loss.requires_grad:
            # The base spoke alone for the whole batch. A step all the same, by momentum alone: other processes may have
            # one to take.
            loss = loss + 0.0 * torch.stack([p.sum() for p in self.mixture.gates.parameters()]).sum()
        return loss

    def on_after_backward(self) -> None:
        zero_absent_gradients_(self.mixture.gates)

    def on_validation_epoch_start(self) -> None:
        self.val_right = torch.zeros(2, len(self.mixture.tree.leaves), device=self.device)

    def validation_step(self, batch: tuple[Tensor, ...], batch_index: int) -> None:
        images, labels, *stored = batch
        if not len(labels):
            return
        probabilities = self(images, *stored).probabilities
        self.val_nll.update(mixture_nll(probabilities, labels).expand(len(labels)))
        self.val_accuracy.update(probabilities, labels)
        leaves = self.get_buffer("leaf_of_label")[labels]
        right = (probabilities.argmax(dim=1) == labels).float()
        counted = torch.stack([right, torch.ones_like(right)])
        self.val_right.index_add_(1, leaves, counted)

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def predict_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        """The mixture's probabilities (B, K) for a batch; its labels are not looked at."""
        images, _, *stored = batch
        found: Tensor = self(images, *stored).probabilities
        return found

    def say(self, split: str) -> None:
        super().say(split)
        right, count = self.trainer.strategy.reduce(self.val_right, reduce_op="sum")
        for place, leaf in enumerate(self.mixture.tree.leaves):
            if count[place] > 0:
                self.log(f"{split}/branch/{leaf.name}/accuracy", right[place] / count[place])


def mixture_nll(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log-likelihood () in nats of labels (B,) under probabilities (B, K)."""
    safe = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny)
    return nn.functional.nll_loss(safe.log(), labels)
