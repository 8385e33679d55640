"""Modules that do in training what a test has written out for them, and the trainings that watch their weights."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from quick import short_recipe
from torch import Tensor, nn

from moe.data.module import ImageDataModule
from moe.errors import NonFiniteError
from moe.modules.recipe import RecipeModule

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1, "weight_decay": 0.5},
    "SGD": {"lr": 0.1, "weight_decay": 0.1},
    "SGD with momentum": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "NAdam": {"lr": 0.1, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
}
NAN, INF = float("nan"), float("inf")


def plain_recipe(optimizer: str = "SGD", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "optimizer": {"_target_": f"torch.optim.{optimizer.split()[0]}", **OPTIMIZERS[optimizer]},
        "schedule": "constant",
        "warmup": 0.0,
        "label_smoothing": 0.0,
        "bias_lr": 1.0,
        "decay": None,
    }
    return {**values, **changes}


class Batches:
    """Batches, one after the other. (Of a list Lightning would take each for a loader of its own.)"""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


recipe = partial(short_recipe, optimizer={"_target_": "torch.optim.SGD", "lr": 0.1}, select="best")


class Line(RecipeModule):
    """Learns weights from rows of numbers; its loss or gradient can be spoilt at one step."""

    def __init__(self, recipe: dict[str, Any], bad_step: int = -1, fault: str = "") -> None:
        super().__init__(recipe)
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, 3, generator=generator))
        self.bias = nn.Parameter(torch.randn(2, generator=generator))
        self.bad_step, self.fault, self.error = bad_step, fault, ""
        self.bias.register_hook(self._spoil)

    def _spoil(self, gradient: Tensor) -> Tensor | None:
        if self.global_step == self.bad_step and self.fault.endswith("gradient"):
            return gradient.clone().fill_(NAN if self.fault.startswith("NaN") else INF)
        return None

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        loss = (batch @ self.weight.T + self.bias).pow(2).mean()
        if self.global_step == self.bad_step and self.fault.endswith("loss"):
            loss = loss * (NAN if self.fault.startswith("NaN") else INF)
        return loss


class Weights(Callback):
    """All weights as one vector: before the first step, then after each."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.seen.append(nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.on_train_start(trainer, pl_module)


def rows(steps: int) -> list[Tensor]:
    return list(torch.randn(steps, 4, 3, generator=torch.Generator().manual_seed(1)))


def trained(module: Line, batches: list[Tensor], *callbacks: Callback, epochs: int = 1) -> list[Tensor]:
    seen = Weights()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[*callbacks, seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, Batches(batches))
    except NonFiniteError as error:
        module.error = str(error)
    return seen.seen


class Scripted(RecipeModule):
    """Says a loss of its own for each epoch; its weight counts the steps, two an epoch."""

    def __init__(self, val_nll: list[float]) -> None:
        super().__init__({**plain_recipe(), "optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0}})
        self.weight = nn.Parameter(torch.zeros(()))
        self.val_nll = val_nll

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return -self.weight  # a gradient of -1 at a rate of 1

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", 10.0 + self.current_epoch)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.log("val/nll", self.val_nll[self.current_epoch])


class Two(ImageDataModule):
    """Two batches of nothing an epoch."""

    def __init__(self) -> None:
        super().__init__(*[None] * 3, {}, None, 0)  # type: ignore[arg-type]

    def train_dataloader(self) -> Any:
        return Batches([torch.zeros(1)] * 2)

    def val_dataloader(self) -> Any:
        return Batches([torch.zeros(1)])
