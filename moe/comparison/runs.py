"""Finished runs read for comparing them: what each came to, and in what their configs differ."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moe.comparison import values
from moe.errors import ConfigError, StoreError
from moe.results import RESULTS, read
from moe.schema import Config, Plain
from moe.settings import NO_DIFFERENCE, differences, places, settings
from moe.sweep.record import read_failure

# What a run is compared with, of its results' verdicts.
AGAINST = ("uniform", "base")
VERDICT = ("difference", "ci95", "mcnemar_p")


@dataclass(frozen=True)
class Run:
    """A finished run's folder and what of its results is compared; None where it has no such number."""

    path: Path
    experiment: str
    seed: int
    data: str
    fingerprint: str
    protocol: str
    val: float | None
    test: float | None
    router: float | None
    branches: Mapping[str, float | None]
    verdict: Mapping[str, Plain]
    baselines: Mapping[str, float | None]
    parameters: int | None
    gate_parameters: int | None
    routed: float | None
    dense: float | None
    seconds: float
    config: Mapping[str, Any]
    training_flops: float | None = None
    optimizer_flops: float | None = None  # what of these the optimiser's are; None where they were not counted
    regret: Mapping[str, float] = field(default_factory=dict)
    # By baseline, its own as `test`: which images were right, see `moe.results.bits`.
    right: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    key: str | None = None  # of the networks that it is made of
    base: str | None = None  # of its base, or the first of several
    matched: Mapping[str, Any] = field(default_factory=dict)  # what `base.match` made of the base
    revision: str | None = None  # the commit of the code, with -dirty where it had changes
    trained_by: frozenset[str] = frozenset()  # the commits that trained its networks, as far as they are known

    @property
    def leaves_out_optimizer(self) -> bool:
        """Whether `training_flops` is from before Muon's products were counted, which took part."""
        muon = any(".recipe.muon" in key and value is not None for key, value in self.config.items())
        return muon and self.training_flops is not None and self.optimizer_flops is None

    def accuracies(self) -> tuple[object, ...]:
        """All that was measured of it: two runs of one config and seed that agree in this are the same run twice."""
        return self.val, self.test, self.router, dict(self.branches), dict(self.verdict)

    def plain(self, differences: Sequence[str]) -> Plain:
        """The run as nested plain values; `config` holds only the keys in `differences`."""
        return {
            "path": str(self.path),
            "experiment": self.experiment,
            "seed": self.seed,
            "data": {"name": self.data, "fingerprint": self.fingerprint, "protocol": self.protocol},
            "config": {key: self.config[key] for key in differences if key in self.config},
            "val": {"accuracy": self.val},
            "test": {
                "accuracy": self.test,
                "router": {"accuracy": self.router},
                "branch": {name: {"accuracy": accuracy} for name, accuracy in self.branches.items()},
            },
            "baselines": {name: {"accuracy": self.baselines.get(name)} for name in AGAINST},
            "verdict": {name: self.verdict.get(name) or dict.fromkeys(VERDICT) for name in AGAINST},
            "cost": {
                "parameters": self.parameters,
                "gate_parameters": self.gate_parameters,
                "flops_per_image": {"routed": self.routed, "dense": self.dense},
            },
            "seconds": self.seconds,
            "git": self.revision,
        }


def collect(given: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs in and below the given places, the best on `val` first, and a sentence for each that is not one.

    That is what cannot be read, and what a job of a sweep left whose last try, with another config, failed.
    """
    runs, faults, seen = [], [], set()
    for place in given:
        try:
            found = files(place)
        except StoreError as error:
            faults.append(str(error))
            continue
        for file in found:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                if (why := read_failure(file.parent)) is not None:
                    raise StoreError(f"{file.parent} holds what an earlier try came to; the last one failed: {why}")
                runs.append(_run(file.parent, read(file)))
            except StoreError as error:
                faults.append(str(error))
    # Of equals the first by name: no choice, and so no order, ever reads test.
    return sorted(runs, key=lambda run: (math.inf if run.val is None else -run.val, str(run.path))), faults


def refuse_other(folder: Path, config: Config) -> None:
    """Raise ConfigError where `folder` holds a finished run of another config, naming up to five keys that differ."""
    try:
        found = read(folder / RESULTS)["config"]
        # Rows of a comparison may be of other images or seeds; a folder's run may not.
        alike = tuple(key for key in NO_DIFFERENCE if key != "seed" and not key.startswith("data."))
        differ = list(differences(found, config.plain(), (*alike, *places(config.plain()))))
    except (StoreError, KeyError, TypeError, AttributeError):
        return  # none, or none that could be lost
    if differ:
        told = ", ".join(f"{key} ({there}, not {here})" for key, there, here in differ[:5])
        more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
        raise ConfigError(
            f"{folder} holds a finished run that differs in {told}{more}; "
            "set hydra.run.dir to another folder, or remove that run"
        )


def files(place: Path) -> list[Path]:
    """The `results.json` of a run, or of all runs below a folder. Raises StoreError where there is none."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise StoreError(f"{place} does not exist; give a run's folder or one that holds runs")
    if (place / RESULTS).is_file():
        return [place / RESULTS]
    found = sorted(place.rglob(RESULTS))
    if not found:
        raise StoreError(f"{place} holds no {RESULTS}, nor does a folder below it: there is no finished run")
    return found


def _run(path: Path, results: Plain) -> Run:
    try:
        test, cost = results["test"] or {}, results["cost"] or {}
        flops, training = cost.get("flops_per_image") or {}, cost.get("training_flops") or {}
        said = {"test": test, **(results["baselines"] or {})}
        return Run(
            path=path,
            experiment=values.text(results["experiment"]),
            seed=values.whole(results["seed"]),
            data=values.text(results["data"]["name"]),
            fingerprint=values.text(results["data"]["fingerprint"]),
            protocol=values.text(results["data"]["protocol"]),
            val=values.accuracy(results["val"]),
            test=values.accuracy(test),
            router=values.accuracy(test.get("router")),
            branches={name: values.accuracy(branch) for name, branch in (test.get("branch") or {}).items()},
            verdict={name: _beside(one) for name, one in (results["verdict"] or {}).items()},
            baselines={name: values.accuracy(one) for name, one in (results["baselines"] or {}).items()},
            parameters=values.known(cost.get("parameters"), 0),
            gate_parameters=values.known(cost.get("gate_parameters"), 0),  # runs from before it was counted have none
            routed=values.known(flops.get("routed"), 0),
            dense=values.known(flops.get("dense"), 0),
            seconds=sum(values.number(stage["seconds"], 0) for stage in results["seconds"].values()),
            config=_trained(results),
            # Runs from before these were recorded have none.
            training_flops=values.known(training.get("total"), 0),
            optimizer_flops=values.known(training.get("optimizer"), 0),
            regret={name: values.number(part, 0, 1) for name, part in (test.get("regret") or {}).items()},
            right={name: values.text(one["right"]) for name, one in said.items() if one and one.get("right")},
            images=values.whole((results["data"].get("sizes") or {}).get("test", 0)),
            key=None if results.get("key") is None else values.text(results["key"]),
            base=values.text(results["stages"]["base"]["key"]) if "base" in (results.get("stages") or {}) else None,
            matched=dict(results.get("matched") or {}),
            revision=None if results.get("git") is None else str(results["git"]),
            trained_by=frozenset(str(one["git"]) for one in results["seconds"].values() if one.get("git") is not None),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(f"{path / RESULTS} is damaged: it is not the {RESULTS} of a run") from None


def _beside(one: Plain) -> Plain:
    """What a verdict says of a baseline, as `VERDICT` names it."""
    found = values.number(one["difference"], -1, 1)
    return {
        "difference": found,
        "ci95": values.interval(one["ci95"], found),
        "mcnemar_p": values.known(one["mcnemar_p"], 0, 1),
    }


def _trained(results: Plain) -> Plain:
    """The config's settings, with the precision that `auto` came to be: machines differ in it, and so do results."""
    found = settings(results["config"])
    if found.get("trainer.precision") == "auto" and results.get("precision"):
        found["trainer.precision"] = results["precision"]
    return found


def differing(runs: Sequence[Run]) -> list[str]:
    """The config keys, in the config's order, that not all the runs have or that differ among them."""
    keys = dict.fromkeys(key for run in runs for key in run.config if not key.startswith(NO_DIFFERENCE))
    # As JSON, since 1, 1.0 and true are equal to Python.
    return [key for key in keys if len({json.dumps(run.config.get(key, ...), default=str) for run in runs}) > 1]
