"""The callback that bounds what a process keeps of freed memory."""

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from moe import memory

# So many bytes any process may have: to give back costs the next step time, and less than this is seldom missed. While
# it runs a step may have three quarters of a GB more than the one before it left, which is still less than 4 GB.
AT_LEAST = 3_000_000_000
# Of these, what it may have before it trains, and before it validates, which both ask for tensors of other sizes than
# what came before, and find little room for them in what that has freed.
BEFORE_TRAINING, BEFORE_VALIDATION = 0.5, 0.9


class GivesBack(Callback):
    """Gives back freed memory that is kept (see `moe.memory`) when the process has `growth` times what a step needs.

    That is what it has after the first step, and `at_least` bytes are always allowed. Where a step leaves more than was
    allowed although memory has just been given back, as much is allowed from then on, but no share more: after each
    such step the process has a little more than after the one before, and would be allowed ever more. It looks once in
    so many seconds, and before training and validation.
    """

    def __init__(self, growth: float = 1.1, at_least: int = AT_LEAST, seconds: float = 1.0) -> None:
        self.growth, self.at_least, self.seconds = growth, at_least, seconds
        self._allowed: float | None = None
        self._given_back = False  # and no step has ended since
        self._looked = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._make_room(BEFORE_TRAINING)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._make_room(BEFORE_VALIDATION)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._allowed is not None and not self._given_back and now - self._looked < self.seconds:
            return
        self._looked = now
        resident = memory.resident() or 0
        if self._allowed is None:
            self._allowed = max(self.growth * resident, self.at_least)
        elif self._given_back:
            self._allowed = max(self._allowed, resident)
            self._given_back = False
        elif resident > self._allowed:
            memory.give_back()
            self._given_back = True

    def _make_room(self, share: float) -> None:
        if (memory.resident() or 0) > share * self.at_least:
            memory.give_back()
