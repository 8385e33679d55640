"""What training, evaluation and start-up cost beside what the machine can do.

    python experiments/benchmarks/throughput.py [--short] [--go-on] [data.root=DIR ...]

On random images of CIFAR-10's shape, on the device that `moe.train` would take, writes throughput.json beside this
file, on a CPU that trains in fp32 throughput_fp32.json, on a GPU throughput_gpu.json. Both sides of a ratio take turns
in one process; medians, and the least and greatest ratio of a turn:

- training: a network by its recipe through the project's Trainer, data, augmentation and a logger of its steps' loss,
  beside a bare loop of the same network on one batch that stays; what comes between two epochs, as validation and
  checkpoints, is not counted. That loop's FLOP/s beside the machine's matrix product in the same precision; and the
  same loop with the network compiled by `torch.compile`, or with a fused optimiser where the recipe's is none
- evaluation: every network on every image (dense) beside those on its way (routed), where half of the images
  go each way, and beside the same where the base speaks alone for the half of which it is surest (cascade)
- start-up: seconds from the command to the first training step, with all data cached, of digits and, where KEY=VALUE
  name its folder, of CIFAR-10

With `--go-on` only what the same revision has not measured on the same machine. `--short` is for seeing that it works:
few steps of small batches.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mixture_rates import evaluation
from pytorch_lightning.loggers import CSVLogger
from torch.utils.flop_counter import FlopCounterMode
from turns import CLASSES, DEVICE, SHAPE, file_of, now, over, random_images, seconds

import moe
from moe import memory
from moe.data.batches import Pixels
from moe.data.canonical import DataSet, Images
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.modules.expert import Expert
from moe.modules.fit import fit, precision_for
from moe.modules.recipe import build_optimizer, optimizer_of
from moe.provenance import git_revision
from moe.schema import Classifier, Config
from moe.sizes import resolved
from moe.training import machine

NETWORKS = {
    "simple_vgg": ("experiment=held_out",),
    **{f"fast_vgg {size}": (f"base.net.size={size}",) for size in ("s" if DEVICE.type == "cpu" else "sml")},
}
MATRIX = 8192 if DEVICE.type == "cuda" else 1024


@dataclass(frozen=True)
class Extent:
    """How much is measured: turns, images to learn from in each, the largest batch, batch sizes of evaluation."""

    turns: int
    images: int
    batch: int
    sizes: tuple[int, ...]


# More images than would be normalised once (`moe.data.batches.RESIDENT_BYTES`), as CIFAR-10's 45,000 are not.
WHOLE = Extent(7, 100_000 if DEVICE.type == "cuda" else 12_000, 1000, (1, 32, 1024))
SHORT = Extent(2, 50, 25, (1, 32))


class Clocked(Expert):
    """An expert that measures its second epoch's training steps; validation comes after them."""

    seconds = 0.0

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.start = now()

    def on_validation_start(self) -> None:
        self.seconds = now() - self.start


def trained(config: Config, images: Images, folder: Path) -> float:
    """Seconds of an epoch through the project's own Trainer, after one that warms up."""
    base, count = config.base, len(images.labels)
    dataset = DataSet("random", tuple(config.data.classes or []), images, images, "random")
    indices = SplitIndices(torch.arange(count), torch.arange(0), torch.arange(min(count, 100)))
    pixels = Pixels(tuple(config.data.mean), tuple(config.data.std))
    targets = {label: label for label in range(CLASSES)}
    data = ImageDataModule(dataset, indices, pixels, targets, base.recipe, 0)
    torch.manual_seed(0)
    module = Clocked(base.net, list(SHAPE), CLASSES, asdict(base.recipe))
    data.prepare_network(module.net)
    fit("base", module, data, base.recipe, config.trainer, CSVLogger(folder), folder)
    return module.seconds


def bare(
    base: Classifier, images: Images, precision: str, compiled: bool = False, fused: bool = False
) -> Callable[[], None]:
    """A step of a plain loop on one batch that stays on the device; the network compiled, or its optimiser fused."""
    torch.manual_seed(0)
    module = Expert(base.net, list(SHAPE), CLASSES, asdict(base.recipe)).to(DEVICE).train()
    if compiled:
        module.net.compile()
    recipe = asdict(base.recipe)
    if fused:
        recipe["optimizer"] = {**recipe["optimizer"], "fused": True}
    optimizer = optimizer_of(module, recipe)
    batch = Pixels((0.0,), (1.0,))(images.images[: base.recipe.batch_size].to(DEVICE))
    labels = images.labels[: base.recipe.batch_size].to(DEVICE)

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = module.loss(module.net(batch).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def matrix_product(precision: str) -> Callable[[], object]:
    matrix = torch.randn(MATRIX, MATRIX, device=DEVICE)
    matrix = matrix.bfloat16() if precision == "bf16-mixed" else matrix
    return lambda: matrix @ matrix


def training(overrides: tuple[str, ...], extent: Extent, folder: Path) -> dict[str, Any]:
    config = resolved(moe.compose("trainer.enable_progress_bar=false", *overrides), say=False)
    size = min(config.base.recipe.batch_size, extent.batch)
    steps = extent.images // size
    config.base.recipe = replace(config.base.recipe, batch_size=size, epochs=2, patience=None)
    images, precision = random_images(steps * size), precision_for(config.trainer)
    step, product = bare(config.base, images, precision), matrix_product(precision)
    with FlopCounterMode(display=False) as counter:
        step()
    product()
    # Lightning gives a GPU's memory back after each training, which the next side would have to ask for again.
    again = 3 if DEVICE.type == "cuda" else 0
    turns: dict[str, list[float]] = {"trainer": [], "bare": [], "matrix": []}
    for _ in range(extent.turns):
        turns["trainer"].append(trained(config, images, folder) / steps)
        for _ in range(again):
            step()
            product()
        turns["bare"].append(seconds(step, steps))
        turns["matrix"].append(seconds(product, 10))
    others = {"compiled": bare(config.base, images, precision, compiled=True)}
    learned = [torch.nn.Parameter(torch.empty(1))]
    if not build_optimizer(asdict(config.base.recipe)["optimizer"], learned).defaults.get("fused"):
        others["fused"] = bare(config.base, images, precision, fused=True)
    first = {name: seconds(other, 1) for name, other in others.items()}
    # In turns of their own, so that nothing of theirs is in the Trainer's.
    beside: dict[str, list[float]] = {"bare": [], **{name: [] for name in others}}
    for _ in range(extent.turns):
        for name, side in {"bare": step, **others}.items():
            beside[name].append(seconds(side, steps))
    rates = {"bare": [counter.get_total_flops() / s for s in turns["bare"]]}
    rates["matrix"] = [2 * MATRIX**3 / s for s in turns["matrix"]]
    return {
        "batch": size,
        "precision": precision,
        "images a second": {side: size / statistics.median(turns[side]) for side in ("trainer", "bare")},
        "trainer over bare": over(turns["bare"], turns["trainer"]),
        "bare over compiled": {**over(beside["bare"], beside["compiled"]), "first step, s": first["compiled"]},
        "bare over fused": over(beside["bare"], beside["fused"]) if "fused" in others else None,
        "flops a second": {side: statistics.median(rate) for side, rate in rates.items()},
        "bare over matrix product": over(rates["bare"], rates["matrix"]),
    }


FIRST_STEP = """
import os
import torch
from moe.modules.expert import Expert
learn = Expert.training_step
def first(*arguments):
    if arguments[2] == 1:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        os._exit(0)
    return learn(*arguments)
Expert.training_step = first
from moe.train import main
main()
"""


def start_up(overrides: list[str], folder: Path, turns: int) -> list[float]:
    """Seconds of each of several commands that end when their first step is done; a further one fills the caches."""
    own = [*overrides, "target=base", "logger=none", f"hydra.run.dir={folder}", f"paths.store={folder}/store"]
    command = [sys.executable, "-c", FIRST_STEP, *own]
    return [seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)) for _ in range(turns + 1)][
        1:
    ]


def gone_on(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the same code had measured on the same machine; nothing yet where the code was another, or is not known."""
    before = json.loads(path.read_text()) if path.exists() else {}
    alike = all(before.get(key) == found[key] for key in ("machine", "git", "short", "turns"))
    return before if alike and found["git"] and not found["git"].endswith("-dirty") else found


def main() -> None:
    memory.keep_freed()  # as every command does
    given = [argument for argument in sys.argv[1:] if argument not in ("--short", "--go-on")]
    extent = SHORT if "--short" in sys.argv else WHOLE
    found: dict[str, Any] = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": os.getloadavg()[0],
        "short": extent is SHORT,
        "turns": extent.turns,
        "training": {},
        "evaluation": {},
        "start-up": {},
    }
    commands = {"digits": ["experiment=demo"], **({"cifar10": given} if given else {})}
    if "--go-on" in sys.argv:
        found = gone_on(found, file_of(__file__))
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{temporary}/compiled"  # what was compiled before is compiled anew
        for name, overrides in NETWORKS.items():
            if name in found["training"]:
                continue
            found["training"][name] = training(overrides, extent, Path(temporary))
            found["evaluation"][name] = evaluation(overrides, extent.sizes, extent.turns)
            print(name, json.dumps(found["training"][name], indent=1), flush=True)
            file_of(__file__).write_text(json.dumps(found, indent=1) + "\n")
        for name, command in commands.items():
            if name in found["start-up"]:
                continue
            spent = start_up(command, Path(temporary) / name, extent.turns)
            found["start-up"][name] = {"median": statistics.median(spent), "least": min(spent), "greatest": max(spent)}
    file_of(__file__).write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
