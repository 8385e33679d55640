"""The callback that bounds what a process keeps of freed memory."""

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from moe import memory


class GivesBack(Callback):
    """Gives back freed memory that is kept (see `moe.memory`) when the process has `growth` times what a step needs.

    That is what it has after the first step, and after the first since memory was last given back, which asks for all
    that it needs anew and so takes longer. It looks once in so many seconds.
    """

    def __init__(self, growth: float = 1.25, seconds: float = 1.0) -> None:
        self.growth, self.seconds = growth, seconds
        self._needed: int | None = None
        self._looked = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._needed is not None and now - self._looked < self.seconds:
            return
        self._looked = now
        resident = memory.resident() or 0
        if self._needed is not None and resident > self.growth * self._needed:
            memory.give_back()
            self._needed = None
        elif self._needed is None:
            self._needed = resident
