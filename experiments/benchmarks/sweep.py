"""What a sweep over gates costs beside bare loops, and a gate job beside the same with live frozen networks.

    python experiments/benchmarks/sweep.py

Both sides of each ratio in one run, on CIFAR-10, written to sweep.json beside this file. The frozen networks are
trained for one epoch only: what they know changes no time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import moe
from moe import assembly, inference, memory
from moe.data import sources, splits
from moe.data.batches import Pixels
from moe.data.module import split_images
from moe.frozen import outputs
from moe.job import Job, planned
from moe.modules.ensemble import mixture_nll
from moe.nets.mixture import Frozen, Mixture
from moe.provenance import git_revision
from moe.schema import Config
from moe.store import Store
from moe.taxonomy import parse
from moe.training import machine

WIDTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
EPOCHS = 30
QUICK = [f"{network}.recipe.epochs=1" for network in ("base", "expert", "router")]
# The same work for every width: no early stopping.
FIXED = [*QUICK, "experiment=held_out", "logger=none", "report=false", "gate.recipe.patience=null"]


def command(folder: Path, *overrides: str, many: bool = False) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of a whole command, and the results of its runs."""
    where = f"hydra.{'sweep' if many else 'run'}.dir={folder}"
    arguments = [sys.executable, "-m", "moe.train", *(["-m"] if many else []), *FIXED, *overrides, where]
    start = time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return seconds, [json.loads(path.read_text()) for path in sorted(folder.rglob("results.json"))]


def frozen_outputs(config: Config) -> tuple[torch.Tensor, torch.Tensor, Frozen, Mixture]:
    """The gate split's images as the gates see them (N, C, H, W), labels (N,), frozen outputs, an empty mixture."""
    data = Path(config.paths.data)
    tree = parse(config.taxonomy.branches, config.data.classes or [])
    dataset = sources.load(config.data, data)
    indices = splits.split(dataset, config.data.splits)
    store = Store(Path(config.paths.store))
    job = Job(config, tree, dataset, indices, store, Path(), lambda stage: None)
    entries = {stage.name: entry for stage in planned(job) if (entry := store.get(stage.key)) is not None}
    images = split_images(dataset, indices, "gate")
    pixels = Pixels(tuple(config.data.mean), tuple(config.data.std))
    said = outputs(config, store, tree, entries, "gate", images, pixels, torch.device("cpu"))
    gates = assembly.gates(config, tree, (3, 32, 32), None).requires_grad_(True)
    return pixels(images.images), images.labels, said, Mixture(tree, (), (), list(gates), config.mixture.routing)


def bare(width: int) -> float:
    """Seconds of a plain loop that trains one width's gates on tensors in memory; no validation, no metrics."""
    config = moe.compose(*FIXED, f"gate.width={width}")
    images, labels, said, mixture = frozen_outputs(config)
    tensors = (said.experts, said.leaves, said.route)
    optimizer = torch.optim.Adam(mixture.parameters(), fused=True)
    mixture.train()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(labels)).split(config.gate.recipe.batch_size):
            mixed = mixture.combine(images[index], Frozen(*(t[index] for t in tensors)))
            loss = mixture_nll(mixed.probabilities, labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    if inference.best_device("auto").type != "cpu":
        sys.exit("the bare loops are the CPU's, and so must the sweep be: CUDA_VISIBLE_DEVICES= hides a GPU from both")
    memory.keep_freed()  # as the command does
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        folder = Path(temporary)
        os.environ["MOE_STORE"] = str(folder.absolute() / "store")  # one with nothing in it that a sweep could reuse
        command(folder / "networks", "gate.width=8", "gate.recipe.epochs=1")
        widths = f"gate.width={','.join(map(str, WIDTHS))}"
        loops = [bare(width) for width in WIDTHS]
        sweep, jobs = command(folder / "sweep", widths, f"gate.recipe.epochs={EPOCHS}", many=True)
        reused = [(job["seconds"]["base"]["reused"], job["seconds"]["gates"]["reused"]) for job in jobs]
        assert reused == [(True, False)] * len(WIDTHS)
        one = ("gate.width=128", "gate.recipe.epochs=10")
        stored, (cheap,) = command(folder / "stored", *one)
        live, (dear,) = command(folder / "live", *one, "gate.frozen=live")
    start_up = 20 + 3 * len(WIDTHS)
    found = {
        "machine": machine(inference.best_device("auto")),
        "git": git_revision(),
        "epochs": EPOCHS,
        "widths": WIDTHS,
        "seconds": {
            "bare loops": loops,
            "gate training in the sweep": [job["seconds"]["gates"]["seconds"] for job in jobs],
            "whole sweep": sweep,
            "job on stored outputs": stored,
            "job on live networks": live,
        },
        "sweep_less_start_up_over_bare": (sweep - start_up) / sum(loops),
        "allowed": 1.5,
        "live_over_stored": {
            "gate training": dear["seconds"]["gates"]["seconds"] / cheap["seconds"]["gates"]["seconds"],
            "whole command": live / stored,
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
