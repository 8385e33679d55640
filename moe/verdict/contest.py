"""Two sides of the verdict held against each other, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moe import metrics
from moe.comparison import Row, Run
from moe.comparison.estimate import Estimate, estimate
from moe.errors import StoreError
from moe.results.bits import unpack
from moe.results.table import SIGNIFICANT
from moe.verdict.significance import crossed, paired_t

if TYPE_CHECKING:
    from torch import Tensor

EQUAL = 0.1  # costs are equal that differ by no more than this part of one


@dataclass(frozen=True)
class Contest:
    """One side's test accuracy less another's, paired by seed.

    The interval of `difference` is over the seeds, that of `over_both` over seeds and test images. `p` is the paired
    t-test's over the seeds or, where all contests are of one seed, McNemar's; `corrected` is by Holm over all of them,
    whatever is asked; `inference` and `training` are what one side costs over what the other does in the same seeds;
    `on_val` is the difference on val. None where it is not known.
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
    over_both: Estimate | None = None

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
class Said:
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


Side = tuple[str, Mapping[int, Said], Row | None]


def tested(row: Row) -> dict[int, Said]:
    """Each seed's test accuracy."""
    return {run.seed: Said(run, run.test, run.right.get("test")) for run in row.runs if run.test is not None}


def of_baseline(row: Row, name: str) -> dict[int, Said]:
    """Each seed's test accuracy of a baseline."""
    return {
        run.seed: Said(run, accuracy, run.right.get(name))
        for run in row.runs
        if (accuracy := run.baselines.get(name)) is not None
    }


def contest(question: str, one: Side, other: Side) -> Contest | None:
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
    both = _over_both([ones[seed] for seed in seeds], [others[seed] for seed in seeds])
    inference, training = (_ratio(row, beside, seeds, cost) for cost in ("routed", "training_flops"))
    on_val = _on_val(row, beside, seeds)
    return Contest(question, name, against, seeds, difference, p, None, inference, training, on_val, both)


def _over_both(ones: Sequence[Said], others: Sequence[Said]) -> Estimate | None:
    """The difference over seeds and images; None of one seed, or where which images were right is not known."""
    pairs = list(zip(ones, others, strict=True))
    if len(pairs) == 1 or any(said.right is None for pair in pairs for said in pair):
        return None
    return crossed(np.stack([one.unpacked().numpy().astype(float) - other.unpacked().numpy() for one, other in pairs]))


def _on_val(row: Row | None, beside: Row | None, seeds: Sequence[int]) -> Estimate | None:
    """One side's accuracy on val less the other's, paired by seed; None where val is the test set."""
    if row is None or beside is None or row.on_test:
        return None
    return estimate(each) if len(each := row.less(beside, "val")) == len(seeds) else None


def _ratio(row: Row | None, beside: Row | None, seeds: Sequence[int], cost: str) -> float | None:
    if row is None or beside is None:
        return None
    own, theirs = ({run.seed: getattr(run, cost) for run in side.runs} for side in (row, beside))
    both = [seed for seed in seeds if own.get(seed) is not None and theirs.get(seed)]
    return sum(own[seed] for seed in both) / sum(theirs[seed] for seed in both) if both else None
