"""What averages weights averages running statistics too; whole numbers are taken as they are."""

import copy
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import nn

from moe.modules.callbacks import AveragedWeights
from moe.modules.lookahead import Lookahead


class Normalised(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def move(self, mean: float, count: int) -> None:
        assert self.norm.running_mean is not None and self.norm.num_batches_tracked is not None
        self.norm.running_mean.fill_(mean)
        self.norm.num_batches_tracked.fill_(count)


def said(module: nn.Module) -> tuple[float, int]:
    tensors = dict(module.named_buffers())
    return tensors["norm.running_mean"].item(), int(tensors["norm.num_batches_tracked"].item())


def test_the_exponential_moving_average() -> None:
    module, average = Normalised(), AveragedWeights(0.75)
    average._average_model = SimpleNamespace(module=copy.deepcopy(module))  # type: ignore[assignment]
    trainer: Any = SimpleNamespace(global_step=0)
    for mean, count in ((2.0, 1), (6.0, 5)):
        module.move(mean, count)
        trainer.global_step += 1
        average.on_train_batch_end(trainer, module, None, None, 0)
    # The first as it is, 2; then 3/4 of that and 1/4 of 6.
    assert average._average_model is not None and said(average._average_model.module) == (3.0, 5)


def test_lookaheads_slow_weights() -> None:
    module, lookahead = Normalised(), Lookahead(2, 0.25)
    trainer: Any = SimpleNamespace(global_step=2, is_last_batch=False)
    with torch.no_grad():
        lookahead.on_train_start(trainer, module)
        module.move(4.0, 7)
        lookahead.on_train_batch_end(trainer, module, None, None, 0)
    # A quarter of the way from 0 to 4.
    assert said(module) == (1.0, 7)
