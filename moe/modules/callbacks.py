"""Callbacks: the guard against what is not finite, the weights to keep, the learning curves."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from moe.errors import NonFiniteError
from moe.modules.recipe import learning_rates

log = logging.getLogger(__name__)


class FiniteGuard(Callback):
    """No loss or gradient that is NaN or infinite changes a weight; clips the gradient's norm where asked.

    The update is skipped on the device, without waiting for it: fused optimisers read `found_inf`, for the
    others the weights are put back. Raises NonFiniteError at the next logging point (`every` so many steps
    and at an epoch's end), with the first step.
    """

    def __init__(self, stage: str, every: int = 1, clip: float | None = None) -> None:
        self.stage, self.every, self.clip = stage, every, clip
        self._loss: Tensor | None = None
        self._bad: list[tuple[int, Tensor]] = []  # of each step since the last look, whether it was
        self._before: list[tuple[Tensor, Tensor]] = []
        self._finite: Tensor | None = None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        learned = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in learned]
        assert self._loss is not None
        looked_at, bad = [*gradients, self._loss], torch.zeros_like(self._loss)
        if self.clip is not None:
            norm = get_total_norm(gradients)
            looked_at.append(norm)
        # One pass over all, as a scaler of losses makes it: times one, they stay as they are. A norm, where none is
        # asked for, takes twice as long, and each tensor by itself twenty times.
        torch._amp_foreach_non_finite_check_and_unscale_(looked_at, bad, torch.ones_like(bad))
        if trainer.world_size > 1:
            # The gradients are those of all processes together, the loss is this one's: one that is bad is bad for
            # all. Lightning's own reduction waits at a barrier first, and so for the device.
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        self._bad.append((trainer.global_step, bad))
        if self.clip is not None:
            clip_grads_with_norm_(learned, self.clip, norm)
        if optimizer.defaults.get("fused"):
            optimizer.grad_scale, optimizer.found_inf = None, bad
        else:
            self._finite, self._before = bad == 0, [(p, p.detach().clone()) for p in learned]
            nothing_learnt = bad != 0
            for gradient in gradients:
                # The optimiser's own state stays finite too.
                gradient.masked_fill_(nothing_learnt, 0.0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._finite is not None:
            with torch.no_grad():
                for parameter, before in self._before:
                    torch.where(self._finite, parameter, before, out=parameter)
        if trainer.is_last_batch or trainer.global_step % self.every == 0:
            self._stop_if_bad()

    def _stop_if_bad(self) -> None:
        steps, self._bad = self._bad, []
        bad = torch.stack([found for _, found in steps]).tolist() if steps else []
        first = next((step for (step, _), found in zip(steps, bad, strict=True) if found), None)
        if first is not None:
            what = f"the loss or a gradient was NaN or infinite at step {first}; no weight took it in"
            raise NonFiniteError(f"{self.stage}: {what}")


class AveragedWeights(WeightAveraging):
    """Lightning's exponential moving average of weights and running statistics, kept where the network is trained.

    Lightning makes it before it moves the network there, and so would send every weight to the CPU at every step; and
    PyTorch asks the device at every step how many it has averaged, which waits for it. What is no floating-point number
    is taken as it is.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step <= self._latest_update_step:
            return
        assert self._average_model is not None
        module = self._average_model.module
        moving: tuple[list[Tensor], list[Tensor]] = ([], [])
        for averaged, current in zip(_tensors(module), _tensors(pl_module), strict=True):
            if averaged.is_floating_point() and self._latest_update_step > 0:
                moving[0].append(averaged)
                moving[1].append(current)
            else:
                averaged.copy_(current)
        if moving[0]:
            self._move(*moving, self._latest_update_step)
        self._latest_update_step = trainer.global_step


def _tensors(module: torch.nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in chain(module.parameters(), module.buffers()))


def early_parameters(module: nn.Module) -> list[nn.Parameter]:
    """What networks in a module let learn at the start alone, where a recipe says so (`early_epochs`)."""
    return [p for network in module.modules() for p in getattr(network, "early_parameters", ())]


class EarlyParameters(Callback):
    """Lets what a network calls `early_parameters` learn in the first `epochs` alone."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._learned: list[Tensor] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        early = early_parameters(pl_module)
        self._learned = [parameter for parameter in early if parameter.requires_grad]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for parameter in self._learned:
            parameter.requires_grad_(trainer.current_epoch < self.epochs)


class KeepBest(Callback):
    """Keeps, in memory, the weights of the epoch with the lowest `val/nll`, and which epoch it was.

    Without `keep` it only looks on. The weights are copied before averaged ones are swapped out again (callbacks run in
    their order, this one first) and judged once the epoch's metrics are known. Raises NonFiniteError where the loss on
    `val` is NaN or infinite: the weights have grown without bound.
    """

    def __init__(self, stage: str, keep: bool = True) -> None:
        self.stage, self.keep = stage, keep
        self.best = float("inf")
        self.epoch = -1
        self.weights: dict[str, Tensor] = {}
        self._current: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.epoch, self.weights = state_dict["best"], state_dict["epoch"], state_dict["weights"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.keep:
            self._current = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        nll = float(trainer.callback_metrics["val/nll"])
        if not math.isfinite(nll):
            raise NonFiniteError(f"{self.stage}: the loss on val was {nll} after epoch {trainer.current_epoch + 1}")
        if nll < self.best:
            self.best, self.epoch, self.weights = nll, trainer.current_epoch, self._current


def log_again(logger: Logger, epochs: Sequence[Mapping[str, float]], batches: int) -> None:
    """Log epochs of `Curves` as Lightning does: at the step of the last of an epoch's batches."""
    for epoch in epochs:
        metrics = {name: value for name, value in epoch.items() if name == "epoch" or "/" in name}
        logger.log_metrics(metrics, (int(epoch["epoch"]) + 1) * batches - 1)


class Curves(Callback):
    """Every epoch's metrics, learning rates and seconds, as plain numbers; `say` puts each in the log too.

    Learning rates are those of the epoch's first step, as Lightning's LearningRateMonitor has them by epochs, and are
    logged as metrics are.

    An epoch is written down when the next begins or training ends: Lightning calls the callbacks at an
    epoch's end before the module, which is when the module logs its training metrics. Training that goes on from a
    checkpoint logs the epochs before it again, since its logger may be new.
    """

    def __init__(self, stage: str, say: bool) -> None:
        self.stage, self.say = stage, say
        self.epochs: list[dict[str, float]] = []
        self._ended: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._start = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.epochs:
            return
        log.info("%s: goes on after epoch %d", self.stage, len(self.epochs))
        if trainer.logger is not None:
            log_again(trainer.logger, self.epochs, int(trainer.num_training_batches))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_down(trainer)
        self._rates = learning_rates(trainer.optimizers[0])
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log_dict(self._rates)
        self._ended = {"epoch": trainer.current_epoch, "seconds": time.perf_counter() - self._start}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_down(trainer)

    def _write_down(self, trainer: Trainer) -> None:
        if not self._ended:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append({**self._ended, **metrics, **self._rates})  # a logger's are in fp32
        if self.say:
            told = sorted(name for name in metrics if name.count("/") == 1 and not name.startswith("lr/"))
            said = ", ".join(f"{name} {metrics[name]:.4f}" for name in told)
            number = f"{self._ended['epoch'] + 1} of {trainer.max_epochs}"
            log.info("%s: epoch %s, %s, %.1f s", self.stage, number, said, self._ended["seconds"])
        self._ended = {}
