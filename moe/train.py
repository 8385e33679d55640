"""`python -m moe.train experiment=gates`: compose, check, plan, train or reuse, test, record.

Torch is imported late, so that a wrong config fails at once.
"""

import errno
import gc
import json
import logging
import os
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from hydra_plugins import moe_sweeps
from moe import command, command_line, help
from moe.config import hydra_errors, parse
from moe.data.sources import class_names
from moe.errors import ConfigError, DataError, UserError
from moe.package import CONF, CONFIG_NAME
from moe.results.files import RESULTS
from moe.schema import Config, Plain
from moe.sizes import resolved
from moe.sweep import record as sweeps
from moe.sweep.callback import begun, put_back
from moe.taxonomy import parse as parse_taxonomy

if TYPE_CHECKING:
    from moe.data.canonical import DataSet
    from moe.job import Job
    from moe.stages import Stage
    from moe.store import Entry

log = logging.getLogger(__name__)
NO_FOLDER = (errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)
_kept: "dict[str, DataSet]" = {}
GOES_ON = "; the same command goes on from the last checkpoint"


def main() -> None:
    """The command: exit code 0, or 1, 2, 130 (Ctrl-C) or 143 (SIGTERM) with one sentence."""
    command.run(_command, GOES_ON)


def _command() -> int:
    moe_sweeps.register()
    arguments = sys.argv[1:] = command_line.ordered(sys.argv[1:])
    command_line.check(arguments)
    if help.asked(arguments):
        print(help.text([argument for argument in arguments if argument not in help.FLAGS]))
        return 0
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk say, is the smaller trouble
    error: Exception | None = None
    try:
        with command.hydra_raises(), hydra_errors():
            _composed()
    except OSError as raised:
        error = _named(raised)
    except Exception as raised:
        error = raised
    sweep = begun()
    if sweep is not None:
        from moe.sweep import ending

        return ending.end(sweep, error)
    if error is not None:
        raise error
    return 0


def _named(error: OSError) -> Exception:
    """An error of a full or read-only disk, or of a folder that cannot be, as one that a user can mend."""
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return DataError(f"the run's folder cannot be written: {error.strerror}; make room, or set hydra.run.dir=DIR")
    if error.errno in NO_FOLDER:
        place = "hydra.run.dir=DIR (hydra.sweep.dir=DIR with -m)"
        return DataError(f"{error.filename or 'a folder'} cannot be written: {error.strerror}; set {place}")
    return error


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=CONFIG_NAME)
def _composed(composed: DictConfig) -> float | None:
    """One run, or one job of a sweep, of which one may fail and the others go on."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.RUN:
        # As it is given: a preset's own is there in each of its jobs, too.
        launcher = next((said for said in hydra_config.overrides.hydra if said.startswith("hydra/launcher=")), None)
        with command.sentences(GOES_ON):
            if launcher not in (None, "hydra/launcher=basic"):
                raise ConfigError(f"{launcher} runs the jobs of a sweep; add -m, for one job, too")
            results = None
            try:
                results = _run(composed, folder)
            finally:
                if results is None:
                    put_back()
        return None
    log.info("\njob %d  %s", hydra_config.job.num + 1, folder)
    try:
        # A sweeper of Hydra's own has not asked.
        sweep = os.path.abspath(Path(hydra_config.runtime.cwd, hydra_config.sweep.dir))  # as Hydra makes a job's
        sweeps.within(Path(sweep), folder)
        results = _run(composed, folder)
    except Exception as error:
        if isinstance(error, UserError):  # Hydra shows the others'
            command.trace(error)
        log.error("job %d  failed: %s", hydra_config.job.num + 1, sweeps.line(error))
        # Hydra keeps the error to the end, and with it all that the job held: on a GPU the others would lack memory.
        traceback.clear_frames(error.__traceback__)
        if "torch" in sys.modules:
            gc.collect()
            sys.modules["torch"].cuda.empty_cache()
        raise
    return None if results is None else sweeps.objective(results)


def _run(composed: DictConfig, folder: Path) -> Plain | None:
    """`train`; a job of a sweep is trained once, and where it fails it leaves why."""
    if sweeps.sweep_of(folder) is None:
        return train(resolved(parse(composed)), folder)
    with sweeps.alone(folder):
        try:
            return _job(resolved(parse(composed)), folder)
        except Exception as error:
            sweeps.write_failure(folder, error)
            raise


def _job(config: Config, folder: Path) -> Plain | None:
    if not (config.plan and (folder / RESULTS).is_file()):  # a plan changes nothing of what these are worth
        (folder / sweeps.FAILURE).unlink(missing_ok=True)
    results = sweeps.finished(folder, config)
    if results is not None:
        log.info("finished already: %s", folder)
        return results
    older = (folder / RESULTS).is_file() and not config.plan
    if older:
        # Of another config. They stay until this job has its own; where it is killed they are not to be taken for them.
        sweeps.write_failure(folder, sweeps.SILENT)
    results = train(config, folder)
    if older:
        (folder / sweeps.FAILURE).unlink(missing_ok=True)
    return results


def _images(config: Config, kept: bool) -> "DataSet":
    """The data set. With `kept` it is there for the next job of the process, and only the first reads and checks it."""
    from moe.data import sources

    asked = json.dumps([asdict(config.data), config.paths.data])
    if not kept or asked not in _kept:
        _kept.clear()
        _kept[asked] = sources.load(config.data, Path(config.paths.data))
    return _kept[asked] if kept else _kept.pop(asked)


def train(config: Config, folder: Path) -> Plain | None:
    """Train what `config.target` needs and the store lacks, test it once, and leave the run in `folder`.

    Returns what `results.json` holds, or None where `plan=true`. Raises UserError.
    """
    tree = parse_taxonomy(config.taxonomy.branches, class_names(config.data, Path(config.paths.data)))
    for node in tree.experts[1:]:
        if len(node.labels) == 1:
            log.info("%s holds one class: no expert is trained for it, its specialist is constant", node.name)
    if config.router.source == "base" and (config.router.net != config.base.net or _said("router.recipe")):
        log.info("router.net and router.recipe are not used: the base routes, unless router=network")

    from moe import ddp, record
    from moe.comparison.runs import refuse_other
    from moe.data import splits
    from moe.job import Job, planned
    from moe.loggers import StageLoggers
    from moe.matching import matched
    from moe.provenance import git_revision
    from moe.store import Store
    from moe.together import as_stored, obtain
    from moe.training import begin_peak, enough_memory
    from moe.trial import check

    if not config.plan and sweeps.sweep_of(folder) is None:
        refuse_other(folder, config)  # a sweep's folder is its overrides', and its command may be given again
    git_revision()  # of the code that trains, whatever is committed until the end
    store = Store(Path(config.paths.store))
    store.prepare()
    folder.mkdir(parents=True, exist_ok=True)
    dataset = _images(config, kept=sweeps.sweep_of(folder) is not None)
    indices = splits.split(dataset, config.data.splits)
    job = Job(config, tree, dataset, indices, store, folder, lambda stage: None)
    begin_peak(job.device)
    stages = planned(replace(job, config=matched(job)))
    world = check(job, stages)
    if not config.plan:
        for key in dict.fromkeys(one.key for stage in stages for one in (stage, as_stored(job, stage))):
            store.mend(key)
    _say_plan(job, [as_stored(job, stage) for stage in stages])
    if config.plan:
        return None

    loggers = StageLoggers(config.logger, folder, config.plain(), stages[-1].name)
    team = ddp.Team(world) if world > 1 else None
    job = replace(job, logger=loggers.open, team=team)
    entries: dict[str, Entry] = {}
    reused: dict[str, bool] = {}
    try:
        for number, stage in enumerate(stages):
            with enough_memory(stage):
                stages[number], entries[stage.name], reused[stage.name] = obtain(job, stage, entries)
        if sweeps.sweep_of(folder) is None:
            refuse_other(folder, config)  # again: another run may have ended here meanwhile
        with enough_memory():
            results = record.record(job, stages, entries, reused, loggers)
    except BaseException:
        loggers.close(done=entries.keys() - {stages[-1].name})  # the last one's has what was tested, too
        raise
    finally:
        if team is not None:
            team.end()
    loggers.close()
    return results


def _said(section: str) -> bool:
    """Whether the command line says something of a section of the config."""
    said = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return any(one.lstrip("+~").startswith(section) or one.partition("=")[0].endswith(f"@{section}") for one in said)


def _say_plan(job: "Job", stages: "list[Stage]") -> None:
    from moe.job import reusable
    from moe.training import warn_of_few_steps

    width, there = max(len(stage.name) for stage in stages), reusable(job, stages)
    for stage in stages:
        log.info("%-*s  %s  %s", width, stage.name, "reuse" if stage.name in there else "train", stage.key)
    warn_of_few_steps(job, [stage for stage in stages if stage.name not in there])


if __name__ == "__main__":
    main()
