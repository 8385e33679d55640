"""Runs that differ only in the seed as one row: means over the seeds with their intervals."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from moe.comparison.estimate import Estimate, estimate, wilson
from moe.comparison.runs import AGAINST, Run
from moe.provenance import in_words
from moe.results.files import read
from moe.schema import Plain
from moe.settings import NO_DIFFERENCE


@dataclass(frozen=True)
class Row:
    """Runs of one config, data and protocol, a seed each, in the order of the seeds.

    `copies` are runs that came to the very numbers of one of them, of the same seed: they count once.
    """

    runs: tuple[Run, ...]
    copies: tuple[Run, ...] = ()

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def first(self) -> Run:
        """Any of the runs, for what they all share."""
        return self.runs[0]

    @property
    def experiment(self) -> str:
        return "/".join(dict.fromkeys(run.experiment for run in self.runs))

    @property
    def on_test(self) -> bool:
        """Whether its choices were made on the test set."""
        return self.first.protocol == "notebook"

    @cached_property
    def val(self) -> Estimate | None:
        return estimate([run.val for run in self.runs])

    @cached_property
    def test(self) -> Estimate | None:
        return estimate([run.test for run in self.runs])

    @property
    def tested(self) -> Estimate | None:
        """The test accuracy with its interval: that of a single run is over its test images."""
        if self.test is None or self.n > 1 or not self.first.images:
            return self.test
        return wilson(self.test.mean, self.first.images)

    @cached_property
    def router(self) -> Estimate | None:
        return estimate([run.router for run in self.runs])

    @cached_property
    def branches(self) -> dict[str, Estimate | None]:
        """Test accuracy by true branch."""
        names = dict.fromkeys(name for run in self.runs for name in run.branches)
        return {name: estimate([run.branches.get(name) for run in self.runs]) for name in names}

    def less(self, other: "Row", split: str = "test") -> list[float]:
        """The accuracy on `test` or `val` less another row's, in each seed that both have."""
        theirs = {run.seed: getattr(run, split) for run in other.runs}
        pairs = [(getattr(run, split), theirs.get(run.seed)) for run in self.runs]
        return [one - two for one, two in pairs if one is not None and two is not None]

    def against(self, baseline: str) -> Estimate | None:
        """The test accuracy less a baseline's on the same images, paired in each seed.

        The interval is over the seeds; that of a single run is its own, over the test images.
        """
        said = [run.verdict.get(baseline) for run in self.runs]
        found = estimate([None if one is None else one["difference"] for one in said])
        if found is None or self.n > 1:
            return found
        own = said[0]["ci95"] if said[0] else None
        return Estimate(found.mean, (own[0], own[1]) if own else None)

    def baseline(self, name: str) -> Estimate | None:
        """The test accuracy of a baseline."""
        return estimate([run.baselines.get(name) for run in self.runs])

    def mean(self, name: str) -> float | None:
        """The mean of what a run costs, by its name in `Run`: `parameters`, `routed`, `training_flops`, `seconds` ...

        Runs from before a number was recorded have none and leave it to the others.
        """
        known = [value for value in (getattr(run, name) for run in self.runs) if value is not None]
        return fmean(known) if known else None

    def plain(self, differences: Sequence[str]) -> Plain:
        """The row as nested plain values, its runs among them; `config` holds only the keys in `differences`."""
        one = self.first.plain(differences)
        return {
            "experiment": self.experiment,
            "n": self.n,
            "seeds": [run.seed for run in self.runs],
            "data": one["data"],
            "config": one["config"],
            "val": _plain(self.val, "accuracy"),
            "test": {
                **_plain(self.test, "accuracy"),
                "router": _plain(self.router, "accuracy"),
                "branch": {name: _plain(found, "accuracy") for name, found in self.branches.items()},
            },
            "baselines": {name: _plain(self.baseline(name), "accuracy") for name in AGAINST},
            "verdict": {name: {**_plain(self.against(name), "difference"), "over": self._over} for name in AGAINST},
            "cost": {
                "parameters": _whole(self.mean("parameters")),
                "gate_parameters": _whole(self.mean("gate_parameters")),
                "flops_per_image": {name: self.mean(name) for name in ("routed", "dense")},
            },
            "seconds": self.mean("seconds"),
            "runs": [run.plain([]) for run in self.runs],
            "copies": [str(run.path) for run in self.copies],
        }

    @property
    def _over(self) -> str:
        return "seeds" if self.n > 1 else "images"


def rows(runs: Sequence[Run]) -> list[Row]:
    """The runs in rows, the best mean on `val` first."""
    groups: dict[str, list[Run]] = {}
    # By path, so that which runs share a row never depends on how good they are.
    for run in sorted(runs, key=lambda run: str(run.path)):
        groups.setdefault(sameness(run), []).append(run)
    made = [row for group in groups.values() for row in _rows(group)]
    return sorted(made, key=lambda row: (math.inf if row.val is None else -row.val.mean, str(row.first.path)))


def sameness(run: Run) -> str:
    """What runs of one row share: everything but the seed that a result depends on."""
    config = {key: value for key, value in run.config.items() if not key.startswith(NO_DIFFERENCE)}
    return json.dumps([run.fingerprint, run.protocol, config], sort_keys=True, default=str)


def machines(runs: Iterable[Run]) -> list[str]:
    """The machines that runs, and their networks, were made on, in words.

    Raises StoreError where results cannot be read any more.
    """
    made = [read(run.path) for run in runs]
    names = [one.get("machine") for run in made for one in (run, *run["seconds"].values())]
    return sorted({in_words(name) for name in names if name is not None})


def revisions(rows: Sequence[Row]) -> str | None:
    """What must be said of the revisions of the code that the runs are by; None where it is one without changes.

    One with changes that were not committed is always told: nobody has that code. So is one that trained what another
    found in the store.
    """
    runs = [run for row in rows for run in row.runs]
    by, said = Counter(run.revision for run in runs), []
    if len(by) > 1:
        said.append(f"The runs are by different revisions of the code: {_counted(by)}.")
    elif changed := [one for one in by if one is not None and "-" in one]:
        said.append(f"The runs are by revision {short_revision(changed[0])}.")
    if earlier := Counter(one for run in runs for one in run.trained_by if one != run.revision):
        said.append(f"Networks of theirs were trained by other revisions: {_counted(earlier)}.")
    return " ".join(said) or None


def _counted(by: "Counter[str | None] | Counter[str]") -> str:
    """Revisions with how many runs each has, the one of most first."""
    return ", ".join(f"{short_revision(one)} ({count})" for one, count in by.most_common())


def uncounted(named: Mapping[str, Row]) -> str | None:
    """A sentence about the rows, by name, in whose training the optimiser's products were not counted yet, or None."""
    before = [name for name, row in named.items() if any(run.leaves_out_optimizer for run in row.runs)]
    if not before:
        return None
    whose = "all" if len(before) == len(named) else ", ".join(before)
    return (
        "Not in the operations of training, since these runs are from before they were counted: Muon's products, of "
        f"{whose}."
    )


def short_revision(recorded: str | None) -> str:
    """A recorded revision of the code in words: the commit in seven letters, and whether it had changes."""
    if recorded is None:
        return "an unknown one"
    commit, *changed = recorded.split("-")
    return commit[:7] + " from a working tree with changes that were not committed" * bool(changed)


def _rows(group: Sequence[Run]) -> list[Row]:
    """Runs of one config as one row, or as more where the same seed came to different numbers."""
    kept: list[dict[int, Run]] = []
    copies: list[list[Run]] = []
    for run in group:
        twin = next((i for i, row in enumerate(kept) if run.seed in row and _same(run, row[run.seed])), None)
        if twin is not None:
            copies[twin].append(run)
            continue
        place = next((i for i, row in enumerate(kept) if run.seed not in row), len(kept))
        if place == len(kept):
            kept.append({})
            copies.append([])
        kept[place][run.seed] = run
    return [Row(tuple(row[seed] for seed in sorted(row)), tuple(own)) for row, own in zip(kept, copies, strict=True)]


def _same(one: Run, other: Run) -> bool:
    return one.accuracies() == other.accuracies()


def _plain(found: Estimate | None, name: str) -> dict[str, Any]:
    return {name: None, "ci95": None} if found is None else dict(found.plain(name))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
