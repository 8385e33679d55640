"""What the benchmarks of networks share: device, file, a clock that waits for the device, ratios of sides in turn."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from moe.data.canonical import Images
from moe.inference import best_device
from moe.modules.fit import precision_for

DEVICE = best_device("auto")
CLASSES, SHAPE = 10, (3, 32, 32)


def file_of(script: str) -> Path:
    """Where a script writes what it measured, beside it: NAME.json of a CPU that trains in bf16.

    Of another CPU it is NAME_fp32.json, of a GPU NAME_gpu.json.
    """
    in_bf16 = precision_for({"precision": "auto", "accelerator": "auto"}) == "bf16-mixed"
    path = Path(script)
    return path.with_name(f"{path.stem}{'_gpu' if DEVICE.type == 'cuda' else '' if in_bf16 else '_fp32'}.json")


def now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], times: int = 1) -> float:
    start = now()
    for _ in range(times):
        work()
    return (now() - start) / times


def over(above: list[float], below: list[float]) -> dict[str, float]:
    """The median, least and greatest ratio of a turn."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)}


def random_images(count: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    return Images(images, torch.randint(CLASSES, (count,), generator=generator), np.arange(count))
