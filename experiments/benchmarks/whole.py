"""What the whole of `experiment=gates` takes from nothing: seconds, memory, and how much of the machine's matrix rate.

    python experiments/benchmarks/whole.py [--seeds=0,1,2] [SIZE...] [KEY=VALUE...]

A command of its own for each size and seed, as it is, with W&B offline and its report, and with an empty store, so that
every network is trained; images are decoded before. KEY=VALUE are given to the command, as data.root=DIR is. The size
is the device's own unless named. Beside each run stands the machine's matrix product in the same precision, measured
before it and after it by this process. The memory is the command's, of a GPU what its tensors have there. What is in
whole.json beside this file from the same machine is not run again, so that the command goes on where it was ended.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput import MATRIX, matrix_product
from turns import DEVICE, seconds

import moe
from moe.data import sources
from moe.inference import best_device
from moe.modules.fit import precision_for
from moe.provenance import git_revision
from moe.sizes import resolved
from moe.training import machine

FILE = Path(__file__).with_suffix(".json")
TIMES = 200 if DEVICE.type == "cuda" else 10  # products in a row


def rate(precision: str) -> float:
    """The machine's matrix product in FLOP a second, after as many that warm up: an idle GPU has a slow clock."""
    product = matrix_product(precision)
    seconds(product, TIMES)
    return 2 * MATRIX**3 / seconds(product, TIMES)


def told(given: list[str]) -> list[str]:
    """What was given, but for places of this machine."""
    return [word for word in given if not word.startswith(("data.root=", "paths."))]


def measured(size: str, seed: int, given: list[str]) -> dict[str, Any]:
    """One command from an empty store. Exits as it does, where it fails."""
    own = [f"base.net.size={size}", f"seed={seed}", *given]
    config = moe.compose("experiment=gates", *own)
    if best_device(config.trainer["accelerator"]).type != DEVICE.type:
        sys.exit("what is measured is this machine's own device: CUDA_VISIBLE_DEVICES= makes it the CPU")
    sources.load(config.data, Path(config.paths.data))
    precision = precision_for(config.trainer)
    with tempfile.TemporaryDirectory() as folder:
        places = [f"paths.store={folder}/store", f"hydra.run.dir={folder}/run"]
        rates, load = [rate(precision)], os.getloadavg()[0]
        start = time.perf_counter()
        offline = {**os.environ, "WANDB_MODE": "offline"}
        ended = subprocess.run([sys.executable, "-m", "moe.train", "experiment=gates", *own, *places], env=offline)
        spent = time.perf_counter() - start
        rates.append(rate(precision))
        if ended.returncode:
            sys.exit(ended.returncode)
        results = json.loads(Path(folder, "run", "results.json").read_text())
    return {
        "machine": machine(DEVICE),
        "size": size,
        "seed": seed,
        "given": told(given),
        "load": load,
        "precision": precision,
        "command, s": spent,
        "stages, s": {name: stage["seconds"] for name, stage in results["seconds"].items()},
        "stages, FLOP": results["cost"]["training_flops"]["stages"],
        "matrix product, FLOP/s": rates,
        "peak memory, bytes": results["peak_gpu_memory_bytes"] or results["peak_memory_bytes"],
        "test": {"mixture": results["test"]["accuracy"], "base": results["baselines"]["base"]["accuracy"]},
        "versions": results["versions"],
        "git": git_revision(),
    }


def main() -> None:
    git_revision()  # before whole.json is written, which is a change of the checkout that the commands would see
    given = [word for word in sys.argv[1:] if "=" in word and not word.startswith("--")]
    seeds = next((word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--seeds=")), "0,1,2")
    config = resolved(moe.compose("experiment=gates"), say=False)
    sizes = [word for word in sys.argv[1:] if "=" not in word] or [str(config.base.net["size"])]
    found: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else []
    there = [(one["machine"], one["size"], one["seed"], one["given"]) for one in found]
    for seed in map(int, seeds.split(",")):
        for size in sizes:
            if (machine(DEVICE), size, seed, told(given)) not in there:
                found.append(measured(size, seed, given))
                FILE.write_text(json.dumps(found, indent=1) + "\n")
                print(json.dumps(found[-1], indent=1), flush=True)


if __name__ == "__main__":
    main()
