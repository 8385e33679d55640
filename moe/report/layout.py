"""Where things are in a figure.

Sizes are inches; margins are reckoned here, since matplotlib's own layout draws everything twice.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from moe.report.figure import LETTER, MUTED, WIDTH, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, LEGEND_ROW, BELOW = 0.24, 0.2, 0.5
LINE, DOT = 0.14, 0.045  # a line of text, and a dot's half


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


def name_dots(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    steps: Sequence[tuple[float, float]] = (),
) -> None:
    """Write each dot's name beside it, where neither another dot nor a name is; one that had to move has a line to it.

    Nor are they on a line of `steps`, level from each of its points and then upright to the next. The axes must hold
    all else already.
    """
    axes.autoscale_view()  # else it comes with the drawing, and no place is known before
    dpi = axes.figure.dpi
    wide, high = axes.bbox.width / dpi, axes.bbox.height / dpi

    def inches(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x, y) for x, y in (axes.transData.transform(points) - axes.bbox.min) / dpi] if points else []

    places = inches(points)
    taken = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in places]
    for (x, y), (after, above) in pairwise(inches(steps)):
        taken += [(x, y, after, y), (after, y, after, above)]
    for (x, y), point, name in zip(places, points, names, strict=True):
        long = LETTER * len(name)
        best = min(_beside(x, y, long, high), key=lambda box: (_covered(box, taken, wide, high), _moved(box, x, y)))
        taken.append(best)
        left, middle = best[0], (best[1] + best[3]) / 2
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            name,
            point,
            xytext=(72 * (left - x), 72 * (middle - y)),
            textcoords="offset points",
            verticalalignment="center",
            arrowprops=line if abs(middle - y) > LINE / 2 else None,
        )


Box = tuple[float, float, float, float]  # left, below, right, above, in inches


def _beside(x: float, y: float, long: float, high: float) -> list[Box]:
    """Where a name so long may stand: right or left of a dot, as many lines above or below as there are."""
    lines = int(high / LINE)
    heights = [y + LINE * step for step in range(-lines, lines + 1)]
    lefts = (x + 2 * DOT, x - 2 * DOT - long)
    return [(left, middle - LINE / 2, left + long, middle + LINE / 2) for left in lefts for middle in heights]


def _covered(box: Box, taken: Sequence[Box], wide: float, high: float) -> int:
    """How many others a box lies on, and whether on the edge."""
    left, below, right, above = box
    on = sum(left < other[2] and other[0] < right and below < other[3] and other[1] < above for other in taken)
    return on + len(taken) * (left < 0 or right > wide + 0.1 or below < 0 or above > high)


def _moved(box: Box, x: float, y: float) -> tuple[float, bool]:
    return round(abs((box[1] + box[3]) / 2 - y), 6), box[0] < x


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
