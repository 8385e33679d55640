"""One network trained by its recipe through Lightning's Trainer."""

import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, RichProgressBar
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from moe import cpus, inference
from moe.data.module import ImageDataModule
from moe.errors import ConfigError
from moe.modules.callbacks import AveragedWeights, Curves, EarlyParameters, FiniteGuard, KeepBest
from moe.modules.checkpoint import Checkpoints, SaveProgress, VerifiedCheckpointIO
from moe.modules.freed import GivesBack
from moe.modules.lookahead import Lookahead
from moe.modules.place import Place
from moe.modules.recipe import RecipeModule
from moe.modules.step_loss import StepLoss
from moe.modules.unprofiled import Unprofiled
from moe.nets.pooling import forget_inputs
from moe.schema import Plain, Recipe

# What of torch says that a CPU multiplies in bf16; not public, so it may go.
AMX, AVX512_BF16 = CPU_BF16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")

# What cuBLAS must have been told at its start, where sums are to come out alike.
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@dataclass
class Fitted:
    """What training leaves: the weights to keep on the CPU, the epoch they are from, every epoch's metrics.

    `earlier` are the seconds of training before the checkpoint that it went on from; `machine` is the hardware in words
    where other processes trained.
    """

    weights: dict[str, Tensor]
    epoch: int
    curves: list[dict[str, float]]
    earlier: float = 0.0
    machine: str | None = None


class StageProgress(RichProgressBar):
    """Lightning's progress bar without the logger's version, which for W&B is a run's random name."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


def shows_bar(trainer: Plain) -> bool:
    """Whether there is a progress bar: where there is no terminal it would be laid out for nobody."""
    return bool(trainer["enable_progress_bar"] and sys.stdout.isatty())


def precision_for(trainer: Plain) -> str:
    """Lightning's precision for `trainer.precision`: `auto` is bf16 autocast where the hardware gains by it.

    That is a GPU that multiplies in it and does not only emulate that, or a CPU with AMX, or with AVX512-BF16 unless it
    is of a kind that is slow in that (`cpus.lacks_amx`).
    """
    if trainer["precision"] != "auto":
        return str(trainer["precision"])
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if _on_gpu(trainer) else _cpu_gains_by_bf16()
    return "bf16-mixed" if fast else "32-true"


def synchronised(trainer: Plain) -> bool:
    """Whether several processes normalise over all their parts of a batch: on the CPU PyTorch cannot."""
    return bool(trainer.get("sync_batchnorm")) and _on_gpu(trainer)


def _on_gpu(trainer: Plain) -> bool:
    return inference.best_device(trainer["accelerator"]).type == "cuda"


def _cpu_gains_by_bf16() -> bool:
    def has(name: str) -> bool:
        supported = getattr(torch.cpu, name, None)
        return supported is not None and bool(supported())

    return has(AMX) or (has(AVX512_BF16) and not cpus.lacks_amx())


def fit(
    stage: str,
    module: RecipeModule,
    data: ImageDataModule,
    recipe: Recipe,
    trainer: Plain,
    logger: Logger | None,
    folder: Path,
    place: Place | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Train `module` on `data` by `recipe`, from the newest of its `checkpoints` on, and return what to keep.

    `trainer` holds Lightning's own arguments, `place` is this process's among several that train together. Raises
    NonFiniteError where a loss or gradient is NaN.
    """
    bar = shows_bar(trainer)
    best, curves = KeepBest(stage, keep=recipe.select != "last"), Curves(stage, say=not bar)
    guard = FiniteGuard(stage, trainer["log_every_n_steps"], recipe.clip)
    callbacks: list[Callback] = [guard, best, curves, GivesBack()]
    if logger is not None:
        callbacks.append(StepLoss(trainer["log_every_n_steps"]))
    if recipe.early_epochs is not None:
        callbacks.append(EarlyParameters(recipe.early_epochs))
    if recipe.lookahead is not None:
        callbacks.append(Lookahead(recipe.lookahead.every, recipe.lookahead.step))
    if recipe.averaging is not None:
        callbacks.append(AveragedWeights(recipe.averaging))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping("val/nll", patience=recipe.patience))
    if bar:
        callbacks.append(StageProgress(leave=False))
    progress = SaveProgress(checkpoints) if checkpoints is not None else None
    callbacks += [progress] if progress is not None else []
    with warnings.catch_warnings():
        # Small data has fewer batches than log_every_n_steps: epochs are logged all the same.
        warnings.filterwarnings("ignore", message=".*number of training batches.*is smaller than the logging")
        # The frozen networks stay in evaluation mode.
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        # What is logged as a plain number is already that of all processes.
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
        # Lightning 2.6.6 asks torch 2.15 for what that will remove.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        if recipe.compile:
            assert isinstance(module.net, torch.nn.Module)
            module.net.compile()  # in place, so that its weights keep their names
        else:
            forget_inputs(module)  # compiled, it is the compiler that decides what is kept
        own = {**trainer, "enable_progress_bar": bar}
        lightning = make_trainer(own, recipe.epochs, callbacks, logger, folder, place)
        run(lightning, module, data, checkpoints)
    weights, epoch = best.weights, best.epoch
    if recipe.select == "last":
        weights, epoch = module.state_dict(), lightning.current_epoch - 1
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return Fitted(kept, epoch, curves.epochs, progress.earlier if progress is not None else 0.0)


def run(lightning: Trainer, module: RecipeModule, data: ImageDataModule, checkpoints: Checkpoints | None) -> None:
    """Fit, from the newest checkpoint on where there is one."""
    if not torch.cuda.is_available():
        # At every step torch's optimisers ask whether there is a GPU. Lightning has them ask NVML, which without a GPU
        # is no library that is there, and so is searched for each time anew.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    newest = checkpoints.newest() if checkpoints is not None else None
    try:
        # Autocast says itself in what it multiplies.
        with inference.full_precision():
            lightning.fit(module, datamodule=data, ckpt_path=newest, weights_only=True)
    except TorchDynamoException as error:  # no compiler, or a network that it cannot take
        why = str(error).partition("\n")[0]
        raise ConfigError(f"torch.compile failed: {why}; set recipe.compile of this network to null") from None
    except RuntimeError as error:
        if CUBLAS in str(error):  # torch looks at it once a process; Lightning sets it, but maybe later than that
            raise ConfigError(
                f"trainer.deterministic=true: export {CUBLAS}=:4096:8 before the command, since a job before this one "
                "began without it"
            ) from None
        said = str(error).partition(" does not have a deterministic implementation")
        if not said[1]:
            raise
        what = f"{said[0]}, which this network needs on this device, gives no reproducible numbers"
        raise ConfigError(
            f"trainer.deterministic=true: {what}; set it to false or warn, or take another network"
        ) from None


def make_trainer(
    trainer: Plain,
    epochs: int = 1,
    callbacks: list[Callback] | None = None,
    logger: Logger | None = None,
    folder: Path | None = None,
    place: Place | None = None,
) -> Trainer:
    """Lightning's Trainer from the config's `trainer`; without a `place` it is that of one process alone.

    Raises ConfigError where it takes no such arguments, or where a GPU is asked for that is not there.
    """
    inference.check_accelerator(trainer["accelerator"])
    # It would say what hardware it found, and a tip, once a stage.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    # A profiler's report, where one is asked for, it says by this.
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)
    given: Plain = {"strategy": "auto", "sync_batchnorm": False}
    plugins: list[Any] = [VerifiedCheckpointIO()]
    if place is None:
        # Under Slurm too: Lightning's own checkpoint for a job that is put back in the queue would be of one stage,
        # and be taken by whichever stage comes next.
        plugins.append(LightningEnvironment())
    else:
        given = {"strategy": place.strategy(), "sync_batchnorm": synchronised(trainer)}
    if trainer["accelerator"] == "auto" and not _on_gpu(trainer):
        given["accelerator"] = "cpu"  # of itself Lightning would take Apple's GPU, which nothing else of a run does
    if trainer.get("profiler") is None:
        given["profiler"] = Unprofiled()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="GPU available but not used")  # so it was meant
            return Trainer(
                **{**trainer, **given, "precision": precision_for(trainer)},
                max_epochs=epochs,
                callbacks=callbacks,
                logger=logger or False,
                plugins=plugins,
                enable_checkpointing=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                default_root_dir=folder,
            )
    except (RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from None
