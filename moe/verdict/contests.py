"""The mixture and its rivals, seed by seed: who is ahead, by how much, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moe import metrics
from moe.comparison import Row, Run, differing, rows
from moe.comparison.estimate import Estimate, estimate
from moe.errors import StoreError
from moe.results.bits import unpack
from moe.results.table import SIGNIFICANT
from moe.schema import CONDITIONAL
from moe.verdict.significance import holm, paired_t

if TYPE_CHECKING:
    from torch import Tensor

MIXTURE, FLAT = "hard", "flat"  # rival=hard is the mixture that the others are rivals of
EQUAL = 0.1  # costs are equal that differ by no more than this part of one
# What is asked: does the mixture pay beside what is none, which mixture is it, if any, does the cheaper one pay beside
# bases as cheap, and one of kernels beside what is none?
QUESTIONS = RIVALS, KINDS, CHEAP, WITHIN = (
    "rivals that are no mixture",
    "other mixtures and free baselines",
    "rivals of the cascaded mixture",
    "rivals of the mixture of kernels that are no mixture",
)
KERNELS = "kernels"
CASCADED, BESIDE_CASCADED = "cascaded", ("cascade", "tuned_cascade", "longer", "base")
SPECIALISTS, UNIFORM = "routed specialists", "routed uniform"


@dataclass(frozen=True)
class Contest:
    """One side's test accuracy less another's, paired by seed.

    `p` is the paired t-test's over the seeds or, where all contests are of one seed, McNemar's; `corrected` is by Holm
    over all of them, whatever is asked; `inference` and `training` are what one side costs over what the other does in
    the same seeds; `on_val` is the difference on val. None where it is not known.
    """

    question: str
    one: str
    other: str
    seeds: tuple[int, ...]
    difference: Estimate
    p: float | None
    corrected: float | None = None
    inference: float | None = None
    training: float | None = None
    on_val: Estimate | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where one side is ahead or behind at a corrected p below 0.05, else 0."""
        if self.corrected is None or self.corrected >= SIGNIFICANT:
            return 0
        return 1 if self.difference.mean > 0 else -1

    @property
    def at_equal_cost(self) -> bool:
        """Whether both sides cost the same, or nearly, to run and to train."""
        costs = (self.inference, self.training)
        return all(cost is not None and 1 - EQUAL <= cost <= 1 + EQUAL for cost in costs)

    @property
    def against_cheaper(self) -> bool:
        """Whether the other side costs less to run, and no more to train."""
        if self.inference is None or self.training is None:
            return False
        return self.inference > 1 + EQUAL and self.training >= 1 - EQUAL


@dataclass(frozen=True)
class _Said:
    """What one seed's run said on test: its accuracy, and which images were right where that was recorded."""

    run: Run
    accuracy: float
    right: str | None

    def unpacked(self) -> "Tensor":
        """Whether each image was right (N,). Raises StoreError where that is damaged."""
        assert self.right is not None
        try:
            return unpack(self.right, self.run.images)
        except StoreError as error:
            raise StoreError(f"{self.run.path}: {error}") from None


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
            mend = "; set it for all, as trainer.precision=32-true" if what == "trainer.precision" else ""
            raise StoreError(f"{both} are both of rival={name} and differ in {what}; give runs of one study{mend}")
        found[name] = row
    for what in ("fingerprint", "protocol"):
        if len({getattr(row.first, what) for row in found.values()}) > 1:
            raise StoreError(f"the rivals' runs are of different data (data.{what}); give runs of one study")
    return found


def contests(found: Mapping[str, Row]) -> list[Contest]:
    """The mixture against each rival and its own free baselines.

    A flat one is also held against the base and the routed uniform average, the cascaded one against the base, that
    trained for longer, and the cascades of bases, the one of kernels against all that is no mixture. Rivals that came
    to be the very same networks are one, by the name of that with the most seeds.
    """
    made: list[Contest | None] = []
    distinct = [names[0] for names in same(found) if MIXTURE not in names]
    if MIXTURE in found:
        mixture = found[MIXTURE]
        others = [(name, found[name]) for name in distinct]
        own = _own(mixture)
        made += [_contest(_question(row), (MIXTURE, own, mixture), (name, _own(row), row)) for name, row in others]
        for name, baseline in ((SPECIALISTS, "specialists"), (UNIFORM, "uniform")):
            made.append(_contest(KINDS, (MIXTURE, own, mixture), (name, _baseline(mixture, baseline), None)))
    if FLAT in found:
        flat = found[FLAT]
        made.append(_contest(KINDS, (FLAT, _own(flat), flat), ("base", _baseline(flat, "base"), found.get("base"))))
        if MIXTURE in found:
            uniform = _baseline(found[MIXTURE], "uniform")
            made.append(_contest(KINDS, (FLAT, _own(flat), flat), (UNIFORM, uniform, None)))
    if CASCADED in found:
        cascaded = (CASCADED, _own(found[CASCADED]), found[CASCADED])
        # By its own name also where another stands for it.
        groups = [[name for name in names if name in BESIDE_CASCADED] for names in same(found)]
        beside = [names[0] for names in groups if names]
        made += [_contest(CHEAP, cascaded, (name, _own(found[name]), found[name])) for name in beside]
    if KERNELS in found:
        kernels = (KERNELS, _own(found[KERNELS]), found[KERNELS])
        beside = [name for name in distinct if not is_mixture(found[name])]
        made += [_contest(WITHIN, kernels, (name, _own(found[name]), found[name])) for name in beside]
    held = [one for one in made if one is not None]
    if any(len(one.seeds) > 1 for one in held):
        # One seed says how images scatter and not how training does: its small p would pass for the surest of all.
        held = [replace(one, p=None) if len(one.seeds) == 1 else one for one in held]
    # All that is looked at is corrected for: whoever asked of a second mixture until one is ahead would find one.
    return _corrected([one for question in QUESTIONS for one in held if one.question == question])


def same(found: Mapping[str, Row]) -> list[list[str]]:
    """The rivals' names, those together whose runs are of the very same networks and numbers in the seeds they share.

    The first of a group has the most seeds, and stands for the others.
    """
    groups: list[list[str]] = []
    for name in sorted(found, key=lambda name: -found[name].n):
        twin = next((group for group in groups if _same(found[group[0]], found[name])), None)
        if twin is None:
            groups.append([name])
        else:
            twin.append(name)
    order = list(found)
    return sorted(groups, key=lambda group: min(map(order.index, group)))


def _same(one: Row, other: Row) -> bool:
    ours, theirs = ({run.seed: run for run in row.runs} for row in (one, other))
    shared = set(ours) & set(theirs)
    return bool(shared) and all(
        ours[seed].key == theirs[seed].key is not None
        and ours[seed].routed == theirs[seed].routed
        and ours[seed].accuracies() == theirs[seed].accuracies()
        for seed in shared
    )


def is_mixture(row: Row) -> bool:
    """Whether a rival is a mixture, of experts or of kernels, with gates, and not a base or several."""
    config = row.first.config
    kernels = config.get("base.match") == "kernels" or config.get("base.net._target_") == CONDITIONAL
    return config.get("target") == "gates" or kernels


def _question(row: Row) -> str:
    return KINDS if is_mixture(row) else RIVALS


def _corrected(held: Sequence[Contest]) -> list[Contest]:
    corrected = iter(holm([one.p for one in held if one.p is not None]))
    return [one if one.p is None else replace(one, corrected=next(corrected)) for one in held]


def _own(row: Row) -> dict[int, _Said]:
    """Each seed's test accuracy."""
    return {run.seed: _Said(run, run.test, run.right.get("test")) for run in row.runs if run.test is not None}


def _baseline(row: Row, name: str) -> dict[int, _Said]:
    """Each seed's test accuracy of a baseline."""
    return {
        run.seed: _Said(run, accuracy, run.right.get(name))
        for run in row.runs
        if (accuracy := run.baselines.get(name)) is not None
    }


_Side = tuple[str, Mapping[int, _Said], Row | None]


def _contest(question: str, one: _Side, other: _Side) -> Contest | None:
    """Of two sides, each with a name, what it said by seed and what it cost; None where no seed is in both."""
    (name, ones, row), (against, others, beside) = one, other
    seeds = tuple(sorted(set(ones) & set(others)))
    if not seeds:
        return None
    differences = [ones[seed].accuracy - others[seed].accuracy for seed in seeds]
    difference = estimate(differences)
    assert difference is not None
    p = paired_t(differences) if len(seeds) > 1 else None
    if len(seeds) == 1:
        mine, theirs = ones[seeds[0]], others[seeds[0]]
        if mine.right is not None and theirs.right is not None:
            compared = metrics.compare(mine.unpacked(), theirs.unpacked())
            p = compared.mcnemar_p
            if compared.ci95 is not None:
                difference = Estimate(difference.mean, (compared.ci95[0], compared.ci95[1]))
    inference, training = (_ratio(row, beside, seeds, cost) for cost in ("routed", "training_flops"))
    return Contest(
        question, name, against, seeds, difference, p, None, inference, training, _on_val(row, beside, seeds)
    )


def _on_val(row: Row | None, beside: Row | None, seeds: Sequence[int]) -> Estimate | None:
    """One side's accuracy on val less the other's, paired by seed; None where val is the test set."""
    if row is None or beside is None or row.on_test:
        return None
    own = Row(tuple(run for run in row.runs if run.seed in seeds))
    return estimate(each) if len(each := own.less(beside, "val")) == len(seeds) else None


def _ratio(row: Row | None, beside: Row | None, seeds: Sequence[int], cost: str) -> float | None:
    if row is None or beside is None:
        return None
    own, theirs = ({run.seed: getattr(run, cost) for run in side.runs} for side in (row, beside))
    both = [seed for seed in seeds if own.get(seed) is not None and theirs.get(seed)]
    return sum(own[seed] for seed in both) / sum(theirs[seed] for seed in both) if both else None
