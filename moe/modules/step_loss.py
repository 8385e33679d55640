"""The callback that logs the loss by steps."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class StepLoss(Callback):
    """Logs, every so many steps, the mean of their losses (`train/loss_step`), and waits for the device then alone.

    By `log` each step would cost as much as a tenth of a small network's. Where several processes train together it is
    the first one's; after a training that went on, the first mean is of the steps since. Gates of many jobs that are
    trained at once have their epochs' alone.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._losses: list[Tensor] = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0 and trainer.logger is not None:
            said = {"train/loss_step": torch.stack(self._losses).mean().item(), "epoch": trainer.current_epoch}
            trainer.logger.log_metrics(said, trainer.global_step - 1)
            self._losses.clear()
