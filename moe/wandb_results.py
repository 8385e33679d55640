"""A run's results in W&B: the numbers of `results.json` in the last stage's summary, and pictures."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from moe import inference
from moe.checks import scalars
from moe.job import Job
from moe.loggers import StageLoggers
from moe.nets.gates import shares
from moe.schema import Plain
from moe.stages import Stage
from moe.store import Entry

log = logging.getLogger(__name__)


def log_results(
    job: Job,
    last: Stage,
    entries: Mapping[str, Entry],
    found: Plain,
    predictions: inference.Predictions | None,
    loggers: StageLoggers,
) -> None:
    """Complete the last stage's W&B run: its curves where it was reused, the results' numbers, pictures."""
    try:
        run = loggers.wandb_run(last, entries[last.name].record["curves"])
        if run is not None:
            run.summary.update(dict(_flat(found)))
            if predictions is not None:
                _log_pictures(run, job, predictions)
    except Exception as error:  # no trouble of W&B's may cost the results of what was trained
        log.warning("W&B has no results of this run (%s)", " ".join(str(error).split())[:200])


def _log_pictures(run: Any, job: Job, predictions: inference.Predictions) -> None:
    import wandb

    classes, labels = list(job.tree.classes), job.dataset.test.labels
    said = predictions.probabilities.argmax(dim=1).tolist()
    pictures: dict[str, Any] = {
        "test/confusion": wandb.plot.confusion_matrix(y_true=labels.tolist(), preds=said, class_names=classes)
    }
    share = shares(predictions.weights, predictions.experts)
    for place, node in enumerate(job.tree.experts):
        asked = predictions.weights[:, :, place].sum(dim=1) > 0
        pictures[f"test/gate/weight/{node.name}"] = wandb.Histogram(share[asked, place].tolist())
    run.log(pictures)


def _flat(found: Plain) -> Iterator[tuple[str, float]]:
    """The results' numbers by W&B's names: `/` for `.`."""
    for section in ("val", "test", "baselines", "verdict", "cost", "stages"):
        for key, value in scalars(found[section] or {}, section):
            if isinstance(value, int | float):
                yield key.replace(".", "/"), value
    for stage, spent in found["seconds"].items():
        yield f"seconds/{stage}", spent["seconds"]
