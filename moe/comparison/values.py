"""Values of a results file that may be damaged, each what it has to be: else TypeError."""

import math
from collections.abc import Mapping
from typing import Any


def number(value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """A finite number within bounds, as it is, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not (math.isfinite(value) and least <= value <= most):
        raise TypeError(f"{value!r} is no number from {least} to {most}")
    return value


def accuracy(of: Mapping[str, Any] | None) -> float | None:
    """That of a section of the results, a part of one; None where there is no section, or it has none."""
    found: float | None = number((of or {}).get("accuracy"), 0, 1)
    return found


def interval(ends: Any) -> list[float] | None:
    """Two numbers in order, or None."""
    if ends is None:
        return None
    low, high = ends
    if None in (number(low), number(high)) or low > high:
        raise TypeError(f"{ends!r} is no interval")
    return [low, high]


def text(value: Any) -> str:
    """A text as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def whole(value: Any) -> int:
    """A whole number as it is."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
