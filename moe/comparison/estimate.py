"""A mean over seeds with its interval, and which rows are on a Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from moe.schema import Plain

AGREE = 1e-12  # what differs by less differs by rounding alone


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval; None where the values say nothing of how others would scatter."""

    mean: float
    ci95: tuple[float, float] | None = None

    @property
    def half(self) -> float | None:
        """Half the interval's width."""
        return None if self.ci95 is None else (self.ci95[1] - self.ci95[0]) / 2

    @property
    def sign(self) -> int:
        """1 where the whole interval is above zero, -1 where it is below, else 0.

        Also 0 for an interval without width: a few seeds that agree to the image show no scatter, not that
        there is none.
        """
        if self.half is None or self.half < AGREE:
            return 0
        return int(self.mean - self.half > 0) - int(self.mean + self.half < 0)

    def plain(self, name: str) -> Plain:
        """The mean as `name` beside `ci95`."""
        return {name: self.mean, "ci95": None if self.ci95 is None else list(self.ci95)}


def estimate(values: Sequence[float | None]) -> Estimate | None:
    """The mean of one value a seed, with the interval by Student's t of n - 1 degrees of freedom.

    None where there are no values or any is missing: a mean of the others would be of other seeds than n says. Values
    that all agree have no interval: a few seeds show no scatter then, not that there is none.
    Source: Student 1908, The probable error of a mean.
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    mean = fmean(known)
    if len(known) == 1 or (deviation := stdev(known)) < AGREE:
        return Estimate(mean)
    from scipy.special import stdtrit  # late, and not scipy.stats, whose import is slow

    half = float(stdtrit(len(known) - 1, 0.975)) * deviation / math.sqrt(len(known))
    return Estimate(mean, (mean - half, mean + half))


def wilson(part: float, count: int) -> Estimate:
    """The part of `count` images that is right, with its interval at 95 %.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z2 = NormalDist().inv_cdf(0.975) ** 2
    middle, half = part + z2 / (2 * count), math.sqrt(z2 * (part * (1 - part) + z2 / (4 * count)) / count)
    low, high = ((middle + end) / (1 + z2 / count) for end in (-half, half))
    return Estimate(part, (min(low, part), max(high, part)))  # where all are right an end is the part but for rounding


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the (cost, accuracy) that no other beats, the cheapest first.

    One beats another that is neither cheaper nor more accurate unless they are equal.
    """

    def beaten(cost: float, accuracy: float) -> bool:
        return any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)

    return sorted((i for i, point in enumerate(points) if not beaten(*point)), key=lambda i: points[i])
