"""What the config may say of Lightning's Trainer, and one sentence for each that is wrong."""

from collections.abc import Mapping
from typing import Any

from moe.errors import ConfigError

# Lightning's trainer keys that a recipe owns, and the recipe's key.
RECIPE_OWNS = {
    **dict.fromkeys(("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"), "epochs"),
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), "clip"),
    "accumulate_grad_batches": "batch_size",
}
# Lightning's trainer keys that would change what is trained, past every recipe.
CHANGE_TRAINING = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "check_val_every_n_epoch",
    "val_check_interval",
    "num_sanity_val_steps",
    "barebones",
)
DEALT = {
    "num_nodes": "one machine trains a network, over all its devices with trainer=ddp; remove it",
    "use_distributed_sampler": "a batch is dealt to the devices by the command itself; remove it",
}
NEEDED = ("accelerator", "precision", "enable_progress_bar", "log_every_n_steps")  # read by the command, too
COMMAND_OWNS = (
    *("callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary", "fast_dev_run", "logger"),
    "plugins",
)


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first key or value of `trainer` that cannot be."""
    for key in NEEDED:
        if trainer.get(key) is None:
            raise ConfigError(f"trainer.{key} has no value; give it one with trainer.{key}=VALUE")
    if not isinstance(trainer["enable_progress_bar"], bool):
        raise ConfigError(f"trainer.enable_progress_bar must be true or false, not {trainer['enable_progress_bar']!r}")
    if not isinstance(said := trainer.get("deterministic"), bool) and said not in (None, "warn"):
        raise ConfigError(f"trainer.deterministic must be true, false or warn, not {said!r}")
    _check_devices(trainer.get("devices"), trainer.get("strategy", "auto"))
    if "sync_batchnorm" in trainer and trainer.get("strategy") != "ddp":
        raise ConfigError("trainer.sync_batchnorm is for several devices; set trainer=ddp, or remove it")
    for key in trainer:
        if key in RECIPE_OWNS:
            raise ConfigError(trainer_sentence(key))
        if key in CHANGE_TRAINING:
            raise ConfigError(f"trainer.{key} changes what is trained, past every recipe; remove it")
        if key in DEALT:
            raise ConfigError(f"trainer.{key} cannot be set: {DEALT[key]}")
        if key in COMMAND_OWNS:
            raise ConfigError(f"trainer.{key} is set by the command itself; remove it")


def _check_devices(devices: Any, strategy: Any) -> None:
    if strategy not in ("auto", "ddp"):
        raise ConfigError(f"trainer.strategy must be ddp (trainer=ddp) or, for one device, auto, not {strategy!r}")
    count = len(devices) if isinstance(devices, list) else devices
    if strategy == "auto" and count != 1:
        raise ConfigError(
            f"trainer.devices must be 1 or a list of one device, not {devices!r}; trainer=ddp trains over several"
        )
    numbers = devices if isinstance(devices, list) else []
    if not all(whole(number, 0) for number in numbers) or not (count == "auto" or whole(count, 1)):
        raise ConfigError(
            f"trainer.devices must be auto (all), a whole number above 0 or a list of devices' numbers, not {devices!r}"
        )


def trainer_sentence(key: str) -> str:
    """What to set in place of a key of Lightning's trainer that a recipe owns."""
    return f"trainer.{key}: recipes own the training; set base.recipe.{RECIPE_OWNS[key]} (or expert., router., gate.)"


def whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number, `least` or above."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
