"""Runs made up of the few numbers that a comparison is about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moe.comparison import Run

Make = Callable[..., Run]


@pytest.fixture
def make() -> Make:
    """Makes a run of gates of seed `seed` whose config holds what else is given, dotted keys with `__` for the dot."""

    def run(seed: int = 0, val: float | None = 0.5, name: str = "run", **given: Any) -> Run:
        fields = {key: given.pop(key) for key in list(given) if key in Run.__dataclass_fields__}
        config = {"target": "gates", **{key.replace("__", "."): value for key, value in given.items()}}
        whole: dict[str, Any] = {
            "path": Path(f"{name}-{seed}"),
            "experiment": "demo",
            "seed": seed,
            "data": "digits",
            "fingerprint": "f00d",
            "protocol": "held_out",
            "val": val,
            "test": 0.5,
            "router": 0.9,
            "branches": {"curved": 0.4, "straight": 0.6},
            "verdict": {"uniform": {"difference": 0.01, "ci95": [-0.01, 0.03], "mcnemar_p": 0.5}},
            "baselines": {"uniform": 0.49, "base": 0.48},
            "parameters": 1000,
            "gate_parameters": 100,
            "routed": 1e6,
            "dense": 2e6,
            "seconds": 3.0,
            "config": config,
        }
        return Run(**{**whole, **fields})

    return run
