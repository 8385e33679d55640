"""The gates of many mixtures trained at once: one loop, one optimiser, and each with its own loss and ending.

Legend: G mixtures, B batch, K classes, L leaves.
"""

import logging
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Generator, Tensor

from moe.data.module import ImageDataModule
from moe.errors import NonFiniteError
from moe.modules.checkpoint import Checkpoints, SaveProgress
from moe.modules.fit import Fitted, StageProgress, make_trainer, run, shows_bar
from moe.modules.recipe import FUSED, RecipeModule, learning_rates
from moe.nets.mixture import Frozen, Mixture, zero_absent_gradients_
from moe.nets.stacked import StackedMixture
from moe.schema import Plain, Recipe

log = logging.getLogger(__name__)
# The keys of the trainer's config that say nothing of the loop.
TRAINER = ("accelerator", "devices", "precision", "deterministic", "log_every_n_steps", "enable_progress_bar")


def obstacle(recipe: Recipe, trainer: Plain) -> str | None:
    """What of a recipe or trainer keeps gates from being trained together, by its key; None where nothing does."""
    if str(recipe.optimizer["_target_"]).rpartition(".")[2] not in FUSED:
        return "gate.recipe.optimizer"  # the others may look at more than one number at a time
    for name in ("averaging", "lookahead", "muon"):
        if getattr(recipe, name) is not None:
            return f"gate.recipe.{name}"
    if trainer["devices"] != 1:
        return "trainer.devices"
    return next((f"trainer.{key}" for key in trainer if key not in TRAINER), None)


class GatesTogether(RecipeModule):
    """Learns the gates of G mixtures on the same batches, each as `GatedEnsemble` would alone.

    Batches are those of a `GatedEnsemble` with stored outputs. The optimiser's rule is each number's own and
    the loss is a sum of losses that share no weight, so no gate sees another. `random` are the states of the
    CPU's generator in which each gate's training begins, `seed` what a device of another kind is seeded with.

    A gate that has ended (`recipe.patience`, or a loss that is not finite) is computed to the end of all, and
    nothing is kept of it. After training `fitted` has what a single training leaves, or the error.
    """

    def __init__(
        self, stage: str, mixtures: Sequence[Mixture], random: Sequence[Tensor], seed: int, recipe: dict[str, Any]
    ) -> None:
        super().__init__(recipe)
        self.stage, self.random, self.seed = stage, list(random), seed
        self.leaves = mixtures[0].tree.leaves
        self.stacked = StackedMixture(mixtures)
        leaf_of_label = torch.tensor(mixtures[0].tree.leaf_of_label)
        self.register_buffer("leaf_of_label", leaf_of_label, persistent=False)
        self.generators: list[Generator] = []
        self.ends = [End(stage) for _ in mixtures]
        self._train = self._val = self._right = self._count = self._first_bad = torch.zeros(0)
        self._start, self._seen = 0.0, 0
        self._rates: dict[str, float] = {}
        self._resumed: Plain = {}

    @property
    def fitted(self) -> list[Fitted | NonFiniteError]:
        return [end.error or Fitted(end.weights, end.epoch, end.curves) for end in self.ends]

    def on_fit_start(self) -> None:
        self.generators = [Generator(self.device) for _ in self.random]
        for generator, state in zip(self.generators, self.random, strict=True):
            if self.device.type == "cpu":
                generator.set_state(state)
            else:
                generator.manual_seed(self.seed)  # as `seed_everything` does alone
        self._first_bad = torch.full((len(self.ends),), -1, device=self.device)
        if self._resumed:
            log.info("%s: goes on after epoch %d", self.stage, self._resumed["epochs"])
            self._first_bad = self._resumed["first_bad"].to(self.device)
            if self._resumed["device"] == self.device.type:  # a state is of one kind of device
                for generator, state in zip(self.generators, self._resumed["generators"], strict=True):
                    generator.set_state(state)
            for end, state in zip(self.ends, self._resumed["ends"], strict=True):
                end.load_state_dict(state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["together"] = {
            "epochs": self.current_epoch,
            "first_bad": self._first_bad,
            "device": self.device.type,
            "generators": [generator.get_state() for generator in self.generators],
            "ends": [end.state_dict() for end in self.ends],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint["together"]  # until the generators are there

    def on_train_epoch_start(self) -> None:
        self._start, self._seen = time.perf_counter(), 0
        self._rates = learning_rates(self.trainer.optimizers[0])
        self._train = torch.zeros(3, len(self.ends), device=self.device)

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        images, labels, *stored = batch
        probabilities, entropies = self.stacked(images, Frozen(*stored), self.generators)
        losses = mixture_nlls(probabilities, labels)
        self._seen += len(labels)
        with torch.no_grad():
            right = (probabilities.argmax(dim=2) == labels).sum(dim=1)
            self._train += torch.stack([losses * len(labels), right, entropies * len(labels)])
            bad = (self._first_bad < 0) & ~torch.isfinite(losses)
            self._first_bad = torch.where(bad, self.global_step, self._first_bad)
        return losses.sum()

    def on_after_backward(self) -> None:
        zero_absent_gradients_(self.stacked)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.recipe["clip"] is not None:
            self.stacked.clip_gradients(self.recipe["clip"])

    def on_validation_epoch_start(self) -> None:
        self._val = torch.zeros(2, len(self.ends), device=self.device)
        self._right = torch.zeros(len(self.ends), len(self.leaves), device=self.device)
        self._count = torch.zeros(len(self.leaves), device=self.device)

    def validation_step(self, batch: tuple[Tensor, ...], batch_index: int) -> None:
        images, labels, *stored = batch
        probabilities, _ = self.stacked(images, Frozen(*stored), self.generators)
        right = (probabilities.argmax(dim=2) == labels).float()
        self._val += torch.stack([mixture_nlls(probabilities, labels) * len(labels), right.sum(dim=1)])
        leaves = self.get_buffer("leaf_of_label")[labels]
        self._right.index_add_(1, leaves, right)
        self._count.index_add_(0, leaves, torch.ones_like(right[0]))

    def on_train_epoch_end(self) -> None:
        """Validation comes before this: judge every gate that has not ended."""
        count = float(self._count.sum())
        names = ["train/loss", "train/accuracy", "train/gate_entropy", "val/nll", "val/accuracy"]
        names += [f"val/branch/{leaf.name}/accuracy" for leaf in self.leaves]
        values = torch.cat([self._train / self._seen, self._val / count, (self._right / self._count).T]).T.tolist()
        seconds = (time.perf_counter() - self._start) / len(self.ends)
        said = {"epoch": self.current_epoch, **self._rates, "seconds": seconds}
        learning = [end for end in self.ends if not end.over]
        for number, (end, bad, row) in enumerate(zip(self.ends, self._first_bad.tolist(), values, strict=True)):
            if end.over:
                continue
            metrics = {name: value for name, value in zip(names, row, strict=True) if not _is_of_none(name, value)}
            if end.judge({**said, **metrics}, bad, self.recipe["patience"]) or self.recipe["select"] == "last":
                end.keep({k: v.cpu() for k, v in self.stacked.state(number).items()}, self.current_epoch)
        nlls = [end.curves[-1]["val/nll"] for end in learning if end.curves]
        if nlls:
            span = f"val/nll {min(nlls):.4f} to {max(nlls):.4f}"
            log.info(
                "%s: epoch %d, %d of %d learning, %s", self.stage, said["epoch"] + 1, len(nlls), len(self.ends), span
            )
        self.trainer.should_stop = all(end.over for end in self.ends)


class End:
    """How one gate's training goes and ends: its curves, the weights to keep, or its error."""

    def __init__(self, stage: str) -> None:
        self.stage, self.curves, self.weights, self.epoch = stage, list[dict[str, float]](), dict[str, Tensor](), -1
        self.error: NonFiniteError | None = None
        self.over, self._best, self._waited = False, math.inf, 0

    def state_dict(self) -> Plain:
        """As plain values and tensors."""
        error = None if self.error is None else str(self.error)
        own = {name: value for name, value in vars(self).items() if name != "stage"}
        return {**own, "error": error}

    def load_state_dict(self, state: Plain) -> None:
        error = state["error"]
        vars(self).update({**state, "error": None if error is None else NonFiniteError(error)})

    def judge(self, epoch: dict[str, float], first_bad: int, patience: int | None) -> bool:
        """Take an epoch in; whether its weights are the best yet. `first_bad` is a loss's that is not finite, or -1."""
        nll = epoch["val/nll"]
        if first_bad >= 0:
            self._fail(f"the loss was NaN or infinite at step {first_bad}")
            return False
        if not math.isfinite(nll):
            self._fail(f"the loss on val was {nll} after epoch {epoch['epoch'] + 1:.0f}")
            return False
        self.curves.append(epoch)
        better = nll < self._best
        self._best, self._waited = min(nll, self._best), 0 if better else self._waited + 1
        self.over = patience is not None and self._waited >= patience
        return better

    def keep(self, weights: dict[str, Tensor], epoch: int) -> None:
        self.weights, self.epoch = weights, epoch

    def _fail(self, what: str) -> None:
        self.over, self.error = True, NonFiniteError(f"{self.stage}: {what}")


def mixture_nlls(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The mean negative log-likelihood (G,) in nats of labels (B,) under probabilities (G, B, K)."""
    safe = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny)
    return -safe.log().gather(2, labels.expand(len(safe), -1).unsqueeze(2)).squeeze(2).mean(dim=1)


def _is_of_none(name: str, value: float) -> bool:
    """Whether this is the accuracy on a branch that has no images."""
    return name.startswith("val/branch/") and math.isnan(value)


def fit_together(
    module: GatesTogether,
    data: ImageDataModule,
    recipe: Recipe,
    trainer: Plain,
    folder: Path,
    checkpoints: Checkpoints,
) -> tuple[list[Fitted | NonFiniteError], float]:
    """Train from the newest of `checkpoints` on.

    Returns for each gate what `fit` would, or why it failed, with weights on the CPU; and the seconds of training
    before that checkpoint.
    """
    bar = shows_bar(trainer)
    progress = SaveProgress(checkpoints)
    callbacks: list[Callback] = [*([StageProgress(leave=False)] if bar else []), progress]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*number of training batches.*is smaller than the logging")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        own = {**trainer, "enable_progress_bar": bar}
        run(make_trainer(own, recipe.epochs, callbacks, None, folder), module, data, checkpoints)
    return module.fitted, progress.earlier
