"""`python -m moe.rank`: one of the processes that train a network together; `moe.ddp` starts them, nobody else does.

It reads from stdin which stages of which config it trains, finds everything else where the command found it, and
leaves nothing but the first one's weights: no run folder, no lock, no log. Both ways go lines of JSON.
"""

import json
import logging
import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from safetensors.torch import save_file

from moe import memory
from moe.config import from_plain
from moe.data import sources, splits
from moe.ddp import WEIGHTS
from moe.errors import ConfigError, UserError
from moe.job import Job, planned
from moe.matching import matched
from moe.modules.fit import Fitted
from moe.modules.place import Place
from moe.schema import Plain
from moe.store import Entry, Store
from moe.taxonomy import parse
from moe.training import enough_memory, fit_at, machine


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
    """Train one stage after the other as asked; where one fails, say why and end with 1."""
    memory.keep_freed()
    greeting = json.loads(sys.stdin.readline())
    tasks: queue.Queue[Plain] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    messages = Messages(greeting["messages"])
    first = greeting["rank"] == 0
    try:
        rank = Rank(greeting, messages)
        if first:  # what is said until here the command has said itself
            moe = logging.getLogger("moe")
            moe.setLevel(logging.INFO)
            moe.addHandler(MessageHandler(messages))
        while True:
            fitted = rank.fit(**tasks.get())
            if first:
                save_file(fitted.weights, Path(greeting["scratch"]) / WEIGHTS)
            kept = {name: getattr(fitted, name) for name in ("epoch", "curves", "earlier", "machine")}
            messages.send(fitted=kept if first else None)
    except UserError as error:
        messages.send(error=type(error).__name__, sentence=str(error))
        _leave()
    except Exception as error:
        traceback.print_exc()
        messages.send(failure=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
        _leave()


class Rank:
    """This process's part of a run: the config, data and store that the command has too."""

    def __init__(self, greeting: Plain, messages: Messages) -> None:
        self.config = config = from_plain(greeting["config"])
        self.messages, self.folder = messages, Path(greeting["run"])
        self.place = Place(greeting["rank"], greeting["world"], greeting["port"])
        self.tree = parse(config.taxonomy.branches, sources.class_names(config.data, Path(config.paths.data)))
        self.dataset = sources.load(config.data, Path(config.paths.data))
        self.indices = splits.split(self.dataset, config.data.splits)
        self.store = Store(Path(config.paths.store))
        job = Job(config, self.tree, self.dataset, self.indices, self.store, self.folder, lambda stage: None)
        self.job, self.stages = job, planned(replace(job, config=matched(job)))

    def fit(self, key: str, logger: bool) -> Fitted:
        """Train the stage of `key` together with the other ranks."""
        job, stages = self.job, self.stages
        number = next((number for number, stage in enumerate(stages) if stage.key == key), None)
        if number is None:
            raise ConfigError("the code of moe changed while this command ran; give it again")
        found = {stage.name: self.store.get(stage.key) for stage in stages[:number]}
        entries: dict[str, Entry] = {name: entry for name, entry in found.items() if entry is not None}
        said = MessageLogger(self.messages, self.place.rank) if logger else None
        with enough_memory(stages[number]):
            fitted = fit_at(self.place, replace(job, logger=lambda stage: said), stages[number], entries)
        return replace(fitted, machine=machine(job.device))


def _listen(tasks: "queue.Queue[Plain]") -> None:
    """Take what is to be trained; stdin ends when the process that started this one is gone, however that came."""
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(1)


def _leave() -> None:
    """End at once: to take a process group down in order, a rank would wait for others, which may be gone."""
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
