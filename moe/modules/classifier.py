"""What every LightningModule that learns classes says of its epochs: loss and accuracy while learning and on `val`."""

from collections.abc import Sequence
from typing import Any

from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from moe.modules.means import EpochMeans
from moe.modules.recipe import RecipeModule


class Classifier(RecipeModule):
    """A RecipeModule for `num_classes` classes that logs an epoch's means.

    Its training step adds each batch to `train_means`, with the batch's mean of each of `means`; its validation step
    updates `val_nll`, image by image, and `val_accuracy`. A Trainer's `test` logs the same as `test/`.
    """

    def __init__(self, recipe: dict[str, Any], num_classes: int, means: Sequence[str] = ("loss",)) -> None:
        super().__init__(recipe)
        # Micro: the part of images that are right, whatever the classes' sizes. Checking arguments would wait for
        # the device each step.
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        # A loss that is NaN is to be seen, not left out of the mean. With this strategy torchmetrics 1.9 takes no
        # weights, so a loss is given image by image.
        self.val_nll = MeanMetric(nan_strategy="disable")
        self.means, self.train_means = tuple(means), EpochMeans(len(means))

    def on_train_epoch_start(self) -> None:
        self.train_means.begin(self.device)

    def on_train_epoch_end(self) -> None:
        found = self.train_means.means(self.trainer.strategy)
        for name, mean in zip(("accuracy", *self.means), found, strict=True):
            self.log(f"train/{name}", mean)

    def on_validation_epoch_end(self) -> None:
        self.say("val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        self.say("test")

    def say(self, split: str) -> None:
        """Log what the validation steps of an epoch over a split came to."""
        self.log(f"{split}/nll", self.val_nll, prog_bar=True)
        self.log(f"{split}/accuracy", self.val_accuracy, prog_bar=True)
