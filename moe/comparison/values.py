"""Values of a file that may be damaged, each as it is where it is what it has to be: else TypeError or ValueError."""

import math
from collections.abc import Mapping
from typing import Any


def number(value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """A finite number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{value!r} is no number from {least} to {most}")
    return value


def known(value: Any, least: float = -math.inf, most: float = math.inf) -> Any:
    """A number as `number` takes it, or None."""
    return None if value is None else number(value, least, most)


def accuracy(of: Mapping[str, Any] | None) -> float | None:
    """That of a section of the results, a part of one; None where there is no section, or it has none."""
    found: float | None = known((of or {}).get("accuracy"), 0, 1)
    return found


def interval(ends: Any, around: float) -> list[float] | None:
    """Two numbers with `around` between them, or None, as for two without width.

    Such were written once of two classifiers that are right on the same images.
    """
    if ends is None:
        return None
    low, high = ends
    if not number(low) <= around <= number(high):
        raise ValueError(f"{ends!r} is no interval around {around}")
    return [low, high] if low < high else None


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
