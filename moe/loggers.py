"""One W&B run (or one CSV folder) a stage; all of a command, or of a whole sweep, in one group and one folder."""

import json
import logging
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from moe import schema
from moe.checks import scalars
from moe.schema import Plain
from moe.stages import Stage
from moe.sweep import names
from moe.sweep.callback import begun
from moe.sweep.record import Sweep, sweep_of, within
from moe.wandb_session import AgentRun, offline_lines, wandb_mode

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.5  # what kill -9 may cost; W&B's own 15 would lose a whole short stage
START_SECONDS = 10  # for a run's first words with a server that answered before
FINISH_SECONDS = 120  # for a run's last uploads; without it a network that went away holds the command for days
LONGEST_NAME, LONGEST_VALUE = 120, 20
LETTERS = {"width": "w", "depth": "d"}
# The sections of the config that one kind of network alone reads; the gates depend on all of them.
SECTIONS = {"base": "base", "expert": "expert", "router": "router", "gate": "gates", "mixture": "gates"}


class StageLogger(WandbLogger):
    """Lightning's logger of a W&B run, whose trouble ends no training."""

    def __init__(self, run: Any) -> None:
        super().__init__(experiment=run)
        self.broken = False

    def log_hyperparams(self, params: Any) -> None:
        """Nothing: the run has the whole config, parts of which a module's own arguments would replace."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.broken:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:  # its process was killed, say
            self.broken = True
            log.warning("W&B logs no more of this stage (%s); training goes on", _line(error))


class StageLoggers:
    """Opens a stage's logger and closes it as finished or failed.

    `folder` is the run's, `config` its whole config, `last` the name of the stage whose W&B run has the summary.
    Whether W&B can be online is found out here, once, before anything is trained.
    """

    def __init__(self, settings: schema.Logger, folder: Path, config: Plain, last: str) -> None:
        self.settings, self.folder, self.config, self.last = settings, folder, config, last
        self.runs: dict[str, Any] = {}
        self.sweep = sweep_of(folder)
        self.swept = dict(swept_values(self.sweep, folder, config)) if self.sweep is not None else {}
        if settings.kind == "wandb" and find_spec("wandb") is None:
            log.warning("W&B is not installed (pip install wandb); this run goes on without it")
            self.settings = replace(settings, kind="none")
        elif settings.kind == "wandb":
            self.agent = AgentRun()
            try:
                self.agent = AgentRun.take()
                self.settings = replace(settings, mode=wandb_mode(settings.mode))
            except Exception as error:
                self._fall_back(error)

    @property
    def place(self) -> Path:
        """Where W&B's folder `wandb` lies: in the sweep's, for all its jobs, or in a single run's."""
        return self.sweep.folder if self.sweep is not None else self.folder

    def open(self, stage: Stage) -> Logger | None:
        """The Lightning logger of a stage, or None where `logger.kind` is none or W&B cannot start."""
        if self.settings.kind == "csv":
            return CSVLogger(self.folder, name="metrics", version=stage.name)
        run = self.wandb_run(stage)
        return StageLogger(run) if run is not None else None

    def wandb_run(self, stage: Stage, curves: Sequence[Mapping[str, float]] = ()) -> Any:
        """The W&B run of a stage, started where it is not running yet; None where W&B cannot start.

        Of a stage that was in the store, and so has logged nothing, `curves` are what it logged when it was trained.
        """
        if self.settings.kind != "wandb":
            return None
        if stage.name not in self.runs:
            self.runs[stage.name] = run = self._start(stage)
            for epoch in curves if run is not None else ():
                # The names that a training logs: not its seconds, nor `lr`, which curves from before `lr/` have.
                run.log({name: value for name, value in epoch.items() if name == "epoch" or "/" in name})
        return self.runs[stage.name]

    def _start(self, stage: Stage) -> Any:
        try:
            return self._init(stage)
        except Exception as error:  # whatever W&B's trouble is, training goes on without it
            self._fall_back(error)
        try:
            return self._init(stage)
        except Exception as error:
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        log.warning("W&B cannot log offline either (%s); this run goes on without it", _line(error))
        self.settings = replace(self.settings, kind="none")

    def _fall_back(self, error: Exception) -> None:
        log.warning("W&B cannot start (%s); this run is logged offline", _line(error))
        self.settings = replace(self.settings, mode="offline")

    def _init(self, stage: Stage) -> Any:
        import wandb

        mode: Any = self.settings.mode
        agent = self.agent if stage.name == self.last else AgentRun()
        # The mode is given here and not through WandbLogger(offline=True), which leaves WANDB_MODE set.
        return wandb.init(
            **self.agent.place(self.settings.project, self.settings.entity),
            group=self.sweep.name if self.sweep is not None else "/".join(self.folder.parts[-2:]),
            job_type=stage.kind,
            name=run_name(stage.name, stage.kind, self.config, None if self.sweep is None else self.swept),
            tags=list(dict.fromkeys(self._tags())),
            config={
                **self.config,
                **top_level(stage.kind, self.config, self.swept),
                **agent.parameters,
                "stage": stage.name,
                "key": stage.key,
            },
            dir=str(self.place),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=START_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                **agent.settings,
            ),
        )

    def _tags(self) -> Iterator[str]:
        yield self.config["experiment"]
        yield self.config["data"]["splits"]["protocol"]
        if self.sweep is not None:
            yield "sweep"
        yield from self.settings.tags

    def close(self, done: Collection[str] | None = None) -> None:
        """Finish every open W&B run and say where the curves are.

        Of a command that ends early all are marked failed but those of the stages in `done`.
        """
        runs = {stage: run for stage, run in self.runs.items() if run is not None}
        self.runs.clear()
        for stage, run in runs.items():
            if not run.offline and run.url:  # with WANDB_MODE=disabled it has none
                log.info("W&B         %s", run.url)
            try:
                run.finish(exit_code=0 if done is None or stage in done else 1)
            except Exception as error:  # what was trained is safe, and so is the run's file
                log.warning("W&B could not finish %s (%s)", run.name, _line(error))
                log.warning("            to upload the rest: wandb sync %s", shlex.quote(str(Path(run.dir).parent)))
        if any(run.offline for run in runs.values()) and begun() is None:  # a sweep says it at its end
            for line in offline_lines(self.place):
                log.info(line)


def swept_values(sweep: Sweep, folder: Path, config: Plain) -> Iterator[tuple[str, Any]]:
    """What a job of a sweep has for each key that is swept: the config's value, or the option of a group."""
    known, said = dict(scalars(config)), folder / "hydra" / "overrides.yaml"
    overrides: Any = sweep.jobs.get(within(sweep.folder, folder)) or (OmegaConf.load(said) if said.is_file() else [])
    given = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    for key in sweep.swept:
        if key.lstrip("+") in known or key in given:
            yield key, known.get(key.lstrip("+"), given.get(key))


def gate_kind(config: Plain) -> str:
    """The kind of gate, as on the command line: `mlp` of `moe.nets.gates.MLPGate`."""
    return str(config["gate"]["_target_"]).rpartition(".")[2].removesuffix("Gate").lower()


def run_name(stage: str, kind: str, config: Plain, swept: Mapping[str, Any] | None) -> str:
    """A run's name in W&B, by what is different: `gates-confidence-w128-s0`.

    `swept` are a sweep's job's values, None outside of sweeps. Of a network other than the gates only those are
    named that it depends on.
    """
    parts = [config["experiment"]] if swept is None and config["experiment"] != stage else []
    parts += [stage, *([gate_kind(config)] if kind == "gates" else [])]
    for key, value in (swept or {}).items():
        section = key.lstrip("+").rpartition("@")[2].partition(".")[0]
        mine = kind == "gates" or SECTIONS.get(section, kind) == kind
        if mine and key not in ("seed", "gate._target_") and not (key == "gate" and value == gate_kind(config)):
            parts.append(_said(names.short(key), value))
    return "-".join([*parts, f"s{config['seed']}"])[:LONGEST_NAME]


def _said(name: str, value: Any) -> str:
    """A swept value in a run's name: `w128`, `per_class`, `dropout0.5`."""
    text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
    text = re.sub(r"[^A-Za-z0-9._-]+", "", text.rpartition(".")[2] if name == "_target_" else text)[:LONGEST_VALUE]
    return text if isinstance(value, str) else f"{LETTERS.get(name, name)}{text}"


def top_level(kind: str, config: Plain, swept: Mapping[str, Any]) -> Plain:
    """What W&B's table and plots find without searching: each swept value by its own name, the kind of gate."""
    found: Plain = {"gate_kind": gate_kind(config)} if kind == "gates" else {}
    for key, name in top_level_names(config, swept).items():
        value = swept[key]
        found[name] = value if isinstance(value, int | float | str) else json.dumps(value)
    return found


def top_level_names(config: Plain, swept: Collection[str]) -> dict[str, str]:
    """What each swept key is called at the top level of a W&B run's config: its last part.

    Where that part alone is taken, the whole key, with `_` for its dots: W&B takes a dot for nesting. A key of which
    the config has a section has no name.
    """
    shorts = [names.short(key) for key in swept]
    found = {}
    for key, short in zip(swept, shorts, strict=True):
        taken = shorts.count(short) > 1 or short in config or short in ("stage", "key", "gate_kind", "_target_")
        name = key.lstrip("+").translate(str.maketrans(".@", "__")) if taken else short
        if name not in config:
            found[key] = name
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
