"""What a training step on a CPU gains by tensors that lie in the memory of those before (`moe.memory`).

    python experiments/benchmarks/memory.py [--short]

Writes memory.json beside this file: for networks by their recipes, milliseconds and page faults of a step of a bare
loop on one batch of random images of CIFAR-10's shape, and the process's peak memory. Each side is a process of its
own; they take turns. `--short` is for seeing that it works.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from throughput import bare
from turns import DEVICE, over, random_images, seconds

import moe
from moe import memory
from moe.modules.fit import precision_for
from moe.provenance import git_revision
from moe.sizes import resolved
from moe.training import machine, peak_memory

FILE = Path(__file__).with_suffix(".json")
NARROW = ("base.net.size=s", "base.net.widths=[16,64,64]")
NETWORKS: dict[str, tuple[str, ...]] = {
    "simple_vgg": ("experiment=held_out",),
    "fast_vgg s": ("base.net.size=s",),
    "fast_vgg [16,64,64]": NARROW,
    "cond_vgg [16,64,64]": ("net@base.net=cond_vgg", *NARROW),
}
KEPT, ANEW = "kept", "anew"
SHORT = "--short"


def side(name: str, kept: bool, short: bool) -> None:
    """For each line that is read, the seconds and page faults of some steps; at the end the peak memory."""
    if kept and not memory.keep_freed():
        sys.exit("this machine's C library cannot be told to keep freed memory")
    config = resolved(moe.compose(*NETWORKS[name]), say=False)
    size, steps = (20, 1) if short else (config.base.recipe.batch_size, 3)
    step = bare(config.base, random_images(size), precision_for(config.trainer))
    step()
    for _ in sys.stdin:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        spent = seconds(step, steps)
        faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps
        print(json.dumps({"seconds": spent, "faults": faults}), flush=True)
    print(json.dumps({"peak": peak_memory()}), flush=True)


def measured(name: str, turns: int) -> dict[str, Any]:
    given = [SHORT] if SHORT in sys.argv else []
    told: dict[str, subprocess.Popen[str]] = {}
    for way in (KEPT, ANEW):
        command = [sys.executable, __file__, f"--side={way}", name, *given]
        told[way] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said: dict[str, list[dict[str, float]]] = {way: [] for way in told}
    for _ in range(turns + 1):
        for way, process in told.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            said[way].append(json.loads(process.stdout.readline()))
    peaks = {way: json.loads(process.communicate()[0])["peak"] for way, process in told.items()}
    clocked = {way: [turn["seconds"] for turn in each[1:]] for way, each in said.items()}  # the first turn warms up
    return {
        "milliseconds": {way: 1000 * statistics.median(each) for way, each in clocked.items()},
        "faults": {way: statistics.median(turn["faults"] for turn in each[1:]) for way, each in said.items()},
        "peak memory, bytes": peaks,
        "anew over kept": over(clocked[ANEW], clocked[KEPT]),
    }


def main() -> None:
    if DEVICE.type != "cpu":
        sys.exit("a GPU's memory is kept by PyTorch itself: CUDA_VISIBLE_DEVICES= makes the device the CPU")
    asked = next((word.partition("=")[2] for word in sys.argv if word.startswith("--side=")), None)
    if asked is not None:
        return side(sys.argv[2], asked == KEPT, SHORT in sys.argv)
    turns = 2 if SHORT in sys.argv else 7
    found: dict[str, Any] = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "short": SHORT in sys.argv,
        "turns": turns,
        "networks": {name: measured(name, turns) for name in NETWORKS},
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
