"""How long an image takes each rival, on the machine at hand."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from moe import runs
from moe.comparison import Row, values
from moe.data import sources
from moe.data.batches import at_once
from moe.data.canonical import DataSet
from moe.errors import StoreError
from moe.inference import device_again, exact
from moe.schema import Config
from moe.store import write_whole
from moe.training import machine
from moe.verdict.contests import same

LATENCY = "latency.json"
LARGE = 1024  # images in the larger batch; of large ones fewer
ALONE = 32  # images one after another that are one repeat at batch 1, each time others


class Spread(NamedTuple):
    """Milliseconds an image: the median of the repeats, the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.greatest)})"


@dataclass(frozen=True)
class Latency:
    """Seconds an image of each repeat, by rival and batch size, measured together on one machine.

    `seconds` of one machine say nothing beside those of another. `seeds`, `keys` and `routed` say of which networks
    they are, and how much of them an image asks: of each rival the run's seed, key and FLOPs. `load` is the machine's
    before it began, the mean number of processes that want to run. `alone` is how many images a repeat at batch 1 has,
    each time others. Files from before these were recorded have none of them.
    """

    machine: str
    torch: str
    repeats: int
    seeds: dict[str, int]
    seconds: dict[str, dict[str, list[float]]]
    keys: dict[str, str | None] = field(default_factory=dict)
    routed: dict[str, float | None] = field(default_factory=dict)
    load: float | None = None
    alone: int | None = None

    @property
    def batches(self) -> list[int]:
        """The batch sizes, ascending."""
        return sorted({int(batch) for each in self.seconds.values() for batch in each})

    def spreads(self, found: Mapping[str, Row], batch: int) -> dict[str, Spread]:
        """What an image takes each rival at that batch size, where it was measured and is of the runs found.

        Rivals that are the very same networks have one figure, of the first of them that was measured.
        """
        other, made = self.others(found), {}
        for names in same(found):
            own = next((self.seconds[name] for name in names if name in self.seconds and name not in other), {})
            if each := own.get(str(batch)):
                spread = Spread(*(1000 * value for value in (median(each), min(each), max(each))))
                made.update(dict.fromkeys(names, spread))
        return made

    def covers(self, found: Mapping[str, Row]) -> bool:
        """Whether it is of these very runs, and of every rival of them."""
        return bool(self.keys) and all(set(self.spreads(found, batch)) == set(found) for batch in self.batches)

    def others(self, found: Mapping[str, Row]) -> list[str]:
        """The rivals that were measured by other runs than those found."""
        return [name for name, row in found.items() if name in self.keys and not self._of(name, row)]

    def _of(self, name: str, row: Row) -> bool:
        own = (self.seeds[name], self.keys[name], self.routed[name])
        return own in [(run.seed, run.key, run.routed) for run in row.runs]

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all. Raises StoreError where it cannot be."""
        write_whole(file, json.dumps(asdict(self), indent=1).encode())

    @staticmethod
    def read(file: Path) -> "Latency | None":
        """What `write` wrote, or None where there is no file. Raises StoreError where it is damaged."""
        try:
            latency = Latency(**json.loads(file.read_text()))
            values.text(latency.machine)
            values.text(latency.torch)
            values.whole(latency.repeats)
            values.known(latency.load, 0)
            values.known(latency.alone, 1)
            every = [each.get(str(batch)) for each in latency.seconds.values() for batch in latency.batches]
            if not every or not all(times and 0 < min(times) <= max(times) < math.inf for times in every):
                raise ValueError("a rival without its seconds at a batch size, or with none above zero")
            if not set(latency.keys) <= set(latency.seeds) & set(latency.routed):
                raise ValueError("a key without its seed and FLOPs")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            raise StoreError(f"{file} is damaged: measure again with --latency") from None
        return latency


def measure(found: Mapping[str, Row], repeats: int = 9) -> Latency:
    """Run the first seed of each rival over test images at batch 1 and at 1024 (or all there are, or fit), in turn.

    What is timed begins with uint8 images on the device and ends with probabilities, for each batch by itself. The
    images are real, since how many networks run depends on them, and the same for all; every repeat begins with another
    rival, and has other images at batch 1, so that its spread has in it how many networks those ask. Of rivals that are
    the very same networks only the first is run. Raises StoreError where a run's networks are gone, DataError where its
    images are.
    """
    measured = {names[0]: found[names[0]].first for names in same(found)}
    opened = {name: runs.load(run.path) for name, run in measured.items()}
    config = next(iter(opened.values())).config
    device, load = device_again(config.trainer), os.getloadavg()[0]
    tested = _dataset(next(iter(measured.values())).path, config).test.images
    images = tested[: at_once(LARGE, tested.shape[-2:])].to(device)
    networks = {name: _classifier(one, device) for name, one in opened.items()}
    each = [torch.split(some, 1) for some in torch.split(images, ALONE)]
    seconds: dict[str, dict[str, list[float]]] = {name: {"1": [], str(len(images)): []} for name in networks}
    names = list(networks)
    for repeat in range(-1, repeats):  # the first warms up and is not kept
        for batch, parts in {1: each[repeat % len(each)], len(images): [images]}.items():
            for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                spent = clocked(networks[name], parts, _waiter(device))
                if repeat >= 0:
                    seconds[name][str(batch)].append(spent)
    return Latency(
        machine(device),
        torch.__version__,
        repeats,
        {name: run.seed for name, run in measured.items()},
        seconds,
        {name: run.key for name, run in measured.items()},
        {name: run.routed for name, run in measured.items()},
        load,
        ALONE,
    )


def clocked(classify: Callable[[Tensor], object], parts: Sequence[Tensor], wait: Callable[[], None]) -> float:
    """Seconds an image of batches one after another, each waited for.

    A device that is given the next batch meanwhile would show how many it takes in a second, not how long one takes.
    """
    start = time.perf_counter()
    with exact():
        for part in parts:
            classify(part)
            wait()
    return (time.perf_counter() - start) / sum(map(len, parts))


def _waiter(device: torch.device) -> Callable[[], None]:
    """What waits for all that a device was given; a CPU is done when it answers."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _short(milliseconds: float) -> str:
    """Two significant digits, three from 100 on."""
    digits = max(0, 1 - math.floor(math.log10(float(f"{milliseconds:.2g}"))))
    return f"{milliseconds:.{digits}f}"


def _classifier(run: runs.Finished, device: torch.device) -> Callable[[Tensor], object]:
    """A run's networks, from uint8 images on."""
    network = run.network.to(device).eval()
    return lambda images: network(run.pixels(images))


def _dataset(run: Path, config: Config) -> DataSet:
    """A run's own data, seen from here or from where it started."""
    root = str(runs.seen(run, Path(config.data.root).expanduser())) if config.data.root else None
    return sources.load(replace(config.data, root=root), runs.seen(run, Path(config.paths.data)))
