"""Tells a sweep's folder, before its first job, what the sweep is."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from moe.errors import StoreError
from moe.results.files import RESULTS
from moe.store import write_whole
from moe.sweep import names
from moe.sweep.jobs import hydra_flags
from moe.sweep.record import Sweep

_begun: list[Sweep] = []
_finished: dict[Path, bytes] = {}
HERE = ("basic", "together")  # the launchers whose jobs run in this process; others may hold any GPU


class SweepCallback(Callback):
    """Writes `sweep.json`, whatever Hydra's sweeper and launcher; remembers what a finished run's folder holds."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(str(config.hydra.run.dir))
        _finished.clear()
        if (folder / RESULTS).is_file():
            _finished.update({path: path.read_bytes() for path in (folder / "hydra").glob("*.yaml")})

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        overrides = names.as_typed(config.hydra.overrides.task)
        swept = names.swept(overrides, OmegaConf.select(config, "hydra.sweeper.params"))
        with suppress(OmegaConfBaseException):  # a folder of the user's own may need what only a job has
            OmegaConf.select(config, "hydra.sweep.subdir")  # jobs are named by what is swept, which is known here
        folder = Path(str(config.hydra.sweep.dir))
        here = config.hydra.runtime.choices["hydra/launcher"] in HERE
        timed = here and bool(config.report) and not config.plan
        sweep = Sweep(folder, overrides, swept, flags=hydra_flags(config), timed=timed)
        sweep.write()
        _begun.append(sweep)


def put_back() -> None:
    """Write anew the config of the finished run in whose folder a command is that came to nothing, or only planned.

    Hydra writes the command's own before it is asked whether that run may be lost.
    """
    for path, content in _finished.items():
        with suppress(StoreError):  # why the command came to nothing is to be told, and not this
            write_whole(path, content)


def begun() -> Sweep | None:
    """The sweep that this process began, or None where its command is a single run."""
    return _begun[-1] if _begun else None


def opened(folder: object) -> Sweep:
    """The sweep that this process began in `folder`. Raises StoreError where that cannot be written."""
    sweep = begun()
    if sweep is None:  # Hydra only warns of what its callbacks raise
        raise StoreError(f"hydra.sweep.dir={folder} cannot be written")
    return sweep
