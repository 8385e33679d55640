"""A run's config as plain dataclasses: what `conf/` composes is turned into these by `moe.config`.

`conf/` has the defaults. A value here is of a key that came later: results files of before do not have it, and this is
what their runs did.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING

Plain = dict[str, Any]
# The networks that have sizes, and a bias that learns in early epochs alone; the second mixes the kernels of the first.
FAST, CONDITIONAL = SIZED = ("moe.nets.fast_vgg.FastVGG", "moe.nets.cond_vgg.CondVGG")


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
    shift: Any = MISSING
    cutout: Any = MISSING


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
    bf16: Any = False


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
    even_batches: bool | None = None
    compile: bool | None = None
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
    """The base; with `target=base` it may be several members, and cost what the mixture does."""

    members: int = 1
    init: str = "scratch"
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
        """The config as nested dicts, lists and scalars, shaped as on the command line; see `moe.config.from_plain`."""
        values = asdict(self)
        values["gate"] = {**values["gate"].pop("net"), **values["gate"]}
        return values
