"""Runs made up of a few numbers."""

from pathlib import Path
from typing import Any

import torch

from moe.comparison import Run
from moe.results.bits import pack

MIXTURES = ("hard", "cascaded", "soft", "flat", "trunk", "member")
REGRET = {"alone": 0.0, "router": 0.1, "experts": 0.05, "outvoted": 0.05}


def run(rival: str | None, seed: int, correct: int, **given: Any) -> Run:
    """A run that is right on the first `correct` of ten images."""
    whole: dict[str, Any] = {
        "path": Path(f"{rival}-{seed}"),
        "experiment": "verdict",
        "seed": seed,
        "data": "digits",
        "fingerprint": "f00d",
        "protocol": "held_out",
        "val": 0.5,
        "test": correct / 10,
        "router": None,
        "branches": {},
        "verdict": {},
        "baselines": {"base": 0.4, "uniform": 0.5},
        "parameters": 1000,
        "gate_parameters": 100,
        "routed": 2e6,
        "dense": 3e6,
        "seconds": 3.0,
        "config": {"rival": rival, "target": "gates" if rival in MIXTURES else "base", **given.pop("config", {})},
        "training_flops": 4e12,
        "right": {"test": bits(correct), "base": bits(4), "uniform": bits(5)},
        "images": 10,
    }
    return Run(**{**whole, **given})


def bits(right: int) -> str:
    return pack(torch.arange(10) < right)
