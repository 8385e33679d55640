"""Is bf16 faster than fp32 on this CPU? Ratios of processor time for what convolutional networks spend it on.

    python experiments/benchmarks/precision.py

Puts this machine into precision.json beside this file. `trainer.precision=auto` takes bf16 where, as this shows, it
gains.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from moe import memory
from moe.modules.fit import CPU_BF16
from moe.nets.vgg import VGG
from moe.provenance import git_revision
from moe.training import machine

REPEATS, ENOUGH = 7, 5.0  # runs, and the seconds after which no further one is made


def seconds(work: Callable[[], object]) -> float:
    """Least processor time of several runs, so that other work on the machine counts little."""
    work()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def training_step(blocks: list[list[int]], bf16: bool) -> Callable[[], object]:
    net = VGG((3, 32, 32), 10, blocks).to(memory_format=torch.channels_last)
    images = torch.rand(50, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (50,))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(net(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def matrix_product(dtype: torch.dtype) -> Callable[[], object]:
    matrix = torch.randn(1024, 1024).to(dtype)
    return lambda: matrix @ matrix


def main() -> None:
    memory.keep_freed()  # as every command does
    torch.set_num_threads(1)
    simple, fat = [[32, 32], [64, 64]], [[32, 32], [64, 64], [128, 128, 128]]
    ratios = {
        "matrix product 1024": seconds(matrix_product(torch.float32)) / seconds(matrix_product(torch.bfloat16)),
        "training step simple_vgg": seconds(training_step(simple, False)) / seconds(training_step(simple, True)),
        "training step fat_vgg": seconds(training_step(fat, False)) / seconds(training_step(fat, True)),
    }
    found = {
        "machine": machine(torch.device("cpu")),
        "git": git_revision(),
        "bf16": [name for name in CPU_BF16 if getattr(torch.cpu, name)()],
        "fp32_over_bf16": {name: round(ratio, 2) for name, ratio in ratios.items()},
    }
    path = Path(__file__).with_suffix(".json")
    others = (
        [one for one in json.loads(path.read_text()) if one["machine"] != found["machine"]] if path.exists() else []
    )
    path.write_text(json.dumps([*others, found], indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
