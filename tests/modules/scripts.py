"""What the tests of callbacks share."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from quick import short_recipe
from torch import Tensor

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
