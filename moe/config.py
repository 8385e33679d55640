"""The typed config: what `conf/` composes becomes plain dataclasses here, checked before any data is read.

Nothing in this file imports torch, so that a wrong config fails at once.
"""

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from moe import checks
from moe.errors import ConfigError, DataError, UserError
from moe.overrides import config_error

PACKAGE = Path(__file__).parent
# An installed package carries conf/ inside itself; a checkout has it beside the package.
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())

AS_BASE = {"_target_": "base.net"}  # conf/net/base.yaml: the network that the base has, whatever that is

Plain = dict[str, Any]


@dataclass
class Splits:
    """How many training images to hold out, and how; see `moe.data.splits`."""

    gate: int = MISSING
    val: int = MISSING
    seed: int = MISSING
    protocol: str = MISSING


@dataclass
class Data:
    """A data set: where its images come from, its classes, how its pixels are scaled."""

    name: str = MISSING
    source: str = MISSING
    root: str | None = None
    download: bool = MISSING
    classes: list[str] | None = None
    fingerprint: str | None = None
    mean: list[float] = MISSING
    std: list[float] = MISSING
    splits: Splits = field(default_factory=Splits)


@dataclass
class Augment:
    """What is done to training images, each on its own; see `moe.data.augment`."""

    flip: Any = MISSING
    shift: int = MISSING
    cutout: int = MISSING


@dataclass
class Lookahead:
    """Slow weights beside the fast ones; see `moe.modules.lookahead`."""

    every: int = MISSING
    step: float = MISSING


@dataclass
class Muon:
    """How convolutions' kernels learn by Muon, beside the recipe's optimiser; see `moe.modules.muon`."""

    lr: float = MISSING
    momentum: float = MISSING


@dataclass
class Recipe:
    """How a network learns; `conf/recipe/adam.yaml` says what each key means."""

    optimizer: Plain = MISSING
    schedule: str = MISSING
    warmup: float = MISSING
    label_smoothing: float = MISSING
    augment: Augment = field(default_factory=Augment)
    epochs: Any = MISSING
    batch_size: int = MISSING
    clip: float | None = None
    decay: float | None = None
    bias_lr: float = 1.0
    early_epochs: int | None = None
    averaging: float | None = None
    lookahead: Lookahead | None = None
    muon: Muon | None = None
    patience: int | None = None
    select: str = MISSING


@dataclass
class Network:
    """A network's architecture (`_target_` and its arguments) and the recipe it learns by."""

    net: Plain = MISSING
    recipe: Recipe = field(default_factory=Recipe)


@dataclass
class Classifier(Network):
    """A network of images; `views` says of how many views of an image it is asked once trained."""

    views: str = "none"


@dataclass
class Base(Classifier):
    """The base; with `target=base` it may be several members, and as dear as the mixture."""

    members: int = 1
    cascade: float | None = None
    match: str = "none"


@dataclass
class Expert(Classifier):
    """The specialists: over which classes they speak, how they start, what of the base they share."""

    outputs: str = MISSING
    rest: float = 0.5
    init: str = "scratch"
    trunk: str = "own"


@dataclass
class Router(Classifier):
    """The routers; `source` says whether they are networks or what the base says of the branches' classes."""

    source: str = "network"


@dataclass
class Gate(Network):
    """The gates; on the command line `net`'s keys stand beside the others (gate.width)."""

    weights: str = MISSING
    fit_on: str = MISSING
    frozen: str = MISSING
    folds: int = 5
    calibrate: bool = False


@dataclass
class Mixture:
    """How the leaves are combined: routing hard, soft or none."""

    routing: str = MISSING
    cascade: float | None = None


@dataclass
class Logger:
    """Where curves go; `kind` is wandb, csv or none."""

    kind: str = MISSING
    project: str = MISSING
    entity: str | None = None
    mode: str = MISSING
    tags: list[str] = MISSING


@dataclass
class Paths:
    """The store of trained networks, and downloads and caches."""

    store: str = MISSING
    data: str = MISSING


@dataclass
class Taxonomy:
    """The tree of label subsets; see `moe.taxonomy.parse`."""

    name: str = MISSING
    branches: Any = MISSING


@dataclass
class Config:
    """A whole run's config as plain values; see `conf/config.yaml` for what each key means."""

    experiment: str = MISSING
    rival: str | None = None
    target: str = MISSING
    seed: int = MISSING
    plan: bool = MISSING
    report: bool = MISSING
    checkpoint_seconds: float = 20.0
    data: Data = field(default_factory=Data)
    taxonomy: Taxonomy = field(default_factory=Taxonomy)
    base: Base = field(default_factory=Base)
    expert: Expert = field(default_factory=Expert)
    router: Router = field(default_factory=Router)
    gate: Gate = field(default_factory=Gate)
    mixture: Mixture = field(default_factory=Mixture)
    trainer: Plain = MISSING
    logger: Logger = field(default_factory=Logger)
    paths: Paths = field(default_factory=Paths)

    @property
    def views(self) -> dict[str, str]:
        """The test-time views of each kind of stage; see `moe.nets.views`."""
        return {"base": self.base.views, "expert": self.expert.views, "router": self.router.views}

    def plain(self) -> Plain:
        """The config as nested dicts, lists and scalars, shaped as on the command line; see `from_plain`."""
        values = asdict(self)
        values["gate"] = {**values["gate"].pop("net"), **values["gate"]}
        return values


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Turn what Hydra and OmegaConf say of a wrong override into a ConfigError of one sentence."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error) from None
    except ValueError as error:
        if "Unable to configure handler" in str(error):
            why = error.__cause__ or error
            raise DataError(f"hydra.run.dir: its log cannot be written: {why}") from None
        if isinstance(error, UserError) or not _is_hydras(error):
            raise
        raise config_error(error) from None
    except (AttributeError, KeyError, RecursionError, RuntimeError, TypeError) as error:
        if not _is_hydras(error):
            raise
        raise config_error(error) from None


def _is_hydras(error: BaseException) -> bool:
    """Whether an error was raised in Hydra's or OmegaConf's own code, where only what was overridden can be wrong."""
    frames = traceback.walk_tb(error.__traceback__)
    *_, name = ("", *(str(frame.f_globals.get("__name__")) for frame, _ in frames))
    return name.partition(".")[0] in ("hydra", "omegaconf")


def compose(*overrides: str) -> Config:
    """The config of `python -m moe.train OVERRIDES...`, for notebooks and tests.

    Raises ConfigError where an override names no key or a value is wrong.
    """
    with hydra_errors(), initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra_compose("config", list(overrides))
    return parse(composed)


def parse(composed: DictConfig) -> Config:
    """The typed config of what Hydra composed, with every check done that needs no data.

    Raises ConfigError, naming the key and what would be right.
    """
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        values: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise config_error(error) from None
    base = values.get("base")
    for section in (values.get("expert"), values.get("router")):
        if isinstance(base, dict) and "net" in base and isinstance(section, dict) and section.get("net") == AS_BASE:
            section["net"] = copy.deepcopy(base["net"])
    return from_plain(values)


def from_plain(values: Plain) -> Config:
    """The typed config from nested plain values (`Config.plain`, or `config` of a `results.json`).

    Raises ConfigError, naming the key and what would be right.
    """
    for name in ("taxonomy", "gate"):
        if not isinstance(values.get(name), dict):
            raise ConfigError(f"{name} must hold that section's keys, as in conf/{name}, not {values.get(name)!r}")
    values = {**values, "taxonomy": {k: v for k, v in values["taxonomy"].items() if k != "tree"}}
    # The gate's own arguments (gate.width, gate.depth ...) stand beside the keys that every gate has.
    shared = set(Gate.__dataclass_fields__) - {"net"}
    gate = values["gate"]
    values["gate"] = {key: value for key, value in gate.items() if key in shared}
    values["gate"]["net"] = {key: value for key, value in gate.items() if key not in shared}
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), values))
    except OmegaConfBaseException as error:
        raise config_error(error) from None
    assert isinstance(config, Config)
    checks.check(config.plain())
    return config
