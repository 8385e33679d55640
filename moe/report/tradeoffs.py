"""The comparison's plots: accuracy by row, against the gates' width and against what an image costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe.comparison.estimate import Estimate, pareto
from moe.report.figure import INK, MUTED, PALETTE, TAKEN, WIDTH, short
from moe.report.layout import BELOW, add_legend, headroom, new_axes, row_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT, LEFT = 2.4, 0.62
MARKERS = "osD^v<>P"
SPREAD = 0.12  # in octaves: how far lines are moved apart where their widths are the same


@dataclass(frozen=True)
class Line:
    """One kind of gate: accuracies by width, the narrowest first."""

    name: str
    points: Sequence[tuple[float, Estimate]]


def by_row(names: Sequence[str], series: Mapping[str, Sequence[Estimate | None]], axis: str) -> "Figure":
    """Estimates in % as dots with intervals, a row for each of `names`, a colour for each series."""
    legend = list(series) if len(series) > 1 else []
    figure, axes = row_axes(names, len(names) * max(1.0, 0.55 * len(series)), legend, most=24)
    for i, (name, found) in enumerate(series.items()):
        place = [row + 0.7 * ((i + 0.5) / len(series) - 0.5) for row in range(len(names))]
        dots(axes, place, found, PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)], name, lying=True)
    axes.set_xlabel(axis)
    if legend:
        add_legend(figure, axes)
    return figure


def zero(figure: "Figure") -> "Figure":
    """The same figure with a line where there is no difference."""
    figure.axes[0].axvline(0, color=INK, linewidth=0.8, zorder=1)
    return figure


def against_width(lines: Sequence[Line], levels: Mapping[str, Estimate]) -> "Figure":
    """Accuracy in % against width, doubling by equal steps; `levels` are what needs no width, as lines across."""
    names = [short(line.name) for line in lines] + list(levels)
    figure, axes = new_axes(LEFT, BELOW, WIDTH - LEFT - 0.12, HEIGHT, headroom(names))
    axes.set_xscale("log", base=2)
    for i, (name, level) in enumerate(levels.items()):
        colour, dashes = (INK, MUTED)[i % 2], ("--", ":")[i % 2]
        axes.axhline(100 * level.mean, color=colour, linestyle=dashes, linewidth=1.2, label=name, zorder=1)
        if level.ci95:
            axes.axhspan(100 * level.ci95[0], 100 * level.ci95[1], color=MUTED, alpha=(0.22, 0.12)[i % 2], linewidth=0)
    for i, (line, name) in enumerate(zip(lines, names, strict=False)):
        moved = 2 ** (SPREAD * (i - (len(lines) - 1) / 2))
        colour = PALETTE[i % len(PALETTE)]
        places = [width * moved for width, _ in line.points]
        axes.plot(places, [100 * found.mean for _, found in line.points], color=colour, linewidth=1.3, alpha=0.8)
        dots(axes, places, [found for _, found in line.points], colour, MARKERS[i % len(MARKERS)], name)
    widths = sorted({width for line in lines for width, _ in line.points})
    shown = widths[:: math.ceil(len(widths) / 8)]
    axes.set_xticks(shown, [f"{width:g}" for width in shown])
    axes.minorticks_off()
    axes.set_xlim(widths[0] / 1.5, widths[-1] * 1.5)
    axes.grid(axis="y")
    axes.set_xlabel("gate.width")
    axes.set_ylabel("test accuracy in %")
    add_legend(figure, axes)
    return figure


def against_cost(costs: Sequence[float], found: Sequence[Estimate], numbers: Sequence[int], axis: str) -> "Figure":
    """Accuracy on val in % against a cost, with the Pareto front as steps and its rows' numbers."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(LEFT, BELOW, WIDTH - LEFT - 0.15, HEIGHT, 0.2)
    front = pareto([(cost, one.mean) for cost, one in zip(costs, found, strict=True)])
    rest = [i for i in range(len(costs)) if i not in front]
    if min(costs) <= 0 or max(costs) / min(costs) > 8:
        decades(axes, costs)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.ticklabel_format(axis="x", useOffset=False)
    dots(axes, [costs[i] for i in rest], [found[i] for i in rest], MUTED, "o")
    dots(axes, [costs[i] for i in front], [found[i] for i in front], TAKEN, "o")
    best = [100 * found[i].mean for i in front]
    ends = [*(costs[i] for i in front), max(costs)]  # more cost buys nothing beyond the last
    axes.step(ends, [*best, best[-1]], where="post", color=TAKEN, linewidth=1.2, alpha=0.6)
    here: dict[tuple[float, float], list[str]] = {}
    for i, height in zip(front, best, strict=True):
        here.setdefault((costs[i], height), []).append(str(numbers[i]))
    for point, said in here.items():
        label = ", ".join(said[:3]) + ("…" if len(said) > 3 else "")
        axes.annotate(label, point, xytext=(3, 4), textcoords="offset points", weight="bold")
    axes.grid(axis="both")
    axes.set_axisbelow(True)
    axes.set_xlabel(axis)
    axes.set_ylabel("val accuracy in %")
    return figure


def decades(axes: "Axes", costs: Sequence[float]) -> None:
    """Costs by equal steps for each tenfold; zero, the cost of a gate that learns nothing, has a place left of them."""
    known = sorted(cost for cost in costs if cost > 0) or [1.0]
    low, high = math.floor(math.log10(known[0])), math.ceil(math.log10(known[-1]))
    if known[0] == 10**low and min(costs) <= 0:
        low -= 1  # or the smallest would stand on zero's edge
    axes.set_xscale("symlog", linthresh=10.0**low, linscale=0.5)
    wanted = [10.0**exponent for exponent in range(low, high + 1)]
    if len(wanted) < 4:  # so few that the numbers between them help
        wanted = sorted({step * decade for decade in wanted for step in (1, 2, 5)})
    ticks = [tick for tick in wanted if known[0] / 2 <= tick <= known[-1] * 2]
    if min(costs) <= 0:
        ticks = [0, *ticks]
    axes.set_xticks(ticks, [_thousands(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-(10.0**low) / 3 if min(costs) <= 0 else known[0] / 1.5, known[-1] * 1.7)


def _thousands(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def dots(
    axes: "Axes",
    places: Sequence[float],
    found: Sequence[Estimate | None],
    colour: str,
    marker: str,
    name: str | None = None,
    lying: bool = False,
) -> None:
    """Dots with their intervals; no dot where nothing was found, no bar where there is no interval."""
    values = [math.nan if one is None else 100 * one.mean for one in found]
    ends = [one.ci95 if one and one.ci95 else (math.nan, math.nan) for one in found]
    # Not each half the width: that of a part of some images, Wilson's, is wider towards a half.
    lengths = [[v - 100 * low for v, (low, _) in zip(values, ends, strict=True)]]
    lengths.append([100 * high - v for v, (_, high) in zip(values, ends, strict=True)])
    x, y = (values, places) if lying else (places, values)
    axes.plot(x, y, marker, color=colour, label=name, markersize=4.5, zorder=3)
    across, up = (lengths, None) if lying else (None, lengths)
    axes.errorbar(x, y, xerr=across, yerr=up, fmt="none", ecolor=colour, elinewidth=1.1, alpha=0.75, zorder=2)
