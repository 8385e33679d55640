"""Whether a difference is more than chance: over paired seeds, and among many comparisons."""

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def paired_t(differences: Sequence[float]) -> float:
    """The two-sided p of two or more paired differences under Student's t of n - 1 degrees of freedom.

    1 where they do not scatter: a few seeds that agree to the image show no scatter, not that there is none.
    Source: Student 1908, The probable error of a mean.
    """
    from scipy.special import stdtr  # late, and not scipy.stats, whose import is slow

    spread = stdev(differences)
    if spread < 1e-12:
        return 1.0
    t = fmean(differences) / (spread / math.sqrt(len(differences)))
    return 2 * float(stdtr(len(differences) - 1, -abs(t)))


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
