"""What a step of gates on stored outputs costs beyond the gates, and what each thing that was removed had cost.

    python experiments/benchmarks/overhead.py [EPOCHS [REPETITIONS]]

`gate=mlp`, width 128, batches of 50 of 2,500 random images of CIFAR-10's shape, two leaves of two experts. The Trainer
as it is, the same with one removed thing put back, and a bare loop without validation and metrics take turns in one
process. Of a turn's epochs, set-up left out, the one that took least of the processor's time counts, since other work
on the machine only adds; on a GPU, least time. Medians over the turns, and the least and greatest ratio of a turn, are
written to overhead.json beside this file, of a GPU to overhead_gpu.json.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule
from pytorch_lightning.profilers import PassThroughProfiler
from together import BATCH, CLASSES, DEVICE, bare, config_of, data, ensemble
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from turns import file_of, now, over

from moe.data.module import ImageDataModule
from moe.modules import fit as fitting
from moe.modules.means import EpochMeans
from moe.modules.recipe import RecipeModule
from moe.modules.unprofiled import Unprofiled
from moe.provenance import git_revision
from moe.training import machine

WIDTH = 128
make_trainer = fitting.make_trainer


class Clock(Callback):
    """The time of every epoch in milliseconds: the processor's own, or until a GPU has done its part."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def mark(self) -> None:
        self.marks.append(1000 * (now() if DEVICE.type == "cuda" else time.process_time()))

    def on_train_epoch_start(self, *_: Any) -> None:
        self.mark()

    def on_train_end(self, *_: Any) -> None:
        self.mark()

    @property
    def epochs(self) -> list[float]:
        return [end - start for start, end in pairwise(self.marks)]


class Searched(Callback):
    """Has torch look for the library NVML at every step, as it does once Lightning is imported."""

    def on_train_start(self, *_: Any) -> None:
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"


class Metrics(Callback):
    """Updates three metrics of torchmetrics at every step."""

    def __init__(self) -> None:
        self.means = [MeanMetric(nan_strategy="disable").to(DEVICE) for _ in range(2)]
        self.accuracy = MulticlassAccuracy(CLASSES, average="micro", validate_args=False).to(DEVICE)
        self.said = torch.rand(BATCH, CLASSES, device=DEVICE)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        for mean in self.means:
            mean.update(outputs["loss"].detach().expand(BATCH))
        self.accuracy.update(self.said, batch[1])


class Normed(Callback):
    """Takes the norm of all gradients at every step, as the guard did beside what it now does."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])


def added(self: Any, scores: Tensor, targets: Tensor, *means: Tensor) -> None:
    """A batch added to an epoch's sums as it was before several were held."""
    count, right = len(targets), (scores.detach().argmax(dim=1) == targets).sum()
    self._sums += torch.stack([right, *(mean.detach() * count for mean in means)])
    self._count += count


PUT_BACK: dict[str, Callable[[], list[Callback]]] = {
    "as it is": lambda: [],
    "a progress bar without a terminal": lambda: [fitting.StageProgress(leave=False)],
    "a search for NVML at every step": lambda: [Searched()],
    "three metrics updated at every step": lambda: [Metrics()],
    "the gradients' norm at every step": lambda: [Normed()],
}
# Lightning's or PyTorch's own way, or what was there before, in place of what the project has.
CLIPS, SENDS = "configure_gradient_clipping", "transfer_batch_to_device"
AS_BEFORE: dict[str, Callable[[], list[AbstractContextManager[Any]]]] = {
    "a generator made of each hook": lambda: [patch.object(Unprofiled, "profile", PassThroughProfiler.profile)],
    "each hook's name taken for a network's part": lambda: [
        patch.object(RecipeModule, "__setattr__", nn.Module.__setattr__)
    ],
    "clipping, and sending batches to the device, by Lightning": lambda: [
        patch.object(RecipeModule, CLIPS, getattr(LightningModule, CLIPS)),
        patch.object(ImageDataModule, SENDS, getattr(LightningDataModule, SENDS)),
    ],
    "the epoch's sums made at every step": lambda: [patch.object(EpochMeans, "add", added)],
}
if find_spec("rich") is None:
    del PUT_BACK["a progress bar without a terminal"]
if DEVICE.type == "cuda":  # where the library is there
    del PUT_BACK["a search for NVML at every step"]


def through_trainer(epochs: int, more: list[Callback], folder: Path) -> list[float]:
    clock = Clock()

    def with_more(trainer: Any, number: int, callbacks: list[Callback], *others: Any) -> Any:
        bar = any(isinstance(callback, fitting.StageProgress) for callback in more)
        return make_trainer({**trainer, "enable_progress_bar": bar}, number, [clock, *callbacks, *more], *others)

    config = config_of(WIDTH, epochs)
    fitting.make_trainer = with_more
    fitting.fit("gates", ensemble(config), data(config), config.gate.recipe, config.trainer, None, folder)
    fitting.make_trainer = make_trainer
    return clock.epochs


def as_before(patches: list[AbstractContextManager[Any]], epochs: int, folder: Path) -> list[float]:
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        return through_trainer(epochs, [], folder)


def in_bare_loop(epochs: int, tensors: Sequence[Tensor]) -> list[float]:
    clock, epoch = Clock(), bare(config_of(WIDTH, epochs), tensors)
    for _ in range(epochs):
        clock.on_train_epoch_start()
        epoch()
    clock.on_train_end()
    return clock.epochs


def main() -> None:
    epochs, repetitions = (int(value) for value in (*sys.argv[1:], *("4", "15")[len(sys.argv) - 1 :]))
    load = os.getloadavg()[0]
    torch.set_num_threads(1)  # what a second does while it waits would be counted
    config = config_of(WIDTH, epochs)
    own = data(config)
    examples = own.examples("gate").to(DEVICE)
    tensors = (own.pixels(examples.images), examples.targets, *examples.along)
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Callable[[], list[float]]] = {
            name: lambda more=more: through_trainer(epochs, more(), Path(folder)) for name, more in PUT_BACK.items()
        }
        sides |= {name: lambda own=own: as_before(own(), epochs, Path(folder)) for name, own in AS_BEFORE.items()}
        sides["bare loop"] = lambda: in_bare_loop(epochs, tensors)
        spent: dict[str, list[list[float]]] = {name: [] for name in sides}
        for turn in range(repetitions + 1):
            for name, side in sides.items():
                times = side()
                spent[name] += [times] if turn > 0 else []  # the first warms up
    least = {name: [min(times) for times in turns] for name, turns in spent.items()}
    found = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": load,
        "epochs": epochs,
        "repetitions": repetitions,
        "milliseconds an epoch": {name: statistics.median(each) for name, each in least.items()},
        "over as it is": {name: over(each, least["as it is"]) for name, each in least.items()},
    }
    file_of(__file__).write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
