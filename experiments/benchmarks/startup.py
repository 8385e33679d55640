"""From the command to its first training step: where the time goes, and what each thing that was taken out had cost.

    python experiments/benchmarks/startup.py [TURNS] [data.root=DIR ...]

`python -m moe.train experiment=demo target=base`, all cached, as it is, and with one thing put back that was taken out,
take turns, each in a process of its own; with KEY=VALUE, which name CIFAR-10's folder, also its base, as it is and with
its images read anew. Medians over the turns, and the least and greatest ratio of a turn, are written to startup.json
beside this file.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import Any

from throughput import FIRST_STEP
from turns import DEVICE, file_of, over

from moe.provenance import git_revision
from moe.training import machine

# What stands before the command's own code, for each side.
PUT_BACK = {
    "as it is": "",
    "what draws the report at the end imported": "import matplotlib.figure, matplotlib.patches, matplotlib.ticker",
}
if find_spec("wandb"):
    PUT_BACK["W&B imported, with logger=none, too"] = "import wandb"
ANEW = "CIFAR-10's images read and put in order anew"
# The first training step's moment, and of what comes before it.
MARKED = """
import json, os, time
marks = {}
def mark(what):
    marks[what] = time.time() - float(os.environ["STARTED"])
mark("Python")
import moe.train
mark("Hydra, and what of the project needs no torch")
train = moe.train.train
def marked(*arguments):
    mark("the config")
    import torch
    mark("torch")
    import pytorch_lightning
    mark("Lightning, and torchmetrics and torchvision by it")
    from moe.modules.expert import Expert
    learn = Expert.training_step
    def first(*arguments):
        if arguments[2] == 1:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            mark("images, trial, set-up and the first step")
            print(json.dumps(marks), flush=True)
            os._exit(0)
        return learn(*arguments)
    Expert.training_step = first
    return train(*arguments)
moe.train.train = marked
moe.train.main()
"""


def run(code: str, overrides: list[str]) -> tuple[float, str]:
    """The seconds of a process that runs this code as the command, and what it printed last."""
    start = time.time()
    ended = subprocess.run(
        [sys.executable, "-c", code, *overrides],
        env={**os.environ, "STARTED": str(start)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.time() - start, ended.stdout.strip().rpartition("\n")[2]


def main() -> None:
    given, load = sys.argv[1:], os.getloadavg()[0]
    turns = int(given.pop(0)) if given and given[0].isdigit() else 9
    spent: dict[str, list[float]] = {}
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        own = ["target=base", "logger=none", f"hydra.run.dir={temporary}/run", f"paths.store={temporary}/store"]
        demo = ["experiment=demo", *own]
        for turn in range(turns + 1):
            found = {name: run(f"{before}\n{FIRST_STEP}", demo)[0] for name, before in PUT_BACK.items()}
            if given:
                found["CIFAR-10, as it is"] = run(FIRST_STEP, [*given, *own])[0]
                found[ANEW] = run(FIRST_STEP, [*given, *own, f"paths.data={temporary}/{turn}"])[0]
            marks = {"": 0.0, **json.loads(run(MARKED, demo)[1])}
            if turn > 0:  # the first warms up
                for name, seconds in found.items():
                    spent.setdefault(name, []).append(seconds)
                for (_, before), (name, after) in itertools.pairwise(marks.items()):
                    parts.setdefault(name, []).append(after - before)
    own_sides = {name: "CIFAR-10, as it is" if name == ANEW else "as it is" for name in spent}
    written: dict[str, Any] = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": load,
        "turns": turns,
        "seconds": {name: statistics.median(each) for name, each in spent.items()},
        "over as it is": {name: over(each, spent[own_sides[name]]) for name, each in spent.items()},
        "parts, seconds": {name: statistics.median(each) for name, each in parts.items()},
    }
    file_of(__file__).write_text(json.dumps(written, indent=1) + "\n")
    print(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
