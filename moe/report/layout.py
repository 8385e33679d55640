"""Where things are in a figure.

Sizes are inches; margins are reckoned here, since matplotlib's own layout draws everything twice.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from moe.report.figure import LETTER, WIDTH, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, LEGEND_ROW, BELOW = 0.24, 0.2, 0.5


def row_axes(names: Sequence[str], units: float, legend: Sequence[str], most: int = 20) -> "tuple[Figure, Axes]":
    """Axes with a row for each name, from the top down, `units` of height, and room above for the legend.

    Names are cut to `most` letters.
    """
    from matplotlib.ticker import MaxNLocator

    names = [short(name, most) for name in names]
    left = LETTER * max(map(len, names)) + 0.15
    above = headroom(legend)
    figure, axes = new_axes(left, BELOW, WIDTH - left - 0.15, ROW * max(units, 2), above)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def headroom(legend: Sequence[str]) -> float:
    """The height of a legend that `add_legend` puts above the axes."""
    if not legend:
        return 0.1
    return LEGEND_ROW * math.ceil(len(legend) / _columns(legend)) + 0.15


def add_legend(figure: "Figure", axes: "Axes") -> None:
    """Put what the axes have labels for at the top of the figure."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        ncols=_columns(names),
        columnspacing=1,
        handletextpad=0.4,
        handlelength=1.4,
    )


def _columns(legend: Sequence[str]) -> int:
    widest = LETTER * min(max(map(len, legend)), 20) + 0.4
    return max(1, min(len(legend), int(WIDTH / widest)))


def new_axes(left: float, below: float, width: float, height: float, above: float) -> "tuple[Figure, Axes]":
    """A figure of the usual width with axes of this size, and so much room beside, below and above them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, below + height + above))
    return figure, figure.add_axes(part(figure, left, below, width, height))


def part(figure: "Figure", left: float, below: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Inches from the figure's lower left corner as the parts of it that matplotlib asks for."""
    across, up = figure.get_size_inches()
    return left / across, below / up, width / across, height / up
