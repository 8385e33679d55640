"""`python -m moe.rank`: one of the processes that train a stage together; `moe.ddp` starts them, nobody else does.

It reads from stdin which stage of which config it trains, finds everything else where the command found it, and writes
nothing but the first one's weights: no run folder, no lock, no log. Its messages are lines of JSON.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from safetensors.torch import save_file

from moe.config import Plain, from_plain
from moe.data import sources, splits
from moe.errors import UserError
from moe.modules.fit import Fitted, precision_for
from moe.modules.place import Place
from moe.stages import plan
from moe.store import Entry, Store
from moe.taxonomy import parse
from moe.training import Job, fit_at


class Messages:
    """Lines of JSON to the process that started this one."""

    def __init__(self, handle: int) -> None:
        os.set_inheritable(handle, False)  # it is closed when this process ends, whatever that has started
        self.file = os.fdopen(handle, "w", buffering=1)

    def send(self, **message: Any) -> None:
        self.file.write(json.dumps(message, default=str) + "\n")


class MessageLogger(Logger):
    """Lightning's logger of a rank: the first one's metrics are sent, the others' are those again."""

    def __init__(self, messages: Messages, rank: int) -> None:
        super().__init__()
        self.messages, self.rank = messages, rank

    @property
    def name(self) -> str:
        return "moe"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.rank == 0:
            self.messages.send(metrics={name: float(value) for name, value in metrics.items()}, step=step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        if self.rank == 0:
            self.messages.send(hyperparameters=dict(params))


class MessageHandler(logging.Handler):
    """Sends what this process logs to the command's log."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(logging.INFO)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.send(log=[record.name, record.levelno, record.getMessage()])


def main() -> None:
    """Train, and end with 0; or with 1 and why."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    messages = Messages(task["messages"])
    if task["rank"] == 0:
        moe = logging.getLogger("moe")
        moe.setLevel(logging.INFO)
        moe.addHandler(MessageHandler(messages))
    try:
        fitted = train(task, messages)
        if task["rank"] == 0:
            save_file(fitted.weights, Path(task["scratch"]) / "weights.safetensors")
            messages.send(fitted={"epoch": fitted.epoch, "curves": fitted.curves})
    except UserError as error:
        messages.send(error=type(error).__name__, sentence=str(error))
        _leave(1)
    except Exception as error:
        traceback.print_exc()
        messages.send(failure=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
        _leave(1)
    _leave(0)


def train(task: Plain, messages: Messages) -> Fitted:
    """The stage of `key` in `config`, from the data and the store that the command reads too."""
    config = from_plain(task["config"])
    tree = parse(config.taxonomy.branches, sources.class_names(config.data, Path(config.paths.data)))
    dataset = sources.load(config.data, Path(config.paths.data))
    indices = splits.split(dataset, config.data.splits)
    store = Store(Path(config.paths.store))
    stages = plan(config, tree, dataset.fingerprint, dataset.train.images.shape[1:], precision_for(config.trainer))
    place = next(place for place, stage in enumerate(stages) if stage.key == task["key"])
    found = {stage.name: store.get(stage.key) for stage in stages[:place]}
    entries: dict[str, Entry] = {name: entry for name, entry in found.items() if entry is not None}
    logger = MessageLogger(messages, task["rank"]) if task["logger"] else None
    job = Job(config, tree, dataset, indices, store, Path(task["run"]), lambda stage: logger, task["world"])
    return fit_at(Place(task["rank"], task["world"], task["port"]), job, stages[place], entries)


def _end_with_starter() -> None:
    """Its end of stdin closes when the process that started this one is gone, however that came."""
    sys.stdin.read()
    os._exit(1)


def _leave(code: int) -> None:
    """End at once: to take a process group down in order, a rank would wait for others, which may be gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
