"""`python -m moe.train experiment=gates`: compose, check, plan, train or reuse, test, record.

Torch is imported late, so that a wrong config fails at once.
"""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from moe import command
from moe.config import CONF, Config, Plain, hydra_errors, parse
from moe.data.sources import class_names
from moe.taxonomy import parse as parse_taxonomy

if TYPE_CHECKING:
    from moe.stages import Stage
    from moe.store import Entry, Store

log = logging.getLogger(__name__)
INTERRUPTED = "interrupted; the same command goes on after the last finished network"


def main() -> None:
    """The command: exit code 0, or 1, 2 or 130 with one sentence."""
    command.run(_command, INTERRUPTED)


def _command() -> None:
    with command.hydra_raises(), hydra_errors():
        _composed()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _composed(composed: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    # Of a sweep's jobs one may fail and the others go on; a single run ends here, with its sentence alone.
    alone = command.sentences(INTERRUPTED) if hydra_config.mode == RunMode.RUN else nullcontext()
    with alone:
        train(parse(composed), Path(hydra_config.runtime.output_dir))


def train(config: Config, folder: Path) -> Plain | None:
    """Train what `config.target` needs and the store lacks, test it once, and leave the run in `folder`.

    Returns what `results.json` holds, or None where `plan=true`. Raises UserError.
    """
    tree = parse_taxonomy(config.taxonomy.branches, class_names(config.data, Path(config.paths.data)))
    for node in tree.experts[1:]:
        if len(node.labels) == 1:
            log.info("%s holds one class: no expert is trained for it, its specialist is constant", node.name)

    from moe import record
    from moe.data import sources, splits
    from moe.loggers import StageLoggers
    from moe.modules.fit import precision_for
    from moe.stages import plan
    from moe.store import Store
    from moe.training import Job, check, obtain

    store = Store(Path(config.paths.store))
    store.prepare()
    folder.mkdir(parents=True, exist_ok=True)
    dataset = sources.load(config.data, Path(config.paths.data))
    indices = splits.split(dataset, config.data.splits)
    in_shape = tuple(dataset.train.images.shape[1:])
    stages = plan(config, tree, dataset.fingerprint, in_shape, precision_for(config.trainer))
    check(config, tree, stages)
    _say_plan(stages, store)
    if config.plan:
        return None

    record.clear(folder)
    loggers = StageLoggers(config.logger, "/".join(folder.parts[-2:]), folder, config.plain())
    job = Job(config, tree, dataset, indices, store, folder, loggers.open)
    try:
        entries: dict[str, Entry] = {}
        reused: dict[str, bool] = {}
        for stage in stages:
            entries[stage.name], reused[stage.name] = obtain(job, stage, entries)
        results = record.record(job, stages, entries, reused, loggers)
    except BaseException:
        loggers.close(failed=True)
        raise
    loggers.close()
    return results


def _say_plan(stages: "list[Stage]", store: "Store") -> None:
    width = max(len(stage.name) for stage in stages)
    for stage in stages:
        there = "reuse" if store.get(stage.key) else "train"
        log.info("%-*s  %s  %s", width, stage.name, there, stage.key)


if __name__ == "__main__":
    main()
