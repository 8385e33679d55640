"""One W&B run (or one CSV folder) a stage, all of a command in one group."""

import logging
import netrc
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from moe import config as configs
from moe.config import Plain
from moe.stages import Stage

log = logging.getLogger(__name__)
WANDB_HOST = "api.wandb.ai"


class StageLoggers:
    """Opens a stage's logger and closes it as finished or failed. `group` names the command's runs in W&B."""

    def __init__(self, settings: configs.Logger, group: str, folder: Path, config: Plain) -> None:
        self.settings, self.group, self.folder, self.config = settings, group, folder, config
        self.runs: dict[str, Any] = {}

    def open(self, stage: Stage) -> Logger | None:
        """The Lightning logger of a stage, or None where `logger.kind` is none or W&B cannot start."""
        if self.settings.kind == "csv":
            return CSVLogger(self.folder, name="metrics", version=stage.name)
        run = self.wandb_run(stage) if self.settings.kind == "wandb" else None
        return WandbLogger(experiment=run) if run is not None else None

    def wandb_run(self, stage: Stage) -> Any:
        """The W&B run of a stage, started where it is not running yet; None where W&B cannot start."""
        if self.settings.kind != "wandb":
            return None
        if stage.name not in self.runs:
            self.runs[stage.name] = self._start(stage)
        return self.runs[stage.name]

    def _start(self, stage: Stage) -> Any:
        try:
            return self._init(stage, wandb_mode(self.settings.mode))
        except Exception as error:  # whatever W&B's trouble is, training goes on without it
            log.warning("W&B cannot start (%s); this run is logged offline", " ".join(str(error).split())[:200])
        try:
            self.settings = replace(self.settings, mode="offline")
            return self._init(stage, "offline")
        except Exception as error:
            log.warning("W&B cannot log offline either (%s)", " ".join(str(error).split())[:200])
            return None

    def _init(self, stage: Stage, mode: Any) -> Any:
        import wandb

        # The mode is given here and not through WandbLogger(offline=True), which leaves WANDB_MODE set.
        return wandb.init(
            project=self.settings.project,
            entity=self.settings.entity,
            group=self.group,
            job_type=stage.kind,
            name=f"{self.config['experiment']}-{stage.name}-s{self.config['seed']}",
            tags=[self.config["experiment"], self.config["data"]["splits"]["protocol"], *self.settings.tags],
            config={**self.config, "stage": stage.name, "key": stage.key},
            dir=str(self.folder),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", init_timeout=20),
        )

    def close(self, failed: bool = False) -> None:
        """Finish every open W&B run, marked failed where so."""
        offline = False
        for run in filter(None, self.runs.values()):
            offline = offline or run.offline
            if not run.offline:
                log.info("W&B         %s", run.url)
            run.finish(exit_code=1 if failed else 0)
        if offline:
            log.info("W&B         offline; to see the curves: wandb leet %s/wandb", self.folder)
            log.info("            to upload them: wandb sync %s/wandb/offline-run-*", self.folder)
        self.runs.clear()


def wandb_mode(mode: str) -> Any:
    """W&B's mode: what `logger.mode` says; `auto` obeys WANDB_MODE, then is online where a key is set."""
    if mode != "auto":
        return mode
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"]
    return "online" if os.environ.get("WANDB_API_KEY") or _key_in_netrc() else "offline"


def _key_in_netrc() -> bool:
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
