"""The mixture and its rivals, seed by seed: who is ahead, by how much, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from moe import metrics
from moe.comparison import Row, Run, differing, rows
from moe.comparison.estimate import Estimate, estimate
from moe.errors import StoreError
from moe.results import unpack
from moe.verdict.significance import holm, paired_t

MIXTURE, FLAT = "hard", "flat"  # rival=hard is the mixture that the others are rivals of
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Contest:
    """One side's test accuracy less another's, paired by seed.

    `p` is that of the paired t-test over the seeds or, for one seed, McNemar's, and `corrected` the same by Holm's
    correction over all contests; `inference` and `training` are what one side costs over what the other does. None
    where it is not known.
    """

    one: str
    other: str
    seeds: tuple[int, ...]
    difference: Estimate
    p: float | None
    corrected: float | None = None
    inference: float | None = None
    training: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where one side is ahead or behind at a corrected p below 0.05, else 0."""
        if self.corrected is None or self.corrected >= SIGNIFICANT:
            return 0
        return 1 if self.difference.mean > 0 else -1


@dataclass(frozen=True)
class _Said:
    """One seed's test accuracy, and which of its images were right where that was recorded."""

    accuracy: float
    right: str | None
    images: int


def rivals(runs: Sequence[Run]) -> dict[str, Row]:
    """The runs of a verdict by rival, the best on `val` first; those of no rival are left out.

    Raises StoreError where a rival has runs of several configs, or they are of different data.
    """
    known = [run for run in runs if run.config.get("rival") is not None]
    found: dict[str, Row] = {}
    for row in rows(known):
        name = str(row.first.config["rival"])
        if name in found:
            pair = [found[name].first, row.first]
            what = ", ".join(differing(pair)) or "numbers alone, of one config and seed"
            both = " and ".join(str(run.path) for run in pair)
            raise StoreError(f"{both} are both of rival={name} and differ in {what}; give runs of one study")
        found[name] = row
    for what in ("fingerprint", "protocol"):
        if len({getattr(row.first, what) for row in found.values()}) > 1:
            raise StoreError(f"the rivals' runs are of different data (data.{what}); give runs of one study")
    return found


def contests(found: Mapping[str, Row]) -> list[Contest]:
    """The mixture against each rival, and a flat mixture also against the base and the routed uniform average."""
    made: list[Contest | None] = []
    if MIXTURE in found:
        mixture = found[MIXTURE]
        made += [
            _contest(MIXTURE, _own(mixture), name, _own(row), mixture, row)
            for name, row in found.items()
            if name != MIXTURE
        ]
    if FLAT in found:
        flat = found[FLAT]
        made.append(_contest(FLAT, _own(flat), "base", _baseline(flat, "base"), flat, found.get("base")))
        if MIXTURE in found:
            uniform = _baseline(found[MIXTURE], "uniform")
            made.append(_contest(FLAT, _own(flat), "routed uniform", uniform, flat, None))
    held = [one for one in made if one is not None]
    corrected = iter(holm([one.p for one in held if one.p is not None]))
    return [one if one.p is None else replace(one, corrected=next(corrected)) for one in held]


def _own(row: Row) -> dict[int, _Said]:
    """Each seed's test accuracy."""
    return {run.seed: _Said(run.test, run.right.get("test"), run.images) for run in row.runs if run.test is not None}


def _baseline(row: Row, name: str) -> dict[int, _Said]:
    """Each seed's test accuracy of a baseline."""
    return {
        run.seed: _Said(accuracy, run.right.get(name), run.images)
        for run in row.runs
        if (accuracy := run.baselines.get(name)) is not None
    }


def _contest(
    one: str, ones: Mapping[int, _Said], other: str, others: Mapping[int, _Said], row: Row, against: Row | None
) -> Contest | None:
    """None where the two have no seed in common."""
    seeds = tuple(sorted(set(ones) & set(others)))
    if not seeds:
        return None
    differences = [ones[seed].accuracy - others[seed].accuracy for seed in seeds]
    difference = estimate(differences)
    assert difference is not None
    p = None
    if len(seeds) > 1:
        p = paired_t(differences)
    else:
        mine, theirs = ones[seeds[0]], others[seeds[0]]
        if mine.right is not None and theirs.right is not None:
            compared = metrics.compare(unpack(mine.right, mine.images), unpack(theirs.right, theirs.images))
            p = compared.mcnemar_p
            if compared.ci95 is not None:
                difference = Estimate(difference.mean, (compared.ci95[0], compared.ci95[1]))
    return Contest(
        one,
        other,
        seeds,
        difference,
        p,
        inference=_ratio(row, against, "routed"),
        training=_ratio(row, against, "training_flops"),
    )


def _ratio(row: Row, against: Row | None, cost: str) -> float | None:
    mine, theirs = row.mean(cost), None if against is None else against.mean(cost)
    return mine / theirs if mine is not None and theirs else None
