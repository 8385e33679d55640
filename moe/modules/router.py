"""The LightningModule of a router."""

from typing import Any

from torch import Tensor
from torchmetrics.classification import MulticlassRecall

from moe.modules.expert import Expert


class Router(Expert):
    """Learns which child of a node an image belongs to: an expert whose classes are the branches.

    `branches` are their names; the recall of each is logged beside the accuracy.
    """

    def __init__(self, net: dict[str, Any], in_shape: list[int], branches: list[str], recipe: dict[str, Any]) -> None:
        super().__init__(net, in_shape, len(branches), recipe)
        self.save_hyperparameters()
        self.branches = branches
        self.val_recall = MulticlassRecall(len(branches), average="none", validate_args=False)

    def judge(self, logits: Tensor, targets: Tensor) -> None:
        super().judge(logits, targets)
        self.val_recall.update(logits, targets)

    def say(self, split: str) -> None:
        super().say(split)
        for branch, recall in zip(self.branches, self.val_recall.compute(), strict=True):
            self.log(f"{split}/recall/{branch}", recall)
        self.val_recall.reset()
