"""What a sweep and its jobs leave beside their results: `sweep.json`, and `failure.json` where a job failed."""

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from moe.errors import ConfigError, StoreError, UserError
from moe.results.files import RESULTS, SCHEMA
from moe.schema import Config, Plain
from moe.settings import differences, places
from moe.store import write_whole
from moe.store.files import held

SWEEP, FAILURE, LOCK = "sweep.json", "failure.json", ".lock"
DEEPEST = 2  # so many folders below its sweep's a job's is at most
NOT_STARTED, SILENT, AT_WORK = "it was not started", "it ended without a word", "it is still at work"


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and what was asked for: the command's overrides, the keys they sweep, every job by folder.

    `flags` are Hydra's own options of the command that a job alone needs, too (--config-dir). `timed` is whether its
    end is the place to measure latency: its jobs ran in this process, and were asked to train and to be shown.
    """

    folder: Path
    overrides: list[str]
    swept: list[str]
    jobs: dict[str, list[str]] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    timed: bool = False

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def write(self) -> None:
        """Write `sweep.json`, whole or not at all."""
        said = asdict(self)
        for own in ("folder", "timed"):
            said.pop(own)
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / SWEEP, said)


@dataclass(frozen=True)
class Failure:
    """A job that has no results: its name in its sweep, overrides, folder, why in one line, Hydra's options for it."""

    job: str
    overrides: list[str]
    folder: Path
    error: str
    flags: list[str] = field(default_factory=list)


def write(path: Path, content: Plain) -> None:
    """Write nested plain values as JSON, whole or not at all. Raises StoreError where it cannot be written."""
    write_whole(path, json.dumps(content, indent=1).encode())


def read_sweep(folder: Path) -> Sweep | None:
    """The sweep whose folder this is, or None. Raises StoreError where its record is damaged."""
    try:
        said = json.loads((folder / SWEEP).read_text())
        flags = said.get("flags", [])  # sweeps from before they were recorded have none
        sweep = Sweep(folder, said["overrides"], said["swept"], dict(said["jobs"]), flags)
        for texts in (sweep.overrides, sweep.swept, flags, *sweep.jobs.values()):
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise TypeError("what is no list of texts")
        return sweep
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"{folder / SWEEP} is damaged; remove it, and give the sweep's command again") from None


def within(sweep: Path, job: Path) -> str:
    """A job's folder as it is called in its sweep's. Raises ConfigError where it lies elsewhere or too deep."""
    sweep, job = (Path(os.path.normpath(folder)) for folder in (sweep, job))  # which ends what .. would lead out of
    if not job.is_relative_to(sweep) or not 1 <= len(job.relative_to(sweep).parts) <= DEEPEST:
        raise ConfigError(
            f"a job's folder must be in its sweep's, {sweep}, or one deeper, not {job}; set hydra.sweep.subdir=NAME or "
            "NAME/NAME"
        )
    return job.relative_to(sweep).as_posix()


def sweep_of(run: Path) -> Sweep | None:
    """The sweep in whose folder a run's is, directly or one deeper (`hydra.sweep.subdir=a/b`), or None."""
    folder = run
    for _ in range(DEEPEST):
        folder = folder.parent
        if sweep := read_sweep(folder):
            return sweep
    return None


def results(run: Path) -> Plain | None:
    """What a complete run's `results.json` holds, or None."""
    try:
        found = json.loads((run / RESULTS).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def finished(run: Path, config: Config) -> Plain | None:
    """The results of a run that is complete and was of this very config, wherever things are; or None."""
    found, plain = results(run), config.plain()
    try:
        # Mostly they are the very same, which is seen much sooner.
        if found is None or found["schema"] != SCHEMA:
            return None
        if found["config"] != plain and any(differences(found["config"], plain, places(plain))):
            return None
        return found
    except (KeyError, TypeError, AttributeError):  # not the results of a run
        return None


def planned(run: Path) -> bool:
    """Whether a job was asked only for what it would train, and said it."""
    from omegaconf import OmegaConf

    if (run / FAILURE).exists():
        return False
    with unreadable():
        return bool(OmegaConf.select(OmegaConf.load(run / "hydra" / "config.yaml"), "plan"))
    return False


def objective(found: Plain) -> float:
    """What a sweeper maximises: the accuracy on `val`. Raises ConfigError where the run has none."""
    if found.get("val") is None:
        raise ConfigError(f"target={found.get('target')} has no accuracy on val to search by; set target=gates or base")
    return float(found["val"]["accuracy"])


def line(error: BaseException) -> str:
    """An error in one line: the sentence that a user can act on, or its type and what it says."""
    said = " ".join(str(error).split())
    return said if isinstance(error, UserError) else f"{type(error).__name__}: {said}".rstrip(": ")


def write_failure(run: Path, error: BaseException | str) -> None:
    """Leave in a run's folder why it has no results."""
    known = isinstance(error, str | UserError)
    said = error if isinstance(error, str) else line(error)
    trace = "" if known else "".join(traceback.format_exception(error))  # type: ignore[arg-type]
    run.mkdir(parents=True, exist_ok=True)
    write(run / FAILURE, {"error": said, "traceback": trace})


def read_failure(run: Path) -> str | None:
    """Why a run has no results, in a line; None where it left no word."""
    try:
        return str(json.loads((run / FAILURE).read_text())["error"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def failed(run: Path) -> bool:
    """Whether a job's last try failed, or left nothing; results may be of an earlier one, by another config."""
    return (run / FAILURE).exists() or not ((run / RESULTS).is_file() or planned(run))


def failures(sweep: Sweep, earlier: bool = False) -> list[Failure]:
    """The sweep's jobs that have no results and should, in order.

    With `earlier` also those of other sweeps that ran in its folder before and left word of why.
    """
    found, jobs = [], sweep.jobs or _started(sweep)
    if earlier and (left := _failed(sweep) - jobs.keys()):
        jobs = {**jobs, **{name: said for name, said in _started(sweep).items() if name in left}}
    for name, overrides in jobs.items():
        run = sweep.folder / name
        if failed(run):
            why = read_failure(run)
            why = _silent(run) if why in (None, SILENT) else why
            found.append(Failure(name, list(overrides), run, why, sweep.flags))
    return found


def _failed(sweep: Sweep) -> set[str]:
    """What the folders are called, in a sweep's, of the jobs that left word of why they failed."""
    return {path.parent.relative_to(sweep.folder).as_posix() for path in sweep.folder.rglob(FAILURE)}


def _silent(run: Path) -> str:
    """What is to be said of a run that has neither results nor a word of why."""
    if not run.is_dir():
        return NOT_STARTED
    return AT_WORK if (run / LOCK).exists() and taken(run) else SILENT


def _started(sweep: Sweep) -> dict[str, list[str]]:
    """The jobs of a sweeper that finds them as it goes: those that have a folder."""
    from omegaconf import OmegaConf

    jobs = {}
    for path in sorted(sweep.folder.rglob("hydra/overrides.yaml")):
        said: Any = []  # where the job was ended as they were written
        with unreadable():
            said = OmegaConf.load(path)
        jobs[path.parent.parent.relative_to(sweep.folder).as_posix()] = [str(override) for override in said]
    return jobs


@contextmanager
def unreadable() -> Iterator[None]:
    """Pass over a file of Hydra's that is not there, or was cut short as it was written."""
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    with suppress(OSError, ValueError, YAMLError, OmegaConfBaseException):
        yield


def taken(run: Path) -> bool:
    """Whether a process is at work on a run's folder."""
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold a run's folder alone among all processes; says so once where another has it."""
    run.mkdir(parents=True, exist_ok=True)
    with held(FileLock(run / LOCK), f"another process is at work on {run}"):
        yield
