"""A run's results with round numbers, copies of them, and the command that compares them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from moe import compare


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        compare.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def rounded(run: Path) -> dict[str, Any]:
    """The results of a run with round numbers, by code that was committed."""
    results: dict[str, Any] = json.loads((run / "results.json").read_text())
    results["git"] = "6e740c0" + 33 * "5"
    results["val"]["accuracy"] = 0.9
    results["test"].update(accuracy=0.85)
    results["test"]["router"]["accuracy"] = 0.95
    results["test"]["branch"] = {"curved": {"accuracy": 0.8, "count": 180}, "straight": {"accuracy": 0.9, "count": 179}}
    results["verdict"]["uniform"] = {"difference": 0.0125, "ci95": [-0.0025, 0.0275], "mcnemar_p": 0.5}
    results["verdict"]["base"] = {"difference": -0.02, "ci95": [-0.04, 0.0], "mcnemar_p": 0.25}
    results["baselines"].update(uniform={"accuracy": 0.8375}, base={"accuracy": 0.87})
    results["cost"] = {
        "parameters": 64574,
        "gate_parameters": 1300,
        "flops_per_image": {"dense": 2e6, "routed": 1.5e6},
    }
    results["seconds"] = {"base": {"seconds": 10.25, "reused": True}, "gates": {"seconds": 2.5, "reused": False}}
    return results


def write(folder: Path, results: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def changed(results: dict[str, Any], val: float | None, **config: Any) -> dict[str, Any]:
    """A copy with another accuracy on val and other values of dotted keys, `__` for the dot."""
    other = copy.deepcopy(results)
    other["val"] = None if val is None else {"accuracy": val, "nll": 1.0}
    for key, value in config.items():
        *sections, last = key.split("__")
        section = other["config"]
        for name in sections:
            section = section[name]
        section[last] = value
    return other
