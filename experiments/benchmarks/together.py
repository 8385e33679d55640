"""Many gates trained together beside the same gates one after another, alone and as bare loops.

    python experiments/benchmarks/together.py [EPOCHS [REPETITIONS]]

On random images of CIFAR-10's shape and size of its gate split, with two leaves of two experts each, in batches of 50,
dropout 0.5, Adam. All sides of a ratio take turns in one process; medians and the least and greatest ratio of a turn
are written to together.json beside this file (of a GPU together_gpu.json), of the processor's time as well, which other
work on the machine disturbs less. Where nothing but launching kernels takes time, as for a small gate on a GPU, what
counts is the operations that a step dispatches, which are counted here whatever the device.
"""

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from turns import DEVICE, file_of

import moe
from moe.data.batches import Pixels
from moe.data.canonical import DataSet, Images
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.modules.checkpoint import Checkpoints
from moe.modules.ensemble import GatedEnsemble, mixture_nll
from moe.modules.fit import fit
from moe.modules.together import GatesTogether, fit_together, mixture_nlls
from moe.nets.mixture import Frozen
from moe.nets.stacked import StackedMixture
from moe.provenance import git_revision
from moe.schema import Config
from moe.training import machine

COMPANIES = {
    "8 of width 16": [16] * 8,
    "18 of width 32": [32] * 18,
    "8 of width 64": [64] * 8,
    "8 of width 128": [128] * 8,
    "widths 16 to 1024": [16, 32, 64, 128, 256, 512, 1024],
}
N, CLASSES, BATCH = 2500, 10, 50
OVERRIDES = ("experiment=held_out", "gate.recipe.patience=null", "trainer.enable_progress_bar=false")


def config_of(width: int, epochs: int) -> Config:
    return moe.compose(*OVERRIDES, "trainer.precision=32-true", f"gate.width={width}", f"gate.recipe.epochs={epochs}")


@cache
def random_data() -> tuple[Images, dict[str, tuple[Tensor, ...]]]:
    """Images for learning and for choices, and what frozen networks might say of them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2 * N, 3, 32, 32), dtype=torch.uint8, generator=generator)
    along = {}
    for split in ("gate", "val"):
        experts = torch.randn(N, 3, CLASSES, generator=generator).softmax(dim=2)
        leaves = torch.rand(N, 2, generator=generator).softmax(dim=1)
        along[split] = (experts, leaves, leaves.argmax(dim=1))
    return Images(images, torch.randint(CLASSES, (2 * N,), generator=generator), np.arange(2 * N)), along


def data(config: Config) -> ImageDataModule:
    images, along = random_data()
    indices = SplitIndices(torch.arange(0), torch.arange(N), torch.arange(N, 2 * N))
    dataset = DataSet("random", tuple(config.data.classes or []), images, images, "random")
    pixels = Pixels(tuple(config.data.mean), tuple(config.data.std))
    targets = {label: label for label in range(CLASSES)}
    return ImageDataModule(dataset, indices, pixels, targets, config.gate.recipe, 0, "gate", "val", along)


def ensemble(config: Config) -> GatedEnsemble:
    torch.manual_seed(0)
    classes, branches, recipe = list(config.data.classes or []), config.taxonomy.branches, asdict(config.gate.recipe)
    return GatedEnsemble(config.gate.net, "joint", [3, 32, 32], classes, branches, "hard", recipe)


def stack(configs: Sequence[Config]) -> GatesTogether:
    mixtures, random = [], []
    for config in configs:
        mixtures.append(ensemble(config).mixture)
        random.append(torch.get_rng_state())
    return GatesTogether("gates", mixtures, random, 0, asdict(configs[0].gate.recipe))


def bare(config: Config, tensors: Sequence[Tensor]) -> Callable[[], None]:
    """An epoch of a plain loop over tensors on the device, set up already; no validation, no metrics."""
    images, labels, *stored = tensors
    mixture = ensemble(config).mixture.to(DEVICE).train()
    optimizer = torch.optim.Adam(mixture.parameters(), fused=True)

    def epoch() -> None:
        for index in torch.randperm(N).to(DEVICE).split(BATCH):
            mixed = mixture.combine(images[index], Frozen(*(t[index] for t in stored)))
            loss = mixture_nll(mixed.probabilities, labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def loops(configs: Sequence[Config], tensors: Sequence[Tensor], epochs: int) -> None:
    """Plain loops, one gate after another, each set up first, as a job's are."""
    for config in configs:
        epoch = bare(config, tensors)
        for _ in range(epochs):
            epoch()


class Count(TorchDispatchMode):
    """Counts what is dispatched to the device, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += not function.is_view
        return function(*args, **(kwargs or {}))


def operations(module: torch.nn.Module, loss: Callable[[], Tensor]) -> int:
    """How many operations a training step dispatches, the first, which makes the optimiser's state, left out."""
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    for _ in range(2):
        with Count() as count:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    return count.operations


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and the processor's."""
    start, processor = time.perf_counter(), time.process_time()
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - processor


def measure(widths: Sequence[int], epochs: int, repetitions: int, folder: Path) -> dict[str, Any]:
    configs = [config_of(width, epochs) for width in widths]
    recipe, trainer, own = configs[0].gate.recipe, configs[0].trainer, data(configs[0])
    examples = own.examples("gate").to(DEVICE)
    tensors = (own.pixels(examples.images), examples.targets, *examples.along)
    sides: dict[str, Callable[[], Any]] = {
        "bare loops": lambda: loops(configs, tensors, epochs),
        "alone": lambda: [fit("gates", ensemble(c), data(c), recipe, trainer, None, folder) for c in configs],
        "together": lambda: fit_together(
            stack(configs), data(configs[0]), recipe, trainer, folder, Checkpoints(folder, "all", math.inf)
        ),
    }
    turns = [{name: timed(side) for name, side in sides.items()} for _ in range(repetitions)]
    found: dict[str, Any] = {}
    for place, clock in enumerate(("seconds", "processor seconds")):
        found[clock] = {name: statistics.median(turn[name][place] for turn in turns) for name in sides}
        for name in ("bare loops", "alone"):
            ratios = [turn[name][place] / turn["together"][place] for turn in turns]
            spread = {"median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)}
            found[clock][f"{name} over together"] = spread
    images, labels, *stored = (tensor[:BATCH] for tensor in tensors)
    each = [ensemble(config).mixture.to(DEVICE).train() for config in configs]
    stacked, generators = StackedMixture(each).to(DEVICE).train(), [torch.Generator(DEVICE) for _ in each]
    frozen = Frozen(*stored)
    found["operations a step"] = {
        "alone": sum(
            operations(m, lambda m=m: mixture_nll(m.combine(images, frozen).probabilities, labels)) for m in each
        ),
        "together": operations(stacked, lambda: mixture_nlls(stacked(images, frozen, generators)[0], labels).sum()),
    }
    return found


def main() -> None:
    epochs, repetitions = (int(value) for value in (*sys.argv[1:], *("4", "5")[len(sys.argv) - 1 :]))
    found: dict[str, Any] = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": os.getloadavg()[0],
        "epochs": epochs,
        "repetitions": repetitions,
        "gates": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        measure([8], 1, 1, Path(folder))  # what only the first does
        for name, widths in COMPANIES.items():
            found["gates"][name] = measure(widths, epochs, repetitions, Path(folder))
            print(name, json.dumps(found["gates"][name], indent=1), flush=True)
    file_of(__file__).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
