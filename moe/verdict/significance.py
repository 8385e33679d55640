"""Whether a difference is more than chance: over paired seeds, and among many comparisons."""

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, TypeVar

from moe.comparison.estimate import AGREE, Estimate, estimate

if TYPE_CHECKING:
    from numpy import ndarray

Key = TypeVar("Key", bound=Hashable)


def paired_t(differences: Sequence[float]) -> float:
    """The two-sided p of two or more paired differences under Student's t of n - 1 degrees of freedom.

    1 where they do not scatter: a few seeds that agree to the image show no scatter, not that there is none.
    Source: Student 1908, The probable error of a mean.
    """
    from scipy.special import stdtr  # late, and not scipy.stats, whose import is slow

    spread = stdev(differences)
    if spread < AGREE:
        return 1.0
    t = fmean(differences) / (spread / math.sqrt(len(differences)))
    return 2 * float(stdtr(len(differences) - 1, -abs(t)))


def crossed(apart: "ndarray") -> Estimate:
    """The mean of differences (S, N) of two or more seeds on the same N images, as it is for other seeds and images.

    Both are random effects that cross. By the mean squares of a two-way analysis of variance without replication, each
    effect's part no less than none, and with Satterthwaite's degrees of freedom; no interval is narrower than that over
    the seeds alone, and there is none where that is none and images do not scatter either.
    Sources: Clark 1973, The language-as-fixed-effect fallacy; Satterthwaite 1946, An approximate distribution of
    estimates of variance components.
    """
    from scipy.special import stdtrit  # late, and not scipy.stats, whose import is slow

    seeds, images = apart.shape
    mean, by_seed, by_image = float(apart.mean()), apart.mean(axis=1), apart.mean(axis=0)
    free = (seeds - 1, images - 1, (seeds - 1) * (images - 1))
    rest = float(((apart - by_seed[:, None] - by_image + mean) ** 2).sum()) / free[2]
    squares = (max(images * float(by_seed.var(ddof=1)), rest), max(seeds * float(by_image.var(ddof=1)), rest), rest)
    whole = squares[0] + squares[1] - squares[2]
    if whole < AGREE:
        return Estimate(mean)
    freedom = whole**2 / sum(square**2 / n for square, n in zip(squares, free, strict=True))
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(whole / (seeds * images))
    alone = estimate(by_seed.tolist())
    half = max(half, (alone and alone.half) or 0.0)
    return Estimate(mean, (mean - half, mean + half))


def corrected(apart: Mapping[Key, Sequence[float]]) -> dict[Key, tuple[float, float]]:
    """Of each two or more paired differences the p of `paired_t`, and that by `holm` for all of them."""
    known = {key: paired_t(each) for key, each in apart.items() if len(each) > 1}
    return {key: (p, by) for (key, p), by in zip(known.items(), holm(list(known.values())), strict=True)}


def holm(ps: Sequence[float]) -> list[float]:
    """Each p corrected for all of them, in their order: below a level, it is so with the family's error at that level.

    The k-th smallest of m is multiplied by m - k + 1, and none is less than one before it, nor more than 1.
    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected, least = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = least
    return corrected
