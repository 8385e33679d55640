"""A long run of a small stage: no growth of memory, open files or threads."""

import gc
import os
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import Logger

import moe
from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.modules.expert import Expert
from moe.modules.fit import fit

pytestmark = pytest.mark.fault("a long run of a small stage: memory, open files, threads")
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST = 4 * 2**20  # bytes that the resident memory may grow by; a leak of a batch an epoch would be more


class Watching(Logger):
    """A logger that, once an epoch, looks at the process that it is in."""

    def __init__(self, measured: tuple[int, int]) -> None:
        super().__init__()
        self.measured = measured
        self.seen: dict[int, tuple[int, int, int]] = {}

    @property
    def name(self) -> str:
        return "watching"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if "val/nll" not in metrics:
            return
        if len(self.seen) in self.measured:  # else it takes longer than the epoch
            gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        self.seen[len(self.seen)] = (resident, len(os.listdir("/proc/self/fd")), threading.active_count())


def test_no_growth(tmp_path: Path, long: bool, tally: Counter[tuple[str, str]]) -> None:
    epochs = 500 if long else 25
    config = moe.compose("experiment=demo", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    recipe = config.base.recipe
    recipe.epochs, recipe.patience, recipe.averaging, recipe.batch_size = epochs, None, 0.9, 16
    images = torch.randint(256, (80, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(80) % 2
    dataset = assemble("made-up", ("a", "b"), (images[:64], labels[:64], images[64:], labels[64:]))
    train, val = torch.arange(48), torch.arange(48, 64)
    data = ImageDataModule(
        dataset, SplitIndices(train, val, val), Pixels((0.0,), (1.0,)), {0: 0, 1: 1}, recipe, 0, "train", "val", {}
    )
    expert = Expert(config.base.net, (1, 8, 8), 2, asdict(recipe), False)
    watching = Watching((epochs // 5, epochs - 1))
    fitted = fit("base", expert, data, recipe, config.trainer, watching, tmp_path)
    assert len(fitted.curves) == epochs
    seen = list(watching.seen.values())
    assert len(seen) == epochs
    first, last = seen[epochs // 5], seen[-1]
    assert last[0] - first[0] < MOST, f"{(last[0] - first[0]) / 2**20:.1f} MB"
    assert last[1:] == first[1:]
    tally[f"{epochs} epochs", "no growth"] += 1
