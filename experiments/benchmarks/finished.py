"""What a finished job costs when its sweep's command is given again.

    python experiments/benchmarks/finished.py

Two sweeps on digits, of few jobs and of many, are run and then given again by turns; what the many take longer, by how
many more they are, is a job's. Written to finished.json beside this file.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from moe.inference import best_device
from moe.provenance import git_revision
from moe.training import machine

FEW, MANY, TURNS = 4, 24, 5


def command(folder: Path, jobs: int) -> float:
    """Seconds of the whole command of a sweep over so many widths, the comparison at its end included."""
    widths = f"gate.width={','.join(map(str, range(1, jobs + 1)))}"
    where = [f"hydra.sweep.dir={folder / str(jobs)}", f"paths.store={folder / 'store'}"]
    arguments = ["-m", "experiment=demo", widths, "gate.recipe.epochs=1", "logger=none", "report=false", *where]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "moe.train", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command(folder, FEW)  # trains the networks, too
        first = command(folder, MANY)  # the gates of the others
        load = os.getloadavg()[0]
        turns = [(command(folder, FEW), command(folder, MANY)) for _ in range(TURNS)]
    few, many = ([turn[side] for turn in turns] for side in (0, 1))
    each = [(there - here) / (MANY - FEW) for here, there in turns]
    found = {
        "machine": machine(best_device("auto")),
        "git": git_revision(),
        "load": load,
        "jobs": {"few": FEW, "many": MANY},
        "seconds": {"first": first, "few again": few, "many again": many},
        "a finished job, s": {"median": statistics.median(each), "least": min(each), "greatest": max(each)},
        "first over again": first / statistics.median(many),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
