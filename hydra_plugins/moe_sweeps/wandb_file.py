"""`sweep=wandb`: a file for `wandb sweep`, whose agents run `python -m moe.train` with what W&B chooses.

Hydra imports this at every start, so that anything slow is imported late.
"""

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

FILE = "wandb_sweep.yaml"
METHODS = ("grid", "random", "bayes")
# As W&B's schema of sweep files has it: dots stay, `net@base.net` and `+key` cannot be.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# W&B's agent gives each run an id before it starts it; runs in the sweep's folder are found to be its jobs.
RUN = "${oc.env:WANDB_RUN_ID}"


class WandbSweeper(Sweeper):
    """Writes `wandb_sweep.yaml` and trains nothing.

    `method` is W&B's, `metric` what it maximises, `params` the values of a preset as on the command line, which wins.
    """

    def __init__(self, method: str, metric: str, params: dict[str, str] | None = None) -> None:
        self.method, self.metric, self.params = method, metric, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader, self.composed = hydra_context.config_loader, config

    def sweep(self, arguments: list[str]) -> None:
        """Write the file and print the two lines to type. Raises ConfigError for what W&B or a run would refuse."""
        import yaml

        from moe.errors import ConfigError
        from moe.sweep.callback import opened
        from moe.sweep.names import check_choices, preset

        parser = OverridesParser.create(config_loader=self.loader)
        given = preset(self.params)
        # By key, so that the command line wins over the preset.
        overrides = {o.get_key_element(): o for o in parser.parse_overrides([*given, *arguments])}
        check_choices(list(overrides.values()))
        searched = {key: override for key, override in overrides.items() if override.is_sweep_override()}
        fixed = [str(o.input_line) for key, o in overrides.items() if key not in searched]
        parameters = {key: parameter(key, override, self.method) for key, override in searched.items()}
        config = self._checked([*fixed, *(f"{key}={_first(override)}" for key, override in searched.items())])
        if not searched:
            raise ConfigError("sweep=wandb has nothing to search; give values to sweep, like gate.width=32,64")
        # Each run is one of the sweep's, not a sweep.
        alone = [text for text in fixed if not text.startswith("sweep=")]

        sweep = opened(self.composed.hydra.sweep.dir)
        replace(sweep, swept=list(searched)).write()
        said = {
            "name": sweep.name,
            "project": config.logger.project,
            **({"entity": config.logger.entity} if config.logger.entity else {}),
            "program": "moe.train",
            "command": self._command(sweep.folder, alone),
            "method": self.method,
            "metric": {"name": self.metric, "goal": "maximize"},
            "parameters": parameters,
        }
        from moe.store import write_whole

        path = sweep.folder / FILE
        write_whole(path, yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=120).encode())
        print("nothing is trained yet; this begins the sweep, and on each machine works for it:")
        print(f"  wandb sweep {shlex.quote(str(path))}")
        entity = config.logger.entity or os.environ.get("WANDB_ENTITY") or "ENTITY"
        print(f"  wandb agent {entity}/{config.logger.project}/ID   # which the first line says")

    def _command(self, folder: Path, fixed: list[str]) -> list[str]:
        """What W&B's agent runs: `${env}` and `${args_no_hyphens}` (KEY=VALUE each) are its own words."""
        from moe.sweep.jobs import Command, hydra_flags

        alone = Command(fixed, folder / RUN, hydra_flags(self.composed)).arguments()
        return ["${env}", "python", "-m", "moe.train", *alone, "${args_no_hyphens}"]

    def _checked(self, overrides: list[str]) -> Any:
        """The config of the sweep's first run. Raises ConfigError where it would end before it trained."""
        from moe.config import parse
        from moe.errors import ConfigError, nearest

        if self.method not in METHODS:
            hint = nearest(self.method, METHODS)
            raise ConfigError(f"hydra.sweeper.method must be one of {', '.join(METHODS)}, not {self.method!r}{hint}")
        config = parse(self.loader.load_sweep_config(self.composed, overrides))
        if config.target not in ("gates", "base"):
            raise ConfigError(f"target={config.target} has no accuracy on val to search by; set target=gates or base")
        if config.logger.kind != "wandb" or config.logger.mode == "offline":
            raise ConfigError("sweep=wandb needs runs that W&B sees; set logger=wandb and logger.mode=auto or online")
        return config


def parameter(key: str, override: Override, method: str) -> dict[str, Any]:
    """A swept override as W&B's parameter: `values`, or `min` and `max`. Raises ConfigError where it has no such."""
    from moe.errors import ConfigError

    if NAME.fullmatch(key) is None:
        raise ConfigError(f"W&B takes no parameter named {key}; sweep it with -m, without sweep=wandb")
    interval = override.value()
    if not isinstance(interval, IntervalSweep):
        return {"values": [_plain(text) for text in override.sweep_string_iterator()]}
    if method == "grid":
        raise ConfigError(f"{override.input_line} has no grid; give its values, or set hydra.sweeper.method=bayes")
    whole = isinstance(interval.start, int) and isinstance(interval.end, int)
    bounds = {"min": interval.start, "max": interval.end}
    if "log" not in interval.tags:
        return {"distribution": "int_uniform" if whole else "uniform", **bounds}
    if whole:
        return {"distribution": "q_log_uniform_values", **bounds, "q": 1}
    return {"distribution": "log_uniform_values", **bounds}


def _plain(text: str) -> Any:
    """A number or a truth value as itself, for W&B's plots; all else as Hydra's grammar writes it, quotes included."""
    value = OverridesParser.create().parse_override(f"value={text}").value()
    return value if isinstance(value, bool | int | float) else text


def _first(override: Override) -> str:
    value = override.value()
    return str(value.start) if isinstance(value, IntervalSweep) else next(override.sweep_string_iterator())
