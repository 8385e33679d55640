"""What the tests of training share: Lightning's arguments and a recipe without anything that is not asked for."""

from typing import Any

from moe.schema import Augment, Recipe

TRAINER: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "deterministic": False,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
}


def short_recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "schedule": "constant",
        "warmup": 0.0,
        "label_smoothing": 0.0,
        "bias_lr": 1.0,
        "augment": Augment(flip=False, shift=0, cutout=0),
        "epochs": 1,
        "batch_size": 4,
        "select": "last",
    }
    return Recipe(**{**values, **changes})
