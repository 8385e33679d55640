"""What a config's values may be, and one sentence for each that is wrong. Imports no torch: it must be quick."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from moe.combinations import check_combinations
from moe.errors import ConfigError, nearest
from moe.schema import Gate
from moe.targets import check_targets
from moe.trainer_checks import check_trainer, whole

CHOICES = {
    "target": ("base", "router", "experts", "gates"),
    "data.source": ("cifar10", "folder", "digits"),
    "data.splits.protocol": ("held_out", "notebook"),
    "expert.outputs": ("subset", "all", "rest"),
    "expert.init": ("scratch", "base", "member"),
    "expert.trunk": ("own", "shared"),
    "router.source": ("network", "base"),
    "base.init": ("scratch", "base"),
    "base.match": ("none", "width", "kernels", "members", "epochs", "members_epochs"),
    "base.views": ("none", "flip", "flip_shift"),
    "expert.views": ("none", "flip", "flip_shift"),
    "router.views": ("none", "flip", "flip_shift"),
    "gate.weights": ("joint", "per_class", "per_expert"),
    "gate.fit_on": ("gate", "train", "folds"),
    "gate.frozen": ("stored", "live", "live_dropout"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda"),
    "trainer.precision": ("auto", "32-true", "bf16-mixed"),
    "mixture.routing": ("hard", "soft", "none"),
    "logger.kind": ("wandb", "csv", "none"),
    "logger.mode": ("auto", "online", "offline"),
    "schedule": ("constant", "cosine", "linear"),
    "select": ("best", "last"),
}

Rule = tuple[Callable[[Any], bool], str]
POSITIVE_INT: Rule = (lambda v: whole(v, 1), "a whole number above 0")
# Of what is built one by one: a slip of the finger ends in a sentence, not in an endless wait.
FEW: Rule = (lambda v: whole(v, 1) and v <= 100, "a whole number from 1 to 100")
NATURAL: Rule = (lambda v: whole(v, 0), "a whole number, 0 or above")
POSITIVE: Rule = (lambda v: _number(v) and v > 0, "a number above 0")
FRACTION: Rule = (lambda v: _number(v) and 0 <= v < 1, "a number from 0 to below 1")
WIDTHS: Rule = (
    lambda v: isinstance(v, list) and all(isinstance(b, list) and b and all(POSITIVE_INT[0](w) for w in b) for b in v),
    "a list of blocks, each a list of whole numbers above 0",
)
SWITCH: Rule = (lambda v: isinstance(v, bool), "true or false")
NUMBERS: Rule = (
    lambda v: isinstance(v, list) and all(_number(number) and abs(number) <= 1e6 for number in v),
    "a list of numbers, of a million at most",
)
WORDS: Rule = (lambda v: isinstance(v, list) and all(isinstance(word, str) for word in v), "a list of names")
FOLDER: Rule = (lambda v: isinstance(v, str) and v != "", "a folder's path")


def _or_auto(rule: Rule) -> Rule:
    return lambda v: v == "auto" or rule[0](v), f"{rule[1]}, or auto"


# Arguments of networks and gates that have a rule, and of which networks; a user's own may take them as it likes.
OURS = re.compile(r"moe\.nets\.(vgg|fast_vgg|cond_vgg|gates)\.")
OF_NETWORKS = (
    *("width", "depth", "dropout", "blocks", "hidden", "conv_dropout"),
    *("widths", "convs", "whitening", "dirac", "scale", "kernels"),
)
GATE = {field.name for field in fields(Gate)} - {"net"}  # what stands beside a gate's own arguments
OPTIONAL = ("averaging", "clip", "patience", "decay", "early_epochs", "widths", "convs", "cascade", "root", "classes")
# By a key's last part, wherever it stands but in a taxonomy, whose names are the user's.
RULES: dict[str, Rule] = {
    "seed": (lambda v: whole(v, 0) and v < 2**32, "a whole number from 0 to 4294967295"),
    "gate": NATURAL,
    "val": NATURAL,
    "shift": _or_auto(NATURAL),
    "cutout": _or_auto(NATURAL),
    "epochs": _or_auto(POSITIVE_INT),
    "batch_size": POSITIVE_INT,
    "patience": POSITIVE_INT,
    "root": FOLDER,
    "store": FOLDER,
    "data": FOLDER,
    "classes": WORDS,
    "tags": WORDS,
    "mean": NUMBERS,
    "std": NUMBERS,
    "width": POSITIVE_INT,
    "blocks": WIDTHS,
    "depth": FEW,
    "members": FEW,
    "hidden": POSITIVE_INT,
    "log_every_n_steps": POSITIVE_INT,
    "lr": POSITIVE,
    "checkpoint_seconds": (lambda v: _number(v) and v >= 0, "a number of seconds, 0 or above"),
    "clip": POSITIVE,
    "flip": (lambda v: isinstance(v, bool) or v == "alternating", "true, false or alternating"),
    "whitening": SWITCH,
    "dirac": SWITCH,
    "decay": FRACTION,
    "rest": (lambda v: _number(v) and 0 < v <= 100, "a number above 0, up to 100"),
    "folds": (lambda v: whole(v, 2) and v <= 100, "a whole number from 2 to 100"),
    "cascade": (lambda v: _number(v) and 0 < v <= 1, "a number above 0, up to 1"),
    "bias_lr": POSITIVE,
    "early_epochs": NATURAL,
    "bf16": _or_auto(SWITCH),
    "widths": (
        lambda v: isinstance(v, list) and bool(v) and all(POSITIVE_INT[0](w) for w in v),
        "a list of whole numbers above 0",
    ),
    "convs": POSITIVE_INT,
    "kernels": FEW,
    "scale": POSITIVE,
    "every": POSITIVE_INT,
    "step": (lambda v: _number(v) and 0 < v <= 1, "a number above 0, up to 1"),
    "warmup": FRACTION,
    "averaging": FRACTION,
    "dropout": FRACTION,
    "conv_dropout": FRACTION,
    "label_smoothing": FRACTION,
    "weight_decay": (lambda v: _number(v) and v >= 0, "a number, 0 or above"),
    "momentum": FRACTION,
}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the key and what would be right, for the first value that cannot be."""
    _check_names({name: section for name, section in values.items() if name != "taxonomy"})
    for key, value in scalars(values):
        if isinstance(value, str) and not _is_text(value):
            raise ConfigError(f"{key} must be text that a file can hold, not {value!r}")
        if key.startswith("taxonomy."):
            continue
        last, choices = key.rpartition(".")[2], _choices(key)
        if choices and value not in choices:
            raise ConfigError(_no_choice(key, value, choices))
        test, meaning = _rule(key, values)
        if meaning and not (value is None and last in OPTIONAL) and not test(value):
            raise ConfigError(_refusal(key, value, meaning))
    check_targets(values)
    check_trainer(values["trainer"])
    check_combinations(values)


def of_another_type(key: str, values: Mapping[str, Any], switch: bool) -> str | None:
    """What is said of a value that the config's types do not take; None where no rule says what would be right.

    What is a `switch` is true or false.
    """
    meaning = SWITCH[1] if switch else _rule(key, values)[1]
    given, choices = dict(scalars(values)), _choices(key)
    if choices and key in given:
        return _no_choice(key, given[key], choices)
    return _refusal(key, given[key], meaning) if meaning and key in given else None


def _rule(key: str, values: Mapping[str, Any]) -> Rule:
    last, net = key.rpartition(".")[2], _network_of(key, values)
    ruled = net is None or (last in OF_NETWORKS and OURS.match(str(net.get("_target_"))) is not None)
    return RULES.get(last if ruled else "", (lambda _: True, ""))


def _choices(key: str) -> Sequence[str] | None:
    return CHOICES.get(key) or (CHOICES.get(key.rpartition(".")[2]) if ".recipe." in key else None)


def _no_choice(key: str, value: Any, choices: Sequence[str]) -> str:
    return f"{key} must be one of {', '.join(choices)}, not {_written(value)}{nearest(str(value), choices)}"


def _refusal(key: str, value: Any, meaning: str) -> str:
    null = ", or null," if key.rpartition(".")[2] in OPTIONAL else ","
    return f"{key} must be {meaning}{null} not {_written(value)}"


def _written(value: Any) -> str:
    return "null" if value is None else repr(value)


def _network_of(key: str, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The network or gate of which a key is an argument; None where it is of none."""
    section, *rest = key.split(".")
    if section == "gate":
        return values[section] if len(rest) == 1 and rest[0] not in GATE else None
    return values[section]["net"] if len(rest) > 1 and rest[0] == "net" else None


def check_whole(key: str, value: Any, rule: Rule = POSITIVE_INT) -> None:
    """Raise ConfigError where the value of a key that is not in the config is no whole number above 0, or of `rule`."""
    test, meaning = rule
    if not test(value):
        raise ConfigError(f"{key} must be {meaning}, not {value!r}")


def _check_names(values: Any, key: str = "") -> None:
    """YAML's mappings have numbers for names too, which neither a file of JSON nor an argument of a network has."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            if not isinstance(name, str):
                raise ConfigError(f"{key} has the key {name!r}, which must be text")
            _check_names(value, f"{key}.{name}" if key else name)
    elif isinstance(values, list):
        for value in values:
            _check_names(value, key)


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def scalars(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) of nested mappings, lists taken whole."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from scalars(value, f"{key}.{name}" if key else str(name))
    elif key:
        yield key, values
