"""How long an image takes each rival, on the machine at hand."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch

from moe import runs
from moe.comparison import Row
from moe.data import sources
from moe.data.canonical import DataSet
from moe.errors import StoreError
from moe.inference import best_device
from moe.schema import Config
from moe.store import write_whole
from moe.training import machine

LATENCY = "latency.json"
LARGE = 1024  # images in the larger batch
ALONE = 32  # images one after another that are one repeat at batch 1


@dataclass(frozen=True)
class Latency:
    """Seconds an image of each repeat, by rival and batch size, measured together on one machine.

    `seconds` of one machine say nothing beside those of another.
    """

    machine: str
    torch: str
    repeats: int
    seeds: dict[str, int]
    seconds: dict[str, dict[str, list[float]]]

    @property
    def batches(self) -> list[int]:
        """The batch sizes, ascending."""
        return sorted({int(batch) for each in self.seconds.values() for batch in each})

    def milliseconds(self, rival: str, batch: int) -> float | None:
        """The median over the repeats, or None for a rival that was not there."""
        found = self.seconds.get(rival, {}).get(str(batch))
        return 1000 * median(found) if found else None

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all. Raises StoreError where it cannot be."""
        write_whole(file, json.dumps(asdict(self), indent=1).encode())

    @staticmethod
    def read(file: Path) -> "Latency | None":
        """What `write` wrote, or None where there is no file. Raises StoreError where it is damaged."""
        try:
            latency = Latency(**json.loads(file.read_text()))
            assert all(latency.milliseconds(name, batch) for name in latency.seconds for batch in latency.batches)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, AssertionError):
            raise StoreError(f"{file} is damaged: measure again with --latency") from None
        return latency


def measure(found: Mapping[str, Row], repeats: int = 9) -> Latency:
    """Run the first seed of each rival over test images at batch 1 and at 1024 (or all there are), in turn.

    What is timed begins with uint8 images on the device and ends with probabilities. The images are real, since how
    many networks run depends on them, and the same for all; every repeat begins with another rival. Raises StoreError
    where a run's networks are gone, DataError where its images are.
    """
    opened = {name: runs.load(row.first.path) for name, row in found.items()}
    config = next(iter(opened.values())).config
    device = best_device(config.trainer["accelerator"])
    images = _dataset(next(iter(found.values())).first.path, config).test.images[:LARGE].to(device)
    networks = {name: (one.network.to(device).eval(), one.pixels) for name, one in opened.items()}
    batches = {1: list(torch.split(images[:ALONE], 1)), len(images): [images]}
    seconds: dict[str, dict[str, list[float]]] = {name: {str(b): [] for b in batches} for name in networks}
    names = list(networks)
    for repeat in range(-1, repeats):  # the first warms up and is not kept
        for batch, parts in batches.items():
            for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                network, pixels = networks[name]
                start = time.perf_counter()
                with torch.inference_mode():
                    for part in parts:
                        network(pixels(part))
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if repeat >= 0:
                    seconds[name][str(batch)].append((time.perf_counter() - start) / sum(map(len, parts)))
    seeds = {name: row.first.seed for name, row in found.items()}
    return Latency(_machine(device), torch.__version__, repeats, seeds, seconds)


def _dataset(run: Path, config: Config) -> DataSet:
    """A run's own data, seen from here or from where it started."""
    root = str(runs.seen(run, Path(config.data.root).expanduser())) if config.data.root else None
    return sources.load(replace(config.data, root=root), runs.seen(run, Path(config.paths.data)))


def _machine(device: torch.device) -> str:
    """The hardware in words, a processor's model among them where the system says it."""
    said = machine(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return said
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{said}, {models[0]}" if models else said
