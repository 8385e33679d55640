"""The stages of `experiment=held_out`, where every network is trained and none from another, and of changes of it."""

import copy
import functools
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from moe.config import compose
from moe.schema import Config
from moe.stages import Stage, plan
from moe.taxonomy import parse

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NESTED = {"machines": {"air": [0], "road": [1, 9], "sea": [8]}, "animals": {"pets": [3, 5], "wild": [2, 4, 6, 7]}}
NETWORKS = ("base", "expert", "router", "gate")
# The stages that a change of each network's own config reaches.
REACHES = {
    "base": {"base", "gates"},
    "expert": {"artificial", "natural", "gates"},
    "router": {"router", "gates"},
    "gate": {"gates"},
}
ALL = {"base", "artificial", "natural", "router", "gates"}


@functools.cache
def default() -> Config:
    return compose("experiment=held_out")  # every network is trained, none from another


def changed(**values: Any) -> Config:
    """That config with some of its values, by their dotted keys, set."""
    config = copy.deepcopy(default())
    for key, value in values.items():
        parts = key.split(".")
        if parts[0] == "gate" and len(parts) == 2 and not hasattr(config.gate, parts[1]):
            parts.insert(1, "net")  # the gate's own arguments stand beside its other keys
        inner: Any = config
        for part in parts[:-1]:
            inner = getattr(inner, part) if is_dataclass(inner) else inner[part]
        if is_dataclass(inner):
            assert hasattr(inner, parts[-1])
            setattr(inner, parts[-1], value)
        else:
            inner[parts[-1]] = value
    return config


def stages(
    config: Config,
    fingerprint: str = "f",
    in_shape: tuple[int, ...] = (3, 32, 32),
    precision: str = "32-true",
    images: Callable[[Stage], int] = lambda stage: 0,
) -> dict[str, Stage]:
    tree = parse(config.taxonomy.branches, CLASSES)
    return {stage.name: stage for stage in plan(config, tree, fingerprint, in_shape, precision, images)}


def keys(config: Config, **data: Any) -> dict[str, str]:
    return {name: stage.key for name, stage in stages(config, **data).items()}


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    assert set(one) == set(other)
    return {name for name in one if one[name] != other[name]}
