"""Lookahead: slow weights that now and then go part of the way to the fast ones, which then start from there."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class Lookahead(Callback):
    """Every `every` steps, and at an epoch's end, slow = slow + `step` x (fast - slow), and fast = slow.

    Of running statistics too, as airbench has it; whole numbers and what does not learn stay. So what is validated and
    kept are the slow weights. It comes after the guard against what is not finite, and a mean of finite weights is so.
    Source: Zhang et al. 2019, Lookahead Optimizer: k steps forward, 1 step back, arXiv 1907.08610, algorithm 1.
    """

    def __init__(self, every: int, step: float) -> None:
        self.every, self.step = every, step
        self._slow: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A training that goes on has them already.
        start = self._slow or {name: fast.clone() for name, fast in _fast(pl_module).items()}
        self._slow = {name: slow.to(pl_module.device) for name, slow in start.items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every and not trainer.is_last_batch:
            return
        fast = _fast(pl_module)
        with torch.no_grad():
            for name, slow in self._slow.items():
                fast[name].copy_(slow.lerp_(fast[name], self.step))

    def state_dict(self) -> dict[str, Any]:
        return {"slow": self._slow}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._slow = state_dict["slow"]


def _fast(module: LightningModule) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
